"""The options of the plug-in, as a PolicyLossConfig that Hydra overrides reach through
`_target_`."""

from dataclasses import dataclass, field
from typing import Any

from verl.workers.config import PolicyLossConfig

from entrostat.strategies import STRATEGIES, Strategy, make_strategy


@dataclass
class EntrostatLossConfig(PolicyLossConfig):
    """verl's policy-loss options and ours.

    Raises ValueError, in the driver and in each worker, for a strategy or an option that
    there is not.
    """

    strategy: str = ""
    """Name of a strategy."""
    options: dict[str, Any] = field(default_factory=dict)
    """The strategy's options, by their names."""
    dump_every: int = 0
    """Every how many training steps all tokens are written (entrostat.dump); 0:
    never."""
    dump_dir: str | None = None
    """Where to; trainer.default_local_dir/entrostat_dumps unless given. Each rank writes
    on its own machine."""

    def __post_init__(self):
        if not self.strategy:
            raise ValueError(
                f"policy_loss.strategy is not set: choose one of {', '.join(STRATEGIES)}"
            )
        if self.dump_every < 0:
            raise ValueError(
                f"policy_loss.dump_every must be at least 0, got {self.dump_every}"
            )
        # so that a bad name or option is refused here
        self.make()

    def make(self) -> Strategy:
        """The strategy with its options."""
        return make_strategy(self.strategy, **self.options)
