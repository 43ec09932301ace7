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


class Finding(enum.Enum):
    """A setting that does nothing, or something else than it says. The value is the
    advice."""

    RATIO_ALWAYS_ONE = Advice(
        "ratio always 1",
        "With one update per rollout the policy that is trained is the policy that "
        "sampled. Every ratio is exactly 1, so no ordinary clip threshold does anything "
        "and the clip metrics stay 0.",
        trl="steps_per_generation over gradient_accumulation_steps, or num_iterations "
        "over 1; or a strategy that acts on fresh tokens, such as the thermostat",
        verl="ppo_mini_batch_size under train_batch_size, or ppo_epochs over 1; or a "
        "strategy that acts on fresh tokens, such as the thermostat",
    )
    CLIP_RATIO_ALONE = Advice(
        "clip_ratio alone",
        "verl reads clip_ratio only where clip_ratio_low or clip_ratio_high is null. "
        "Both are 0.2 by default, so the value that was set is not used.",
        verl="clip_ratio_low and clip_ratio_high",
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
    )
    THRESHOLD_IGNORED = Advice(
        "threshold ignored",
        "The loss never reads the value: another value gives the same loss and the same "
        "gradient.",
        trl="a loss_type that reads it (epsilon, epsilon_high, delta: grpo, bnpo, "
        "dr_grpo, dapo, luspo), or leave it out",
        verl="a policy_loss.loss_mode that reads it (clip_ratio_low, clip_ratio_high, "
        "clip_ratio_c: vanilla), the strategy's own option, or leave it out",
    )
    CAP_UNDER_ONE = Advice(
        "cap under 1",
        "In TRL's cispo epsilon_high is the largest ratio itself, not a half-width; "
        "without epsilon_high, epsilon is. A cap below 1 gives almost every token the "
        "same constant weight, whatever its ratio.",
        trl="epsilon_high to 5 (ScaleRL), or anything well over 1",
    )
    ENTROPY_AGGREGATION = Advice(
        "entropy aggregation",
        "verl aggregates actor/entropy as it does the loss. Only under token-mean is it "
        "the mean over tokens, in nats per token. Under another mode it changes with "
        "response length, and so does a bonus on it.",
        verl="loss_agg_mode to token-mean, or compare actor/entropy only with entropies "
        "of the same mode",
    )
    TEMPERATURE = Advice(
        "temperature",
        "Entropy and log-probabilities are those of the logits divided by the configured "
        "temperature. If it is not 1, they are not the model's own. If generation_kwargs "
        "sets another temperature, they are not the sampler's.",
        trl="temperature to 1, and none in generation_kwargs; or compare entropies of "
        "equal temperature only",
        verl="rollout.temperature to 1; or compare entropies of equal temperature only",
    )
    SAMPLING_CUT = Advice(
        "sampling cut",
        "Top-p, top-k, min-p and a repetition penalty change the sampler alone. Entropy, "
        "log-probabilities and ratios are those of the whole distribution, which nobody "
        "sampled from.",
        trl="top_p to 1, top_k to 0, min_p to None, repetition_penalty to 1, also in "
        "generation_kwargs",
        verl="rollout.top_p to 1, rollout.top_k to -1",
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

    @property
    def link(self) -> str:
        """Its section of the documentation.

        >>> Finding.DUAL_CLIP.link
        'docs/doctor.md#dual-clip'
        """
        return f"{PAGE}#{self.value.title.lower().replace(' ', '-')}"


@dataclasses.dataclass(frozen=True)
class Found:
    """A finding in one configuration."""

    finding: Finding
    said: str
    """What is wrong, in one line, with the values."""
    settings: dict[str, Any]
    """The values, by name."""
