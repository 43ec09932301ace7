"""The options of the plug-in, as a PolicyLossConfig that Hydra overrides reach through
`_target_`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from verl.workers.config import PolicyLossConfig

from entrostat.engines.verl.settings import LOSS_MODE, NAME
from entrostat.strategies import STRATEGIES, Strategy, make_strategy

_PLUGIN = "entrostat.engines.verl.plugin"
LEVELS = ("token", "sequence")


@dataclass
class EntrostatLossConfig(PolicyLossConfig):
    """verl's policy-loss options and ours.

    Raises ValueError, in the driver and in each worker, for a strategy or an option that
    there is not, and where verl would not use what is set here.
    """

    loss_mode: str = NAME
    strategy: str = ""
    """Name of a strategy."""
    options: dict[str, Any] = field(default_factory=dict)
    """The strategy's options, by their names."""
    importance_sampling_level: str = "token"
    """token, a ratio per token under verl's vanilla loss; or sequence, one per completion
    under verl's gspo, for strategies whose bounds are the same for all tokens."""
    dump_every: int = 0
    """Every how many training steps all tokens are written (entrostat.dump); 0:
    never."""
    dump_dir: str | None = None
    """Where to; trainer.default_local_dir/entrostat_dumps unless given. Each rank writes
    on its own machine."""

    def __post_init__(self):
        if _PLUGIN not in sys.modules:
            raise ValueError(
                "verl has not loaded entrostat's plug-in: install entrostat by pip in "
                "the environment of each node, and leave VERL_USE_EXTERNAL_PLUGINS "
                "unset or name entrostat in it; `entrostat doctor --verl` tries it"
            )
        if self.loss_mode != NAME:
            raise ValueError(
                f"{LOSS_MODE} is {self.loss_mode!r}, so verl would train on that loss "
                f"and no strategy would act: set {LOSS_MODE}={NAME}"
            )
        if not self.strategy:
            raise ValueError(
                f"policy_loss.strategy is not set: choose one of {', '.join(STRATEGIES)}"
            )
        if not isinstance(self.options, Mapping):
            raise ValueError(
                "policy_loss.options must hold options by name, got "
                f"{self.options!r}: write policy_loss.options.NAME=VALUE"
            )
        self._check_dump()
        self._check_level()
        # so that a bad name or option is refused here
        self._check_fits(self.make())

    def _check_level(self) -> None:
        if self.importance_sampling_level not in LEVELS:
            raise ValueError(
                f"policy_loss.importance_sampling_level must be {' or '.join(LEVELS)}, "
                f"got {self.importance_sampling_level!r}"
            )

    def _check_fits(self, strategy: Strategy) -> None:
        if self.importance_sampling_level == "sequence" and strategy.per_token:
            raise ValueError(
                f"strategy {self.strategy!r} sets bounds per token, but "
                "policy_loss.importance_sampling_level is 'sequence', one ratio per "
                "completion: use grpo, clip-higher, clip-lower, mai or adapo, or 'token'"
            )

    def _check_dump(self) -> None:
        every = self.dump_every
        if not isinstance(every, int) or every < 0:
            raise ValueError(
                "policy_loss.dump_every must be a whole number of steps, at least 0, "
                f"got {every!r}"
            )
        if self.dump_dir and not every:
            raise ValueError(
                f"policy_loss.dump_dir={self.dump_dir} without policy_loss.dump_every: "
                "nothing would be written; set dump_every"
            )

    def make(self) -> Strategy:
        """The strategy with its options."""
        options = {str(name): _value(given) for name, given in self.options.items()}
        return make_strategy(str(self.strategy), **options)


def _value(given: Any) -> Any:
    """A number, true or false where a text is one by YAML's rules: Hydra's command line
    leaves .inf, no, and what comes from the environment, a text."""
    if not isinstance(given, str):
        return given
    try:
        read = yaml.safe_load(given)
    except yaml.YAMLError:
        return given
    return read if type(read) in (bool, int, float) else given
