"""What is known of each trainer, as data: what a loss reads, and when a ratio is always 1.

The one place for such facts. No trainer is imported, so every room can read them.
tests/test_trainers.py and tests/doctor/test_trl_faults.py check them against the
installed TRL, tests/doctor/test_verl_faults.py against the installed verl.

Throughout, r is the ratio of a token's new probability to its old one, and A is the
token's advantage.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

TESTED_TRL = "1.16.0"
"""The release that the facts hold for; a later patch of 1.16 is accepted."""
TESTED_VERL = "0.9.1"


class Loss(NamedTuple):
    """What one loss of a trainer reads, and what it does with r."""

    reads: tuple[str, ...] = ()
    """The thresholds that it reads. Another one changes neither loss nor gradient."""
    clamps: bool = False
    """Whether a token has the gradient of r A until a clip of r takes it away. Only
    then can a strategy's window be set, or another window be advised."""
    keeps_gradient: bool = False
    """Whether tokens beyond the window keep a gradient."""
    acts_at_one: bool = False
    """Whether the loss does its work while every r is 1."""


def thresholds(losses: Mapping[str, Loss]) -> tuple[str, ...]:
    """Every threshold that one of the losses reads, once.

    >>> thresholds({"a": Loss(reads=("low", "high")), "b": Loss(reads=("high", "cap"))})
    ('low', 'high', 'cap')
    """
    names: dict[str, None] = {}
    for loss in losses.values():
        names.update(dict.fromkeys(loss.reads))
    return tuple(names)


# TRL

TRL_WINDOW = ("epsilon", "epsilon_high", "delta")
TRL_LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "grpo": Loss(reads=TRL_WINDOW, clamps=True),
        "bnpo": Loss(reads=TRL_WINDOW, clamps=True),
        "dr_grpo": Loss(reads=TRL_WINDOW, clamps=True),
        "dapo": Loss(reads=TRL_WINDOW, clamps=True),
        "luspo": Loss(reads=TRL_WINDOW, clamps=True),
        # r itself is capped at epsilon_high, as a weight without gradient
        "cispo": Loss(reads=("epsilon_high",), keeps_gradient=True),
        "sapo": Loss(reads=("sapo_temperature_pos", "sapo_temperature_neg")),
        "vespo": Loss(
            reads=("vespo_k_pos", "vespo_k_neg", "vespo_lambda_pos", "vespo_lambda_neg")
        ),
    }
)
"""GRPOTrainer's loss types, by `loss_type`. `epsilon_high` None stands for `epsilon`."""
TRL_CLAMPED = tuple(name for name, loss in TRL_LOSSES.items() if loss.clamps)
"""The loss types whose window a strategy can set."""


def trl_steps_per_generation(
    *,
    steps_per_generation: int | None,
    generation_batch_size: int | None,
    gradient_accumulation_steps: int,
    per_device_train_batch_size: int,
    processes: int,
) -> int:
    """Micro-batches per rollout, as GRPOConfig derives them from what is given.

    >>> trl_steps_per_generation(
    ...     steps_per_generation=None,
    ...     generation_batch_size=64,
    ...     gradient_accumulation_steps=1,
    ...     per_device_train_batch_size=8,
    ...     processes=2,
    ... )
    4
    """
    if steps_per_generation is not None:
        return steps_per_generation
    if generation_batch_size is not None:
        # GRPOConfig refuses a remainder, and a batch that is too small
        return max(
            1, generation_batch_size // (per_device_train_batch_size * processes)
        )
    return gradient_accumulation_steps


def trl_updates_per_rollout(
    *, steps_per_generation: int, num_iterations: int, gradient_accumulation_steps: int
) -> int:
    """Optimizer updates between two rollouts; 0 where one update takes several rollouts.

    >>> trl_updates_per_rollout(
    ...     steps_per_generation=16, num_iterations=1, gradient_accumulation_steps=2
    ... )
    8
    """
    return steps_per_generation * num_iterations // gradient_accumulation_steps


def trl_always_fresh(
    *, steps_per_generation: int, num_iterations: int, gradient_accumulation_steps: int
) -> bool:
    """Whether no update ever falls within a rollout, so that every r is exactly 1.

    This is TRL's own test of whether it needs old log-probabilities. It is not the
    same as one update per rollout: of three micro-batches in updates of two, the third
    is trained on after an update.

    >>> trl_always_fresh(
    ...     steps_per_generation=3, num_iterations=1, gradient_accumulation_steps=2
    ... )
    False
    """
    return gradient_accumulation_steps % (steps_per_generation * num_iterations) == 0


# verl

