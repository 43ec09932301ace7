"""What the doctor can find: an enum whose value is the advice, and one finding with the
values that made it."""

import dataclasses
import enum
from typing import Any

PAGE = "docs/doctor.md"


@dataclasses.dataclass(frozen=True)
class Advice:
    """Why a finding matters and what to do about it. The same for TRL and verl unless
    the two differ."""

    title: str
    """The fault in three or four words; with hyphens for spaces it is the anchor of its
    section in docs/doctor.md."""
    why: str
    """What follows from it."""
    trl: str = ""
    """What to set instead in TRL; empty where TRL cannot have the fault."""
    verl: str = ""
    """What to set instead in verl; empty where verl cannot have the fault."""
    other: str = ""
    """What to set instead in a trainer of doctor/others.py."""
    holds: str = ""
    """The versions that it holds for, where it is not all that are known."""


class Finding(enum.Enum):
    """A setting that does nothing, or something else than it says. The value is the
    advice."""

    RATIO_ALWAYS_ONE = Advice(
        "ratio always 1",
        "With one update per rollout the policy that is trained is the one that the old "
        "log-probs are of. Every ratio is exactly 1, so no ordinary clip threshold does "
        "anything and the clip metrics stay 0.",
        trl="steps_per_generation over gradient_accumulation_steps, or num_iterations "
        "over 1; or a strategy that acts on fresh tokens, such as the thermostat",
        verl="ppo_mini_batch_size under train_batch_size, or ppo_epochs over 1 "
        "(separate_async: parameter_sync_step over 1; fully_async: "
        "trigger_parameter_sync_step or require_batches over 1); or a strategy that acts "
        "on fresh tokens, such as the thermostat",
        other="more updates per rollout: a smaller batch per update, or more epochs",
    )
    CLIP_RATIO_ALONE = Advice(
        "clip_ratio alone",
        "verl reads clip_ratio only where clip_ratio_low or clip_ratio_high is null. "
        "Both are 0.2 by default, so the value that was set is not used.",
        verl="clip_ratio_low and clip_ratio_high",
        holds="verl 0.4 and later; before, clip_ratio is what is read",
    )
    DUAL_CLIP = Advice(
        "dual clip",
        "A second cap of the ratio lies inside the window. Tokens lose their gradient "
        "before they reach the threshold that was loosened, and the clip metric of that "
        "threshold does not count them.",
        trl="delta to None, or over the window: over 1 + epsilon_high, or over 1 + the "
        "highest bound that a strategy sets",
        verl="clip_ratio_c over the window: over 1 + clip_ratio_high, or over 1 + the "
        "highest bound that a strategy sets, or 1e6 where there is no highest",
        other="the cap over 1 + the upper threshold",
    )
    THRESHOLD_IGNORED = Advice(
        "threshold ignored",
        "The loss never reads the value: another value gives the same loss and the same "
        "gradient.",
        trl="a loss_type that reads it (epsilon, epsilon_high, delta: grpo, bnpo, "
        "dr_grpo, dapo, luspo), or leave it out",
        verl="a policy_loss.loss_mode that reads it (clip_ratio_low, clip_ratio_high, "
        "clip_ratio_c: vanilla), the strategy's own option, or leave it out",
        other="a loss that reads it, or leave it out",
    )
    CAP_UNDER_ONE = Advice(
        "cap under 1",
        "In cispo as TRL has it, epsilon_high is the largest ratio itself, not a half-width; "
        "without epsilon_high, epsilon is. A cap below 1 gives almost every token the "
        "same constant weight, whatever its ratio.",
        trl="epsilon_high to 5 (ScaleRL), or anything well over 1",
        other="epsilon_high to 5 (ScaleRL), or anything well over 1",
    )
    ENTROPY_AGGREGATION = Advice(
        "entropy aggregation",
        "verl aggregates actor/entropy as it does the loss. Only under token-mean is it "
        "the mean over tokens, in nats per token. Under another mode it changes with "
        "response length, and so does a bonus on it.",
        verl="compare actor/entropy only with entropies of the same mode (token-mean "
        "makes it nats per token, and changes the objective of the loss too)",
    )
    TEMPERATURE = Advice(
        "temperature",
        "Entropy and log-probabilities are those of the logits divided by the configured "
        "temperature. If it is not 1, they are not the model's own. If generation_kwargs "
        "sets another temperature, they are not the sampler's.",
        trl="temperature to 1, and none in generation_kwargs; or compare entropies of "
        "equal temperature only",
        verl="rollout.temperature to 1; or compare entropies of equal temperature only",
        other="temperature 1; or compare entropies of equal temperature only",
    )
    SAMPLING_CUT = Advice(
        "sampling cut",
        "Top-p, top-k, min-p and a repetition penalty change the sampler alone. Entropy, "
        "log-probabilities and ratios are those of the whole distribution, which nobody "
        "sampled from.",
        trl="top_p to 1, top_k to 0, min_p to None, repetition_penalty to 1, also in "
        "generation_kwargs",
        verl="rollout.top_p to 1, rollout.top_k to -1",
        other="top_p 1, top_k -1, min_p 0",
    )
    VLLM_CORRECTION_OFF = Advice(
        "vllm correction off",
        "vLLM and the trainer give the same token different probabilities. Without the "
        "correction, samples count as the training policy's own, and no metric shows how "
        "far vLLM has drifted from it.",
        trl="vllm_importance_sampling_correction to True",
    )
    BONUS_AND_CONTROLLER = Advice(
        "bonus and controller",
        "Two controls act on the same entropy. TRL's adaptive control overwrites "
        "entropy_coef, so a constant bonus is gone after a few updates. A controller "
        "that acts through the clip does not see a bonus and works against it.",
        trl="one of entropy_coef, use_adaptive_entropy and a strategy that controls "
        "entropy",
        verl="entropy_coeff to 0 under an entropy controller",
    )
    UNSLOTH = Advice(
        "unsloth",
        "unsloth replaces TRL's trainer at import. Subclasses that reach into its loss "
        "are bypassed, and its GRPO path drops use_adaptive_entropy with its bonus.",
        trl="run without importing unsloth",
    )

    SEQUENCE_WINDOW = Advice(
        "sequence window",
        "The ratio is that of a sequence, a geometric mean over its tokens. It stays "
        "within about 1e-3 of 1, so a window made for token ratios clips nothing.",
        trl="epsilon 3e-4 and epsilon_high 4e-4, as in the GSPO paper (2507.18071)",
        verl="clip_ratio_low 3e-4 and clip_ratio_high 4e-4, as in the GSPO paper "
        "(2507.18071)",
        other="3e-4 below and 4e-4 above, as in the GSPO paper (2507.18071)",
    )
    WINDOW_OPEN = Advice(
        "window open",
        "The threshold lies where no token can be: a ratio is never under 0, and two "
        "probabilities never differ by more than 1. That side of the clip is off.",
        other="a half-width under 1, or know that this side is off",
    )
    SWITCHED_OFF = Advice(
        "switched off",
        "The coefficient has a switch of its own, and the switch is off. The loss does "
        "not read the coefficient.",
        other="turn the switch on, or leave the coefficient out",
    )
    DROPOUT = Advice(
        "dropout",
        "Dropout makes the second pass over a token differ from the first, so a tight "
        "window clips tokens whose policy did not move. At a learning rate of 0 that is "
        "3 to 23% of tokens.",
        trl="look in the model's config.json (attention_dropout, hidden_dropout) and at "
        "lora_dropout: if one is over 0, disable_dropout to True",
    )
    BYPASS_MODE = Advice(
        "bypass mode",
        "verl's workers keep policy_loss.loss_mode and get no importance weights, so "
        "loss_type, rollout_is and rollout_rs of rollout_correction do nothing. The pass "
        "that logs actor/entropy is left out.",
        verl="bypass_mode to false where rollout_is or rollout_rs is to act, or leave "
        "them out; actor.calculate_entropy to true logs actor/entropy_loss",
        holds="verl 0.9",
    )
    WRONG_SECTION = Advice(
        "wrong section",
        "verl makes an object of the section, and the object refuses a name that it does "
        "not have: the run ends with a TypeError. The same name stands one section "
        "further out.",
        verl="the name in its own section, without the +",
        holds="verl 0.9",
    )
    UNKNOWN_WORD = Advice(
        "unknown word",
        "The trainer has no such mode, and a name that it has is one typo away. The run "
        "ends with an error when the loss is first taken.",
        trl="the name that is near",
        verl="the name that is near",
        other="the name that is near",
    )
    AGGREGATION_IGNORED = Advice(
        "aggregation ignored",
        "The loss has an aggregation of its own. loss_agg_mode acts on the entropy and "
        "the KL terms alone.",
        verl="leave loss_agg_mode at its default, or know that the loss does not change",
        holds="verl 0.9",
    )
    TRUNCATED_RATIO = Advice(
        "truncated ratio",
        "Under dppo clip_ratio_c caps the weight of a token, r, on both signs of A. The "
        "paper (2602.04879, 5.4) asks for a large cap, and the loss itself takes 20 "
        "where there is none; verl's configuration puts 3 in its place.",
        verl="clip_ratio_c to 20",
        holds="verl 0.9",
    )
    MISMATCH_WINDOW = Advice(
        "mismatch window",
        "The denominator is the sampler's own log-prob. Two engines give the same weights "
        "different probabilities, so rollouts of the newest policy have ratios other than "
        "1 too, and a narrow window clips up to half of all tokens whatever the policy "
        "did. Look at the clip share of the first step, before any update: that is "
        "mismatch alone.",
        trl="epsilon well over the mean of |ratio - 1| at the first step",
        verl="bypass_mode to false, so that the window bounds the change of the policy "
        "alone, with rollout_is=token for the rest; then rollout_corr/log_ppl_abs_diff is "
        "the part of the mismatch (at the first step) and of staleness (what it grows by)",
        other="old log-probs of the trainer (a decoupled loss) with a correction beside "
        "them, or a window well over the mismatch",
    )
    STALENESS_UNSEEN = Advice(
        "staleness unseen",
        "Rollouts are of an older policy, and the old log-probs are taken anew from the "
        "policy that trains. The ratio begins at 1 whatever the age of a rollout, and no "
        "correction is on: neither the clip nor a weight knows of the older policy.",
        verl="rollout_correction.rollout_is=token, or bypass_mode=true, or know that "
        "only max_off_policy_threshold (async_training.staleness_threshold) bounds it",
        other="the correction on (TIS, a mask), or the sampler's log-probs in the ratio",
    )
    CORRECTION_IGNORED = Advice(
        "correction ignored",
        "A setting of the mismatch correction is read only where the correction is on, and "
        "in the mode that has it.",
        trl="use_vllm and vllm_importance_sampling_correction to True, or leave it out",
        verl="rollout_is or rollout_rs with their thresholds, bypass_mode false and "
        "rollout.calculate_log_probs true; or leave it out",
        other="turn the correction on, or leave the setting out",
    )
    CORRECTION_BAND = Advice(
        "correction band",
        "The ratio of two engines at the same weights is near 1. A band without 1 drops "
        "nearly every token; a cap under 1 gives nearly every token the same weight.",
        trl="clip_max over 1 (3 by default), clip_min under 1",
        verl="a cap over 1 (2), or a band around 1, each bound with a decimal point: "
        "0.5_5.0 (0.5_5 is the number 0.55 to Hydra)",
        other="the lower bound under 1, the upper one over 1",
    )
    CORRECTION_REFUSED = Advice(
        "correction refused",
        "The trainer cannot read the correction: the run ends with an error, at its start "
        "or at its first batch.",
        trl="what the trainer takes",
        verl="what verl takes: rollout_is token or sequence; rollout_rs of the options "
        "token_k1, seq_mean_k3, ... with a threshold each",
    )
    PLUGIN_OFF = Advice(
        "plugin off",
        "verl trains on its own loss, and no strategy of entrostat acts, unless all that "
        "the plug-in needs is set.",
        verl="set what is missing",
    )

    @property
    def link(self) -> str:
        """Its section of the documentation.

        >>> Finding.DUAL_CLIP.link
        'docs/doctor.md#dual-clip'
        """
        return f"{PAGE}#{self.value.title.lower().replace(' ', '-')}"


def instead(finding: Finding, trainer: str) -> str:
    """What to set instead, in that trainer."""
    advice = finding.value
    return {"trl": advice.trl, "verl": advice.verl}.get(trainer, advice.other)


@dataclasses.dataclass(frozen=True)
class Found:
    """A finding in one configuration."""

    finding: Finding
    said: str
    """What is wrong, in one line, with the values."""
    settings: dict[str, Any]
    """The values, by name."""
