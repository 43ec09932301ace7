"""What verl imports on `import verl`, in the driver and in every Ray worker: it registers our two names.

`actor_rollout_ref.actor.policy_loss.loss_mode=entrostat` and `trainer.v1.trainer_mode=entrostat`. verl reports a
plug-in that fails to import at level DEBUG only; the two settings then end in "Unsupported loss mode" and "Unknown
trainer".
"""

from verl.trainer.ppo.core_algos import register_policy_loss

from entrostat.engines.verl.checks import NAME
from entrostat.engines.verl.loss import policy_loss

register_policy_loss(NAME)(policy_loss)

# after the loss: without TransferQueue verl has no v1 trainer at all, and this import fails
from verl.trainer.ppo.v1.trainer_base import register_trainer  # noqa: E402

from entrostat.engines.verl.trainer import EntropyControlTrainer  # noqa: E402

register_trainer(NAME)(EntropyControlTrainer)
