"""Names of types that several files share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Json = dict[str, Any]
"""A JSON-able dict."""
Key = tuple[int, int, int]
"""Of a group, as in Attribution.groups."""
