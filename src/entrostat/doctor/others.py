"""Other trainers' settings as data: the name of each, by what it means, and what their
losses read. The kinds of entries are in others_kinds.py.

Each entry is by the trainer's source at the version that it names. `others_settings.py`
reads a configuration by this table, `others_checks.py` judges it. A trainer is one entry
here; what is not in its entry is not read.
"""

from collections.abc import Mapping

from entrostat.doctor.others_kinds import (
    NO_CAP,
    SEQUENCE,
    TOKEN,
    Correction,
    OtherLoss,
    Setting,
    Switched,
    Trainer,
    Where,
)
from entrostat.doctor.others_streamed import AREAL, PRIME_RL, TRL_ASYNC

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
        "is": Setting(
            "algo.advantage.is_correction_enable",
            "flag",
            False,
            ("enable_vllm_is_correction",),
        ),
        "is_bounds": Setting(
            "algo.advantage.is_correction_threshold",
            "pair?",
            (0.5, 5.0),
            ("vllm_is_truncated_threshold",),
        ),
        "is_type": Setting("algo.advantage.is_correction_type", "word", "tis"),
    },
    losses={"ppo": TOKEN, "gspo": SEQUENCE._replace(sampler_where=(Where("is"),))},
    late=(Where("async"),),
    corrections=(
        Correction(
            (Where("is"),), pair="is_bounds", others=("is_type",), losses=("ppo",)
        ),
    ),
    clip_metric="clip_ratio",
    signature=frozenset({"actor.eps_clip", "actor.eps_clip_low_high"}),
)
_SKYRL = "trainer.algorithm.off_policy_correction"
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
        "cispo_anchor": Setting("trainer.algorithm.cispo.cispo_anchor", "word", "old"),
        "tis": Setting(f"{_SKYRL}.tis_ratio_type", "word?"),
        "tis_token": Setting(f"{_SKYRL}.token_tis_ratio_clip_high", "number", 2.0),
        "tis_sequence": Setting(
            f"{_SKYRL}.sequence_tis_ratio_clip_high", "number", 5.0
        ),
        "mask": Setting(f"{_SKYRL}.sequence_mask_metric", "word?"),
        "geo_low": Setting(f"{_SKYRL}.geo_mask_low", "number", 0.99),
        "geo_high": Setting(f"{_SKYRL}.geo_mask_high", "number", 1.01),
        "product_low": Setting(f"{_SKYRL}.product_mask_low", "number", 0.5),
        "product_high": Setting(f"{_SKYRL}.product_mask_high", "number", 2.0),
        "outlier_low": Setting(f"{_SKYRL}.outlier_token_is_threshold_low", "number?"),
        "outlier_high": Setting(f"{_SKYRL}.outlier_token_is_threshold_high", "number?"),
        "token_low": Setting(f"{_SKYRL}.token_mask_is_threshold_low", "number?"),
        "token_high": Setting(f"{_SKYRL}.token_mask_is_threshold_high", "number?"),
        "use_tis": Setting("trainer.algorithm.use_tis", "flag", False),
        "tis_cap": Setting("trainer.algorithm.tis_imp_ratio_cap", "number", -1.0),
    },
    losses={
        "regular": OtherLoss(reads=("low", "high")),
        "dual_clip": OtherLoss(reads=("low", "high", "cap")),
        "gspo": OtherLoss(reads=("low", "high"), unit="sequence"),
        "clip_cov": OtherLoss(reads=("low", "high"), acts_at_one=True),
        "rollout_is": OtherLoss(reads=("low", "high"), against_sampler=True),
        # their thresholds have names of their own
        "cispo": OtherLoss(sampler_where=(Where("cispo_anchor", ("rollout",)),)),
        "kl_cov": OtherLoss(),
        "sapo": OtherLoss(),
        "dppo": OtherLoss(against_sampler=True),
        "cross_entropy": OtherLoss(acts_at_one=True),
        "importance_sampling": OtherLoss(against_sampler=True),
    },
    late=(Where("async"),),
    late_entry=True,
    corrections=(
        Correction((Where("tis", ("token",)),), high="tis_token"),
        Correction((Where("tis", ("sequence",)),), high="tis_sequence"),
        Correction((Where("mask", ("geometric",)),), "geo_low", "geo_high"),
        Correction((Where("mask", ("product",)),), "product_low", "product_high"),
        Correction(
            (Where("outlier_low"), Where("outlier_high")), "outlier_low", "outlier_high"
        ),
        Correction((Where("token_high"),), "token_low", "token_high"),
        Correction((Where("use_tis"),), high="tis_cap"),
    ),
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
_SLIME_TOKEN = TOKEN._replace(sampler_where=(Where("rollout_logprobs"),))
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
        "tis": Setting("use_tis", "flag", False),
        "tis_low": Setting("tis_clip_low", "number", 0.0),
        "tis_high": Setting("tis_clip", "number", 2.0),
        "tis_function": Setting("custom_tis_function_path", "word?"),
        "mismatch": Setting("get_mismatch_metrics", "flag", False),
        "loss_function": Setting("custom_loss_function_path", "word?"),
    },
    losses={
        "grpo": _SLIME_TOKEN,
        "ppo": _SLIME_TOKEN,
        "reinforce_plus_plus": _SLIME_TOKEN,
        "reinforce_plus_plus_baseline": _SLIME_TOKEN,
        "gspo": _SLIME_TOKEN._replace(unit="sequence"),
        "cispo": _SLIME_TOKEN._replace(reads=("low", "high"), unit="weight"),
    },
    stale=(Where("old_actor"), Where("loss_function")),
    late_entry=True,
    corrections=(
        Correction(
            (Where("tis"), Where("mismatch")),
            "tis_low",
            "tis_high",
            others=("tis_function",),
            function="tis_function",
        ),
    ),
    switched=(Switched("kl", ("kl_on",)),),
    clip_metric="train/pg_clipfrac",
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
    stale=(Where("async"),),
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
    stale=(Where("prefetch"), Where("producer")),
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
    # in front: OpenRLHF has an actor.eps_clip too
    "areal": AREAL,
    "openrlhf": OPENRLHF,
    "skyrl": SKYRL,
    "slime": SLIME,
    "prime-rl": PRIME_RL,
    "ms-swift": SWIFT,
    "megatron-swift": SWIFT_MEGATRON,
    "axolotl": AXOLOTL,
    "easyr1": EASYR1,
    "trl-async": TRL_ASYNC,
}
"""By the name that Settings.trainer and the JSON have."""
