"""The names of all methods that the lab can train with.

Nothing here imports torch: --help and a wrong name need none.
"""

from typing import TYPE_CHECKING

from entrostat.objectives import OBJECTIVES
from entrostat.registry import Registry
from entrostat.strategies import STRATEGIES

if TYPE_CHECKING:
    from entrostat.lab.methods import Method

_OBJECTIVES = {f"objective:{name}": path for name, path in OBJECTIVES.paths.items()}

METHODS: "Registry[Method]" = Registry(
    "method",
    {
        **STRATEGIES.paths,
        "trl:gspo": "entrostat.lab.methods:Gspo",
        "trl:sapo": "entrostat.lab.methods:Sapo",
        "trl:cispo": "entrostat.lab.methods:Cispo",
        "trl:entropy-bonus": "entrostat.lab.methods:EntropyBonus",
        "trl:adaptive-entropy": "entrostat.lab.methods:AdaptiveEntropy",
        **_OBJECTIVES,
    },
)
