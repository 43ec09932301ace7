"""The papers' claims, one file each (claims/): a command, a number and a verdict.

[A] is arXiv 2509.26114, [B] is arXiv 2602.09782.

Nothing here imports torch: a name is imported when it is asked for.
"""

from typing import TYPE_CHECKING

from entrostat.lazy import attributes

if TYPE_CHECKING:
    from entrostat.reproduce.claim import Claim, Mode, Result, Verdict
    from entrostat.reproduce.registry import CLAIMS, chosen

_CLAIM = "entrostat.reproduce.claim"
_REGISTRY = "entrostat.reproduce.registry"
__getattr__ = attributes(
    __name__,
    {
        "CLAIMS": _REGISTRY,
        "chosen": _REGISTRY,
        "Claim": _CLAIM,
        "Mode": _CLAIM,
        "Result": _CLAIM,
        "Verdict": _CLAIM,
    },
)

__all__ = ["CLAIMS", "Claim", "Mode", "Result", "Verdict", "chosen"]
