"""The registry of objectives: losses of other papers that TRL lacks, for comparison."""

from entrostat.objectives.base import LossInputs, Objective
from entrostat.objectives.covariance import ClipCov, KlCov
from entrostat.objectives.entropic import Entropic
from entrostat.objectives.gppo import CeGppo
from entrostat.registry import Registry

__all__ = ["OBJECTIVES", "LossInputs", "Objective", "objective_name"]

OBJECTIVES: Registry[Objective] = Registry(
    "objective",
    {"entropic": Entropic, "clip-cov": ClipCov, "kl-cov": KlCov, "ce-gppo": CeGppo},
)


def objective_name(objective: Objective) -> str:
    """The registry's name of an objective, or its class's name when it is somebody's
    own."""
    return OBJECTIVES.name_of(objective)
