"""What verl imports on `import verl`, in the driver and in every Ray process.

It registers our names, `actor_rollout_ref.actor.policy_loss.loss_mode=entrostat` and one
`trainer.v1.trainer_mode` for each of verl's trainers, and puts our check of the
configuration in front of verl's. Neither imports what it names before a run asks for it: an idle plug-in must cost
a process of verl's nothing.
"""

import functools
from typing import Any

import verl.utils
import verl.utils.config
from omegaconf import DictConfig

from entrostat.engines.verl.imported import when_imported
from entrostat.engines.verl.settings import NAME, check_whole, named
from entrostat.trainers import VERL_TRAINERS


def _register_loss() -> None:
    from verl.trainer.ppo.core_algos import register_policy_loss

    @register_policy_loss(NAME)
    def policy_loss(*args: Any, **kwargs: Any) -> Any:
        """entrostat.engines.verl.loss.policy_loss."""
        from entrostat.engines.verl.loss import policy_loss

        return policy_loss(*args, **kwargs)


def _register_trainers() -> None:
    for mode in VERL_TRAINERS:
        _register_trainer(mode)


def _register_trainer(mode: str) -> None:
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer, register_trainer

    @register_trainer(mode)
    class Trainer(PPOTrainer):
        """Makes our trainer of this mode. RuntimeError where that does not fit this
        verl."""

        # not __init__: PPOTrainer is abstract
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            try:
                from entrostat.engines.verl.trainer import trainer_of
            except Exception as error:
                raise RuntimeError(
                    f"trainer.v1.trainer_mode={mode} does not work with this verl: "
                    f"{error}"
                ) from error
            trainer: Any = trainer_of(mode)
            return trainer(*args, **kwargs)


def check_first(validate: Any) -> Any:
    """verl's validate_config, with ours before it. Where nothing of the configuration is
    ours, it is verl's."""

    @functools.wraps(validate)
    def validate_config(config: DictConfig, *args: Any, **kwargs: Any) -> Any:
        if named(config):
            from entrostat.engines.verl.checks import Refused, checked_options

            try:
                check_whole(config)
                checked_options(config)
            except ValueError as error:
                raise Refused(f"entrostat: {error}") from None
        return validate(config, *args, **kwargs)

    return validate_config


when_imported("verl.trainer.ppo.core_algos", _register_loss)
# where TransferQueue is missing, verl has no v1 trainer, and this never happens
when_imported("verl.trainer.ppo.v1.trainer_base", _register_trainers)
# the driver calls it before Ray starts and a model is loaded. No registry of verl's is
# asked so early, and none sees the whole configuration
verl.utils.config.validate_config = check_first(verl.utils.config.validate_config)
verl.utils.validate_config = verl.utils.config.validate_config
