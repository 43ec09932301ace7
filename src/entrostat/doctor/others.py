"""Other trainers' settings as data: the name of each, by what it means, and what their
losses read.

Each entry is by the trainer's source at the version that it names. `others_settings.py`
reads a configuration by this table, `others_checks.py` judges it. A trainer is one entry
here; what is not in its entry is not read.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from entrostat.doctor.settings import Kind


class Setting(NamedTuple):
    """One setting of a trainer."""

    name: str
    """Dotted, as the configuration has it; without the dashes of a flag."""
    kind: Kind
    default: Any = None
    before: tuple[str, ...] = ()
    """Names that it had in older versions."""


class OtherLoss(NamedTuple):
    """What one loss of a trainer reads."""

    reads: tuple[str, ...] = ()
    """The thresholds, by meaning."""
    unit: Literal["token", "sequence", "probability", "weight", "cap"] = "token"
    """What the window bounds: a token's ratio, a sequence's mean ratio, the difference of
    two probabilities, the ratio as a weight without gradient; `cap`: such a weight, and
    `high` is the largest weight itself."""
    acts_at_one: bool = False
    """Whether the loss does its work while every ratio is 1."""
    against_sampler: bool = False
    """Whether the ratio's denominator is the sampler's own probability."""


class Switched(NamedTuple):
    """A coefficient that nothing reads while its switches are off. By meaning."""

    coefficient: str
    switches: tuple[str, ...]


class Trainer(NamedTuple):
    """A trainer's settings, by meaning.

    Batches: `rollout` and `update` (sizes), `samples` (per prompt), `epochs`, `steps`
    (updates, or micro-batches, per rollout). The window: `low`, `high`, `both` (in place
    of a side that is null), `pair` (both sides in one), `cap` (where A < 0), `level`
    (token or sequence), `probability` (one bound for both sides). `loss`, `temperature`,
    `top_p`, `top_k`, `min_p`, coefficients and their switches.
    """

    title: str
    version: str
    """By whose source."""
    batches: Literal["prompts", "responses", "accumulated", "steps", "streamed"]
    """How many updates a rollout has: rollout / update in prompts; rollout x samples /
    update; as TRL counts; as said; or every ratio is against an older policy."""
    settings: Mapping[str, Setting]
    losses: Mapping[str, OtherLoss]
    stale: tuple[str, ...] = ()
    """Meanings of flags under which rollouts are older, or ratios are against the
    sampler, so that a ratio can leave 1."""
    switched: tuple[Switched, ...] = ()
    clip_metric: str = ""
    """The share of clipped tokens in its log."""
    signature: frozenset[str] = frozenset()
    """Names that only a configuration of this trainer has; one is enough."""


TOKEN = OtherLoss(reads=("low", "high", "both", "cap"))
NO_CAP = OtherLoss(reads=("low", "high", "both"))
SEQUENCE = OtherLoss(reads=("low", "high", "both", "cap"), unit="sequence")

OPENRLHF = Trainer(
    title="OpenRLHF",
    version="0.11.0",
    batches="responses",
    settings={
        "rollout": Setting(
            "rollout.batch_size", "count", 1024, ("rollout_batch_size",)
        ),
        "samples": Setting(
            "rollout.n_samples_per_prompt", "count", 1, ("n_samples_per_prompt",)
        ),
        "update": Setting("train.batch_size", "count", 128, ("train_batch_size",)),
        "epochs": Setting("train.max_epochs", "count", 1, ("max_epochs",)),
        "both": Setting("actor.eps_clip", "number", 0.2, ("eps_clip",)),
        "pair": Setting(
            "actor.eps_clip_low_high", "pair?", None, ("eps_clip_low_high",)
        ),
        "cap": Setting("actor.dual_clip", "number?", None, ("dual_clip",)),
        "loss": Setting("actor.policy_loss_type", "word", "ppo", ("policy_loss_type",)),
        "entropy": Setting(
            "actor.entropy_coef", "number?", None, ("entropy_loss_coef",)
        ),
        "temperature": Setting("rollout.temperature", "number", 1.0, ("temperature",)),
        "top_p": Setting("rollout.top_p", "number", 1.0, ("top_p",)),
        "async": Setting("train.async_enable", "flag", False, ("async_train",)),
    },
    # with algo.advantage.is_correction_enable gspo's ratio is against the sampler
    losses={"ppo": TOKEN, "gspo": SEQUENCE._replace(against_sampler=True)},
    stale=("async",),
    clip_metric="clip_ratio",
    signature=frozenset({"actor.eps_clip", "actor.eps_clip_low_high"}),
)
SKYRL = Trainer(
    title="SkyRL",
    version="0.4.0",
    batches="prompts",
    settings={
        "rollout": Setting("trainer.train_batch_size", "count", 1024),
        "update": Setting("trainer.policy_mini_batch_size", "count", 256),
        "samples": Setting("generator.n_samples_per_prompt", "count", 5),
        "epochs": Setting("trainer.update_epochs_per_batch", "count", 1),
        "low": Setting("trainer.algorithm.eps_clip_low", "number", 0.2),
        "high": Setting("trainer.algorithm.eps_clip_high", "number", 0.2),
        "cap": Setting(
            "trainer.algorithm.clip_ratio_c",
            "number",
            3.0,
            ("trainer.algorithm.clip_ratio",),
        ),
        "loss": Setting(
            "trainer.algorithm.policy_loss_type",
            "word",
            "regular",
            ("trainer.algorithm.ppo_loss_type",),
        ),
        "entropy": Setting("trainer.algorithm.entropy_loss_coef", "number", 0.01),
        "entropy_on": Setting("trainer.algorithm.use_entropy_loss", "flag", False),
        "kl": Setting("trainer.algorithm.kl_loss_coef", "number", 0.001),
        "kl_on": Setting("trainer.algorithm.use_kl_loss", "flag", True),
        "kl_in_reward": Setting("trainer.algorithm.use_kl_in_reward", "flag", False),
        "temperature": Setting("generator.sampling_params.temperature", "number", 1.0),
        "top_p": Setting("generator.sampling_params.top_p", "number", 1.0),
        "top_k": Setting("generator.sampling_params.top_k", "number", -1),
        "min_p": Setting("generator.sampling_params.min_p", "number", 0.0),
        "async": Setting("trainer.fully_async.enabled", "flag", False),
    },
    losses={
        "regular": OtherLoss(reads=("low", "high")),
        "dual_clip": OtherLoss(reads=("low", "high", "cap")),
        "gspo": OtherLoss(reads=("low", "high"), unit="sequence"),
        "clip_cov": OtherLoss(reads=("low", "high"), acts_at_one=True),
        "rollout_is": OtherLoss(reads=("low", "high"), against_sampler=True),
        # their thresholds have names of their own
        "cispo": OtherLoss(),
        "kl_cov": OtherLoss(),
        "sapo": OtherLoss(),
        "dppo": OtherLoss(against_sampler=True),
        "cross_entropy": OtherLoss(acts_at_one=True),
        "importance_sampling": OtherLoss(against_sampler=True),
    },
    stale=("async",),
    switched=(
        Switched("entropy", ("entropy_on",)),
        Switched("kl", ("kl_on", "kl_in_reward")),
    ),
    clip_metric="policy/ppo_clip_ratio",
    signature=frozenset(
        {
            "trainer.algorithm",
            "trainer.policy_mini_batch_size",
            "generator.n_samples_per_prompt",
            "generator.sampling_params",
        }
    ),
)
SLIME = Trainer(
    title="slime",
    version="0.3.1",
    batches="responses",
    settings={
        "rollout": Setting("rollout_batch_size", "count?"),
        "samples": Setting("n_samples_per_prompt", "count", 1),
        "update": Setting("global_batch_size", "count?"),
        "steps": Setting("num_steps_per_rollout", "count?"),
        "low": Setting("eps_clip", "number", 0.2),
        "high": Setting("eps_clip_high", "number?"),
        "cap": Setting("eps_clip_c", "number?"),
        "loss": Setting("advantage_estimator", "word", "grpo"),
        "entropy": Setting("entropy_coef", "number", 0.0),
        "kl": Setting("kl_loss_coef", "number", 0.0),
        "kl_on": Setting("use_kl_loss", "flag", False),
        "temperature": Setting("rollout_temperature", "number", 1.0),
        "top_k": Setting("rollout_top_k", "number", -1),
        "rollout_logprobs": Setting("use_rollout_logprobs", "flag", False),
        "old_actor": Setting("keep_old_actor", "flag", False),
    },
    losses={
        "grpo": TOKEN,
        "ppo": TOKEN,
        "reinforce_plus_plus": TOKEN,
        "reinforce_plus_plus_baseline": TOKEN,
        "gspo": SEQUENCE,
        "cispo": OtherLoss(reads=("low", "high"), unit="weight"),
    },
    stale=("rollout_logprobs", "old_actor"),
    switched=(Switched("kl", ("kl_on",)),),
    clip_metric="train/pg_clipfrac",
)
PRIME_RL = Trainer(
    title="prime-rl",
    version="0.8.1",
    batches="streamed",
    settings={
        "rollout": Setting("orchestrator.batch_size", "count?", None, ("batch_size",)),
        "loss": Setting("trainer.loss.type", "word", "default", ("loss.type",)),
        "low": Setting(
            "trainer.loss.dppo_mask_low", "number", 0.2, ("loss.dppo_mask_low",)
        ),
        "high": Setting(
            "trainer.loss.dppo_mask_high", "number", 0.2, ("loss.dppo_mask_high",)
        ),
        "probability": Setting(
            "trainer.loss.ipo_threshold", "number", 0.1, ("loss.ipo_threshold",)
        ),
        "temperature": Setting(
            "orchestrator.train.sampling.temperature",
            "number",
            1.0,
            ("orchestrator.sampling.temperature", "sampling.temperature"),
        ),
        "kl": Setting("trainer.loss.kl_tau", "number", 1e-3, ("loss.kl_tau",)),
    },
    losses={
        "default": OtherLoss(
            reads=("low", "high"), unit="probability", against_sampler=True
        ),
        "ipo": OtherLoss(
            reads=("probability",), unit="probability", against_sampler=True
        ),
        "custom": OtherLoss(against_sampler=True),
    },
    clip_metric="is_masked",
    signature=frozenset(
        {
            "orchestrator",
            "max_async_level",
            "max_off_policy_steps",
            "trainer.loss",
            "loss.dppo_mask_high",
            "loss.ipo_threshold",
        }
    ),
)
_SWIFT: Mapping[str, Setting] = {
    "accumulation": Setting("gradient_accumulation_steps", "count?", None),
    "micro_batch": Setting("per_device_train_batch_size", "count", 1),
    "steps": Setting("steps_per_generation", "count?"),
    "rollout": Setting("generation_batch_size", "count?"),
    "iterations": Setting("num_iterations", "count", 1),
    "low": Setting("epsilon", "number", 0.2),
    "high": Setting("epsilon_high", "number?"),
    "cap": Setting("delta", "number?"),
    "level": Setting("importance_sampling_level", "word", "token"),
    "loss": Setting("loss_type", "word", "grpo"),
    "temperature": Setting("temperature", "number", 0.9),
    "top_p": Setting("top_p", "number", 1.0),
    "top_k": Setting("top_k", "number", -1),
    "async": Setting("async_generate", "flag", False),
}
_SWIFT_LOSSES: Mapping[str, OtherLoss] = {
    "grpo": TOKEN,
    "bnpo": TOKEN,
    "dr_grpo": TOKEN,
    "dapo": TOKEN,
    "fipo": TOKEN,
    "cispo": OtherLoss(reads=("high",), unit="cap"),
    "sapo": OtherLoss(),
    "real": OtherLoss(),
}
SWIFT = Trainer(
    title="ms-swift",
    version="4.6",
    batches="accumulated",
    settings=_SWIFT,
    losses=_SWIFT_LOSSES,
    stale=("async",),
    clip_metric="the larger of clip_ratio/low_mean and clip_ratio/high_mean",
    signature=frozenset({"rlhf_type"}),
)
SWIFT_MEGATRON = SWIFT._replace(
    title="Megatron-SWIFT",
    batches="steps",
    settings={
        **{k: v for k, v in _SWIFT.items() if k not in ("accumulation", "micro_batch")},
        "update": Setting("global_batch_size", "count?"),
    },
    signature=frozenset(),
)
AXOLOTL = Trainer(
    title="axolotl",
    version="0.18.0",
    batches="accumulated",
    settings={
        "accumulation": Setting("gradient_accumulation_steps", "count?"),
        "micro_batch": Setting("micro_batch_size", "count?"),
        "rollout": Setting("trl.generation_batch_size", "count?"),
        "iterations": Setting("trl.num_iterations", "count?", 1),
        "low": Setting("trl.epsilon", "number?", 0.2),
        "high": Setting("trl.epsilon_high", "number?"),
        "level": Setting("trl.importance_sampling_level", "word?", "token"),
        "loss": Setting("trl.loss_type", "word?", "dapo"),
        "temperature": Setting("trl.temperature", "number?", 1.0),
        "top_p": Setting("trl.top_p", "number?"),
        "top_k": Setting("trl.top_k", "number?"),
        "min_p": Setting("trl.min_p", "number?"),
        "prefetch": Setting("trl.async_prefetch", "flag", False),
        "producer": Setting("trl.use_data_producer", "flag", False),
    },
    losses={
        **{name: NO_CAP for name in ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")},
        "cispo": OtherLoss(reads=("high",), unit="cap"),
        "sapo": OtherLoss(),
        "vespo": OtherLoss(),
    },
    stale=("prefetch", "producer"),
    clip_metric="the larger of clip_ratio/low_mean and clip_ratio/high_mean",
)
_EASYR1_WINDOW = OtherLoss(reads=("low", "high", "cap"))
EASYR1 = Trainer(
    title="EasyR1",
    version="0.3.3",
    batches="prompts",
    settings={
        "rollout": Setting("data.rollout_batch_size", "count", 512),
        "samples": Setting("worker.rollout.n", "count", 1),
        "update": Setting("worker.actor.global_batch_size", "count", 256),
        "epochs": Setting("worker.actor.ppo_epochs", "count", 1),
        "low": Setting("worker.actor.clip_ratio_low", "number", 0.2),
        "high": Setting("worker.actor.clip_ratio_high", "number", 0.3),
        "cap": Setting("worker.actor.clip_ratio_dual", "number", 3.0),
        "loss": Setting("worker.actor.loss_type", "word", "default"),
        "temperature": Setting("worker.rollout.temperature", "number", 1.0),
        "top_p": Setting("worker.rollout.top_p", "number", 1.0),
        "top_k": Setting("worker.rollout.top_k", "number", -1),
    },
    losses={
        "default": _EASYR1_WINDOW,
        "gspo": _EASYR1_WINDOW._replace(unit="sequence"),
        "gspo_token": _EASYR1_WINDOW._replace(unit="sequence"),
        "cispo": OtherLoss(reads=("low", "high"), unit="weight"),
        "sapo": OtherLoss(),
    },
    clip_metric="actor/pg_clipfrac_higher (both sides together)",
    signature=frozenset({"worker.actor", "worker.rollout"}),
)
OTHERS: Mapping[str, Trainer] = {
    "openrlhf": OPENRLHF,
    "skyrl": SKYRL,
    "slime": SLIME,
    "prime-rl": PRIME_RL,
    "ms-swift": SWIFT,
    "megatron-swift": SWIFT_MEGATRON,
    "axolotl": AXOLOTL,
    "easyr1": EASYR1,
}
"""By the name that Settings.trainer and the JSON have."""
