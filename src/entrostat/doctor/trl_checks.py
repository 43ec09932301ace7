"""What in a GRPOConfig does nothing, or something else than it says. By the source of
TRL 1.16; tests/doctor/test_trl_faults.py shows each finding on the installed TRL."""

from typing import TYPE_CHECKING, Any

from entrostat.doctor.checks import (
    Edge,
    Run,
    bonus_beside,
    one_update,
    run_checks,
    sampling_cut,
    sequence_window,
    unknown_word,
    upper_edge,
)
from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.settings import Settings, shown
from entrostat.doctor.trl import SAMPLER, SAMPLER_OFF, micro_batches
from entrostat.doctor.trl_correction import CORRECTION_CHECKS
from entrostat.strategies import strategy_name
from entrostat.trainers import TRL_LOSSES, thresholds, trl_always_fresh

if TYPE_CHECKING:
    from entrostat.strategies import Strategy

TIGHT = 0.01
"""Half-widths up to here are of the size of what dropout does to a ratio."""


def trl_findings(
    settings: Settings, strategy: "Strategy | None" = None, *, processes: int = 1
) -> list[Found]:
    """What is found in a GRPOConfig, under TRL's own thresholds or those of an entrostat
    strategy."""
    run = Run(settings, settings["loss_type"], strategy, processes)
    checks = (
        _ratio_always_one,
        _dual_clip,
        _threshold_ignored,
        _cap_under_one,
        _sequence_window,
        _dropout,
        _unknown_word,
        _temperature,
        _sampling_cut,
        _vllm_correction_off,
        _bonus_and_controller,
        _unsloth,
        *CORRECTION_CHECKS,
    )
    return run_checks(checks, run)


def _ratio_always_one(run: Run) -> Found | None:
    """No update falls within a rollout, and nothing acts where the ratio is 1."""
    batching = _batching(run)
    if run.acts_on_fresh or not trl_always_fresh(**batching):
        return None
    return one_update(batching)


def _batching(run: Run) -> dict[str, int]:
    """What makes the number of updates per rollout."""
    settings = run.settings
    return {
        "steps_per_generation": micro_batches(settings, run.processes),
        "num_iterations": settings["num_iterations"],
        "gradient_accumulation_steps": settings["gradient_accumulation_steps"],
    }


def _reads(run: Run) -> tuple[str, ...]:
    """The thresholds of the loss; all where it is somebody's own."""
    loss = TRL_LOSSES.get(run.loss)
    return thresholds(TRL_LOSSES) if loss is None else loss.reads


def _dual_clip(run: Run) -> Found | None:
    """`delta`, which caps the ratio itself, lies at or under the window's upper end.

    Over that end it caps the ratio where A < 0 alone, as it is meant to.
    """
    delta = run.settings["delta"]
    if delta is None or "delta" not in _reads(run):
        return None
    edge = upper_edge(run, own=_own_edge(run.settings))
    if delta > 1 + edge.half_width:
        return None
    said = (
        f"delta {delta:g} caps the ratio where the window goes up to "
        f"1 + {edge.half_width:g} ({edge.name})"
    )
    values = {"delta": delta, edge.name: edge.half_width}
    return Found(Finding.DUAL_CLIP, said, values)


def _own_edge(settings: Settings) -> Edge:
    """The upper end of TRL's own window."""
    if settings["epsilon_high"] is None:
        return Edge("epsilon", settings["epsilon"])
    return Edge("epsilon_high", settings["epsilon_high"])


def _threshold_ignored(run: Run) -> Found | None:
    """A threshold was changed that the loss does not read."""
    settings = run.settings
    read = set(_reads(run))
    # TRL takes epsilon for both sides then
    if "epsilon_high" in read and settings["epsilon_high"] is None:
        read.add("epsilon")
    under = ""
    if run.strategy is not None:
        # the strategy sets the window itself
        read -= {"epsilon", "epsilon_high"}
        under = f" under the strategy {strategy_name(run.strategy)}"
    unread = {}
    for name in thresholds(TRL_LOSSES):
        if name not in read and settings.changed(name):
            unread[name] = settings[name]
    if not unread:
        return None
    said = f"loss_type {run.loss}{under} does not read {shown(unread)}"
    values = {"loss_type": run.loss, **unread}
    return Found(Finding.THRESHOLD_IGNORED, said, values)


