"""What verl imports on `import verl`, in the driver and in every Ray worker: it registers
our two names.

`actor_rollout_ref.actor.policy_loss.loss_mode=entrostat` and
`trainer.v1.trainer_mode=entrostat`. verl reports a plug-in that fails to import at level
DEBUG only; the two settings then end in "Unsupported loss mode" and "Unknown trainer",
which say nothing of the cause. So where our trainer does not fit this verl, a stand-in is
registered in its place, which says why as soon as a run asks for it.
"""

from verl.trainer.ppo.core_algos import register_policy_loss

from entrostat.engines.verl.checks import NAME
from entrostat.engines.verl.loss import policy_loss

register_policy_loss(NAME)(policy_loss)

# after the loss: without TransferQueue verl has no v1 trainer at all, and this import
# fails
from verl.trainer.ppo.v1.trainer_base import (  # noqa: E402
    PPOTrainer,
    register_trainer,
)


def refusing(reason: Exception) -> type[PPOTrainer]:
    """A trainer that cannot be made: it raises RuntimeError with the reason."""

    class DoesNotFit(PPOTrainer):
        # before __init__: the class is abstract, and Python would say that instead
        def __new__(cls, *args, **kwargs):
            raise RuntimeError(
                f"trainer.v1.trainer_mode={NAME} does not work with this verl: {reason}"
            ) from reason

    return DoesNotFit


try:
    from entrostat.engines.verl.trainer import EntropyControlTrainer
except Exception as error:
    register_trainer(NAME)(refusing(error))
else:
    register_trainer(NAME)(EntropyControlTrainer)