VERL_PLUGIN = "entrostat"
"""The loss mode of entrostat's plug-in, which is verl's vanilla under other bounds."""
VERL_POLICY_LOSS = "actor_rollout_ref.actor.policy_loss"
VERL_NEEDED: Mapping[str, str] = MappingProxyType(
    {
        f"{VERL_POLICY_LOSS}.loss_mode": VERL_PLUGIN,
        f"{VERL_POLICY_LOSS}._target_": (
            "entrostat.engines.verl.config.EntrostatLossConfig"
        ),
        "trainer.v1.trainer_mode": VERL_PLUGIN,
    }
)
"""What a run under the plug-in sets beside `policy_loss.strategy`; under an asynchronous
trainer it is another trainer_mode. The v0 trainer reads none."""
VERL_TRAINERS: Mapping[str, str] = MappingProxyType(
    {
        VERL_PLUGIN: "sync",
        f"{VERL_PLUGIN}_colocate_async": "colocate_async",
        f"{VERL_PLUGIN}_separate_async": "separate_async",
    }
)
"""The plug-in's values of `trainer.v1.trainer_mode`, and verl's own trainers beneath."""


def verl_trainer_mode(mode: object) -> str:
    """The plug-in's trainer_mode for a run that has, or would have, this one.

    >>> verl_trainer_mode("colocate_async")
    'entrostat_colocate_async'
    """
    for ours, verls in VERL_TRAINERS.items():
        if mode in (ours, verls):
            return ours
    return VERL_PLUGIN


VERL_WINDOW = ("clip_ratio", "clip_ratio_low", "clip_ratio_high")
"""`clip_ratio` is read in place of a side that is null."""
VERL_LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "vanilla": Loss(reads=(*VERL_WINDOW, "clip_ratio_c"), clamps=True),
        VERL_PLUGIN: Loss(reads=("clip_ratio_c",), clamps=True),
        # r is that of the sequence
        "gspo": Loss(reads=VERL_WINDOW, clamps=True),
        # the window bounds a divergence, and clip_ratio_c the weight r
        "dppo_tv": Loss(reads=(*VERL_WINDOW, "clip_ratio_c")),
        "dppo_kl": Loss(reads=(*VERL_WINDOW, "clip_ratio_c")),
        # the window bounds ln r, whose mean over the sequence is the weight
        "geo_mean": Loss(reads=VERL_WINDOW),
        "cispo": Loss(reads=VERL_WINDOW, keeps_gradient=True),
        # also drops tokens by their covariance, which needs no ratio
        "clip_cov": Loss(
            reads=(
                *VERL_WINDOW,
                "policy_loss.clip_cov_ratio",
                "policy_loss.clip_cov_lb",
                "policy_loss.clip_cov_ub",
            ),
            acts_at_one=True,
        ),
        "kl_cov": Loss(reads=("policy_loss.kl_cov_ratio", "policy_loss.ppo_kl_coef")),
        "sapo": Loss(reads=("tau_pos", "tau_neg")),
        "dro": Loss(reads=("policy_loss.dro_beta",)),
        # no ratio at all
        "gpg": Loss(acts_at_one=True),
    }
)
"""verl's loss modes, by `policy_loss.loss_mode`; what they read stands under `actor`. A
mode that is not here is somebody's own."""


def verl_updates_per_rollout(
    *, train_batch_size: int, ppo_mini_batch_size: int, ppo_epochs: int
) -> int:
    """Optimizer updates per rollout. With one update every r is exactly 1.

    verl fills a batch up to whole mini-batches (v1) or refuses it (v0). Both sizes may
    count prompts, as verl's settings do, or responses.

    >>> verl_updates_per_rollout(
    ...     train_batch_size=1024, ppo_mini_batch_size=256, ppo_epochs=2
    ... )
    8
    """
    mini_batches = -(-train_batch_size // ppo_mini_batch_size)
    return mini_batches * ppo_epochs


# Both, and entrostat's own


def ratios_can_move(updates_per_rollout: int, staleness: int = 0) -> bool:
    """Whether an r can leave 1: under a second update, or on rollouts of an older policy.

    `staleness`: how many rollouts ago the policy was the one that sampled.
    """
    return updates_per_rollout > 1 or staleness > 0


_DUMPED: Mapping[str, Loss] = {
    **TRL_LOSSES,
    "vanilla": VERL_LOSSES["vanilla"],
    # entrostat's objectives: they give tokens beyond the window a term of their own
    "ce-gppo": Loss(keeps_gradient=True),
    "kl-cov": Loss(keeps_gradient=True),
}


def loss_in_dump(name: str) -> Loss:
    """The loss that a dump names: TRL's loss type, `vanilla` beneath the verl plug-in, or
    an objective of entrostat. Of another loss nothing is known."""
    return _DUMPED.get(name, Loss())