def _cap_under_one(run: Run) -> Found | None:
    """cispo takes for a largest ratio what was meant as a half-width.

    ScaleRL (2510.13786), which TRL follows, caps at 5.
    """
    cap = _own_edge(run.settings)
    if run.loss != "cispo" or cap.half_width >= 1:
        return None
    said = f"loss_type cispo caps the ratio itself at {cap.name} {cap.half_width:g}"
    values = {"loss_type": "cispo", cap.name: cap.half_width}
    return Found(Finding.CAP_UNDER_ONE, said, values)


def _sequence_window(run: Run) -> Found | None:
    """The ratio is a sequence's, and the window one of tokens. A strategy has its own."""
    level = run.settings["importance_sampling_level"]
    reads_window = {"epsilon", "epsilon_high"} <= set(_reads(run))
    if level != "sequence" or not reads_window or run.strategy is not None:
        return None
    low, high = run.settings["epsilon"], _own_edge(run.settings).half_width
    return sequence_window(low, high, {"epsilon": low, "epsilon_high": high})


def _dropout(run: Run) -> Found | None:
    """The window is so tight that dropout alone may leave it. Where every ratio is 1 by
    construction there is no second pass."""
    settings = run.settings
    low, high = settings["epsilon"], _own_edge(settings).half_width
    tight = min(low, high) <= TIGHT and "epsilon" in _reads(run)
    if settings["disable_dropout"] or not tight or run.strategy is not None:
        return None
    if trl_always_fresh(**_batching(run)):
        return None
    values = {"disable_dropout": False, "epsilon": low, "epsilon_high": high}
    return Found(Finding.DROPOUT, shown(values), values)


def _unknown_word(run: Run) -> Found | None:
    return unknown_word("loss_type", run.loss, TRL_LOSSES)


def _sampler(settings: Settings) -> dict[str, Any]:
    """What the sampler is told, by name: generation_kwargs goes over the fields."""
    options = settings["generation_kwargs"]
    return {name: options.get(name, settings[name]) for name in SAMPLER}


def _temperature(run: Run) -> Found | None:
    """The logged entropy is not that of the model, or not even that of the sampler.

    TRL divides the logits by `temperature` before it takes log-probabilities and entropy,
    whatever generation_kwargs tells the sampler.
    """
    scored = run.settings["temperature"]
    sampled = _sampler(run.settings)["temperature"]
    values = {"temperature": scored}
    if sampled is not None and sampled != scored:
        said = (
            f"tokens are sampled at {sampled:g} (generation_kwargs), but entropy and "
            f"log-probabilities are taken at {scored:g}"
        )
        values["generation_kwargs.temperature"] = sampled
    elif scored != 1:
        said = (
            f"at {scored:g} the logged entropy is the tempered sampler's, "
            "not the model's"
        )
    else:
        return None
    return Found(Finding.TEMPERATURE, said, values)


def _sampling_cut(run: Run) -> Found | None:
    """The sampler draws from a part of the distribution."""
    return sampling_cut(_sampler(run.settings), SAMPLER_OFF)


def _vllm_correction_off(run: Run) -> Found | None:
    """vLLM's samples are weighed as if the trainer's policy had drawn them."""
    values = run.settings.of(("use_vllm", "vllm_importance_sampling_correction"))
    if not values["use_vllm"] or values["vllm_importance_sampling_correction"]:
        return None
    return Found(Finding.VLLM_CORRECTION_OFF, shown(values), values)


def _bonus_and_controller(run: Run) -> Found | None:
    """Two of a bonus, TRL's adaptive bonus and a controlling strategy."""
    bonus = {}
    for name in ("entropy_coef", "use_adaptive_entropy"):
        if run.settings[name]:
            bonus[name] = run.settings[name]
    # a controlling strategy is the worse fault of the two
    beside = bonus_beside(run, bonus)
    if beside is not None or len(bonus) < 2:
        return beside
    said = (
        f"entropy_coef {bonus['entropy_coef']:g} is where use_adaptive_entropy starts "
        "from, not a bonus that stays"
    )
    return Found(Finding.BONUS_AND_CONTROLLER, said, bonus)


def _unsloth(run: Run) -> Found | None:
    """unsloth's loss stands in the place of TRL's."""
    if not run.settings.unsloth:
        return None
    return Found(Finding.UNSLOTH, run.settings.unsloth, {})
