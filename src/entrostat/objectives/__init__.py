"""The registry of objectives: losses of other papers that TRL lacks, for comparison."""

from collections.abc import Mapping
from types import MappingProxyType

from entrostat.objectives.base import Objective
from entrostat.objectives.covariance import ClipCov, KlCov
from entrostat.objectives.entropic import Entropic
from entrostat.objectives.gppo import CeGppo

__all__ = ["OBJECTIVES", "Objective", "objective_name"]

OBJECTIVES: Mapping[str, type[Objective]] = MappingProxyType(
    {"entropic": Entropic, "clip-cov": ClipCov, "kl-cov": KlCov, "ce-gppo": CeGppo}
)


def objective_name(objective: Objective) -> str:
    """The registry's name of an objective, or its class's name when it is somebody's own."""
    return next((name for name, kind in OBJECTIVES.items() if type(objective) is kind), type(objective).__name__)
