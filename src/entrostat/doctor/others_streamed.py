"""Trainers that stream rollouts of several versions into each batch. See others.py."""

from entrostat.doctor.others_kinds import (
    TOKEN,
    Correction,
    OtherLoss,
    Setting,
    Trainer,
    Where,
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
        "staleness": Setting(
            "orchestrator.max_off_policy_steps",
            "number",
            8,
            ("max_off_policy_steps", "max_async_level", "async_level"),
        ),
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

_AREAL_LOSS = TOKEN._replace(
    # decoupled or not, what is computed anew is the policy that trains
    sampler_where=(Where("decoupled", (False,)), Where("recompute", (False,)))
)
_REJECTION = "actor.rejection_sampling"
AREAL = Trainer(
    title="AReaL",
    version="1.0.4",
    batches="steps",
    settings={
        "rollout": Setting("train_dataset.batch_size", "count?"),
        "samples": Setting("gconfig.n_samples", "count", 1),
        "steps": Setting("actor.ppo_n_minibatches", "count", 4),
        "low": Setting("actor.eps_clip", "number", 0.2),
        "high": Setting("actor.eps_clip_higher", "number?"),
        "cap": Setting("actor.c_clip", "number?"),
        "level": Setting("actor.importance_sampling_level", "word", "token"),
        "temperature": Setting("gconfig.temperature", "number", 1.0),
        "top_p": Setting("gconfig.top_p", "number", 1.0),
        "staleness": Setting("rollout.max_head_offpolicyness", "number", 0),
        "recompute": Setting("actor.recompute_logprob", "flag", False),
        "decoupled": Setting("actor.use_decoupled_loss", "flag", False),
        "method": Setting("actor.prox_logp_method", "word", "recompute"),
        "sapo": Setting("actor.use_sapo_loss", "flag", False),
        "rs_low": Setting(f"{_REJECTION}.lower", "number?"),
        "rs_high": Setting(f"{_REJECTION}.upper", "number", 5.0),
        "rs_metric": Setting(f"{_REJECTION}.metric", "word", "ratio"),
        "weight_cap": Setting(
            "actor.behav_imp_weight_cap",
            "number?",
            None,
            ("actor.behave_imp_weight_cap",),
        ),
    },
    losses={"ppo": _AREAL_LOSS},
    stale=(Where("sapo"), Where("method", ("loglinear",))),
    late=(Where("staleness"),),
    corrections=(
        # AReaL itself refuses a band without 1
        Correction(
            (Where("decoupled"),),
            others=("rs_low", "rs_high", "rs_metric", "weight_cap"),
        ),
    ),
    clip_metric="clip_ratio",
    signature=frozenset(
        {
            "rollout.max_head_offpolicyness",
            "actor.use_decoupled_loss",
            "actor.recompute_logprob",
            "actor.ppo_n_minibatches",
        }
    ),
)
TRL_ASYNC = Trainer(
    title="TRL's AsyncGRPOTrainer",
    version="1.16.0",
    batches="streamed",
    settings={
        "samples": Setting("num_generations", "count", 8),
        "low": Setting("epsilon", "number", 0.2),
        "high": Setting("epsilon_high", "number?"),
        "temperature": Setting("temperature", "number", 1.0),
        "top_p": Setting("top_p", "number", 1.0),
        "top_k": Setting("top_k", "number", 0),
        "min_p": Setting("min_p", "number?"),
        "staleness": Setting("max_staleness", "number", 4),
        "sync": Setting("weight_sync_steps", "count", 1),
    },
    losses={"dapo": OtherLoss(reads=("low", "high"), against_sampler=True)},
    clip_metric="the larger of clip_ratio/low_mean and clip_ratio/high_mean",
    signature=frozenset({"max_staleness", "weight_sync_steps"}),
)
