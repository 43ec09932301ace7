"""The registry of objectives: losses of other papers that TRL lacks, for comparison.

Nothing here imports torch: an objective's module is imported when it is asked for.
"""

from typing import TYPE_CHECKING

from entrostat.lazy import attributes
from entrostat.registry import Registry

if TYPE_CHECKING:
    from entrostat.objectives.base import LossInputs, Objective

__all__ = ["OBJECTIVES", "LossInputs", "Objective", "objective_name"]

_BASE = "entrostat.objectives.base"
__getattr__ = attributes(__name__, {"LossInputs": _BASE, "Objective": _BASE})

OBJECTIVES: "Registry[Objective]" = Registry(
    "objective",
    {
        "entropic": "entrostat.objectives.entropic:Entropic",
        "clip-cov": "entrostat.objectives.covariance:ClipCov",
        "kl-cov": "entrostat.objectives.covariance:KlCov",
        "ce-gppo": "entrostat.objectives.gppo:CeGppo",
        "repo": "entrostat.objectives.repo:Repo",
        "stare": "entrostat.objectives.stare:Stare",
        "entrocraft": "entrostat.objectives.entrocraft:Entrocraft",
        "w-reinforce": "entrostat.objectives.w_reinforce:WReinforce",
    },
)


def objective_name(objective: "Objective") -> str:
    """The registry's name of an objective, or its class's name when it is somebody's
    own."""
    return OBJECTIVES.name_of(objective)
