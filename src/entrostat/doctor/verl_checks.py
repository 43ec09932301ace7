"""What in verl's configuration does nothing, or something else than it says. By the
source of verl 0.9.1; tests/doctor/test_verl_faults.py shows each finding on the installed
verl."""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from entrostat.doctor.checks import (
    OF_THE_TRAINED,
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
from entrostat.doctor.read import reason
from entrostat.doctor.settings import Kind, Settings, checked, shown
from entrostat.doctor.verl import (
    ACTOR,
    BYPASS,
    CORRECTION,
    LOSS,
    ROLLOUT,
    TRAINER_MODE,
)
from entrostat.doctor.verl_async import ASYNC_CHECKS, OWN_BYPASS, updates
from entrostat.strategies import STRATEGIES, make_strategy
from entrostat.trainers import (
    VERL_LOSSES,
    VERL_NEEDED,
    VERL_PLUGIN,
    VERL_TRAINERS,
    VERL_WINDOW,
    Loss,
    ratios_can_move,
    thresholds,
    verl_trainer_mode,
)

if TYPE_CHECKING:
    from entrostat.strategies import Strategy

CLIP_RATIO, CLIP_LOW, CLIP_HIGH = (f"{ACTOR}.{name}" for name in VERL_WINDOW)
DUAL_CLIPPED = ("vanilla", VERL_PLUGIN)
"""Loss modes in which clip_ratio_c is a second cap of the window's ratio."""
NO_CAP = 1e6
"""verl cannot switch the dual clip off: a clip_ratio_c from here on is meant as off."""
ENTROPY_IS: Mapping[str, str] = {
    "token-sum": "the sum over the batch's tokens",
    "seq-mean-token-sum": "nats per response, the sum over its tokens",
    "seq-mean-token-mean": "a mean of responses' means, where short responses count as "
    "much as long ones",
    "seq-mean-token-sum-norm": "the sum over a response's tokens, divided by the longest "
    "length",
}
"""What actor/entropy is under each loss_agg_mode but token-mean."""
AGGREGATIONS = ("token-mean", *ENTROPY_IS)
OWN_AGGREGATION: Mapping[str, str] = {
    "sapo": "seq-mean-token-mean",
    "geo_mean": "a mean over sequences",
}
"""Loss modes that do not read loss_agg_mode, and what they do."""
DPPO_CAP = 20
"""What dppo takes for clip_ratio_c where a configuration has none."""
SAMPLER_OFF: Mapping[str, tuple[Any, ...]] = {
    f"{ROLLOUT}.top_p": (1,),
    f"{ROLLOUT}.top_k": (-1, 0),
}
"""Values under which the sampler draws from the whole distribution."""
OPTION_KINDS: Mapping[type, Kind] = {float: "number", bool: "flag"}
"""What an option of a strategy must be, by the type of its default; others the strategy
checks itself."""


def verl_findings(
    settings: Settings, strategy: "Strategy | None" = None
) -> list[Found]:
    """What is found in verl's configuration, under its own thresholds or those of an
    entrostat strategy.

    The strategy is the one that the configuration names, unless another is given.
    ValueError where it names a strategy, or an option, that does not exist.
    """
    # also in bypass mode: v1 keeps this mode, and v0 sets another one on the driver
    # alone, when its workers have this one
    mode = settings[f"{LOSS}.loss_mode"] if strategy is None else VERL_PLUGIN
    off = _plugin_off(settings) if strategy is None else None
    if off is not None and mode == VERL_PLUGIN:
        return [off]
    if mode == VERL_PLUGIN and strategy is None:
        strategy = _named_strategy(settings)
    run = Run(settings, mode, strategy)
    checks = (
        _ratio_always_one,
        _clip_ratio_alone,
        _dual_clip,
        _threshold_ignored,
        _aggregation_ignored,
        _entropy_aggregation,
        _sequence_window,
        _truncated_ratio,
        _bypass_mode,
        _wrong_section,
        _unknown_word,
        _temperature,
        _sampling_cut,
        _bonus_and_controller,
        *ASYNC_CHECKS,
    )
    return ([] if off is None else [off]) + run_checks(checks, run)


def _plugin_off(settings: Settings) -> Found | None:
    """Something of entrostat's is set, and not all that the plug-in needs."""
    own = [f"{LOSS}.{name}" for name in ("strategy", "options")]
    asked = [name for name in own if name in settings.named]
    missing = {}
    for name, value in VERL_NEEDED.items():
        fits = (value,)
        if name == TRAINER_MODE:
            # each of verl's trainers has one of ours over it
            fits, value = tuple(VERL_TRAINERS), verl_trainer_mode(settings[name])
        v0 = name == TRAINER_MODE and not settings["trainer.use_v1"]
        if settings[name] in fits and name in settings.named:
            asked.append(name)
        elif settings[name] not in fits and not v0:
            missing[name] = value
    # somebody's own class may have fields of the same names
    target = str(settings[f"{LOSS}._target_"] or "")
    if not asked or not missing or not target.startswith(("verl.", "entrostat.")):
        return None
    lines = ", ".join(f"{name}={value}" for name, value in missing.items())
    said = f"{asked[0]} asks for entrostat, and missing is: {lines}"
    return Found(Finding.PLUGIN_OFF, said, settings.of(missing))


def _named_strategy(settings: Settings) -> "Strategy":
    """The strategy that the configuration names, with its options."""
    name = settings[f"{LOSS}.strategy"]
    options = dict(settings[f"{LOSS}.options"] or {})
    if name is None:
        raise ValueError(
            f"{LOSS}.strategy is not set, and loss_mode {VERL_PLUGIN} needs one: "
            f"{', '.join(STRATEGIES)}"
        )
    fields = dataclasses.fields(STRATEGIES[name]) if name in STRATEGIES else ()
    for field in fields:
        kind = OPTION_KINDS.get(type(field.default))
        if kind is not None and field.name in options:
            full_name = f"{LOSS}.options.{field.name}"
            options[field.name] = checked(full_name, options[field.name], kind)
    try:
        return make_strategy(name, **options)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{LOSS}: {reason(error)}") from None


def _ratio_always_one(run: Run) -> Found | None:
    """There is one update per rollout, and nothing acts where the ratio is 1."""
    # in bypass mode the old policy is the sampler's: ratios leave 1 because two engines
    # give a token different probabilities, and because rollouts may be older
    count, sizes = updates(run.settings)
    moves = count is None or ratios_can_move(count) or run.settings[BYPASS]
    loss_acts = VERL_LOSSES.get(run.loss, Loss()).acts_at_one
    if moves or loss_acts or run.acts_on_fresh:
        return None
    found = one_update(sizes)
    if not run.settings.stale:
        return found
    said = f"{found.said}, {OF_THE_TRAINED}"
    return dataclasses.replace(
        found, said=said, settings={**found.settings, BYPASS: False}
    )


def _window(settings: Settings) -> tuple[float, float]:
    """Low and high as verl's losses take them."""
    both, low, high = settings.of((CLIP_RATIO, CLIP_LOW, CLIP_HIGH)).values()
    return (both if low is None else low), (both if high is None else high)


def _clip_ratio_alone(run: Run) -> Found | None:
    """`clip_ratio` was changed, and the defaults of both sides stand before it."""
    settings = run.settings
    reads = VERL_LOSSES.get(run.loss, Loss()).reads
    if "clip_ratio" not in reads or not settings.changed(CLIP_RATIO):
        return None
    clip_ratio = settings[CLIP_RATIO]
    # a side that was chosen, or that is null, or that happens to agree, is no trap
    trapped = []
    for side in (CLIP_LOW, CLIP_HIGH):
        unread = settings[side] is not None and settings[side] != clip_ratio
        if unread and not settings.changed(side):
            trapped.append(side)
    if not trapped:
        return None
    low, high = _window(settings)
    said = (
        f"clip_ratio {clip_ratio:g} is set, the window is 1 - {low:g} to 1 + {high:g}"
    )
    values = settings.of((CLIP_RATIO, CLIP_LOW, CLIP_HIGH))
    return Found(Finding.CLIP_RATIO_ALONE, said, values)


def _dual_clip(run: Run) -> Found | None:
    """`clip_ratio_c`, which caps the ratio where A < 0, lies inside the window.

    verl requires it to be over 1 and has no value for none, so at its default of 3 it
    cuts every window that is wider. A window that is open above sets no threshold that it
    could cut: for A < 0 only the low side acts, and the cap is a guard.
    """
    cap = run.settings[f"{ACTOR}.clip_ratio_c"]
    edge = upper_edge(run, own=Edge(CLIP_HIGH, _window(run.settings)[1]))
    if run.loss not in DUAL_CLIPPED or math.isinf(edge.half_width):
        return None
    if cap >= min(1 + edge.half_width, NO_CAP):
        return None
    said = (
        f"clip_ratio_c {cap:g} caps the ratio of tokens with A < 0 where the window goes "
        f"up to 1 + {edge.half_width:g} ({edge.name.rpartition('.')[2]})"
    )
    values = {f"{ACTOR}.clip_ratio_c": cap, edge.name: edge.half_width}
    return Found(Finding.DUAL_CLIP, said, values)


def _threshold_ignored(run: Run) -> Found | None:
    """A threshold was changed that the loss does not read. A loss mode of somebody's own
    may read any."""
    if run.loss not in VERL_LOSSES:
        return None
    unread: dict[str, Any] = {}
    for threshold in thresholds(VERL_LOSSES):
        name = f"{ACTOR}.{threshold}"
        is_read = threshold in VERL_LOSSES[run.loss].reads
        if not is_read and run.settings.changed(name):
            unread[name] = run.settings[name]
    if not unread:
        return None
    said = f"loss_mode {run.loss} does not read {shown(unread)}"
    values = {f"{LOSS}.loss_mode": run.loss, **unread}
    return Found(Finding.THRESHOLD_IGNORED, said, values)


def _entropy_aggregation(run: Run) -> Found | None:
    """actor/entropy is not a mean over tokens: verl's agg_loss makes it, as it makes the
    loss."""
    name = f"{ACTOR}.loss_agg_mode"
    mode = run.settings[name]
    # in bypass mode there is no actor/entropy
    if mode not in ENTROPY_IS or run.settings[BYPASS]:
        return None
    said = f"loss_agg_mode {mode}: actor/entropy is {ENTROPY_IS[mode]}"
    values = {name: mode}
    if run.settings.stale:
        # where the main's own mode is not known, nor is whether there is an entropy
        values[BYPASS] = False
    return Found(Finding.ENTROPY_AGGREGATION, said, values)


def _aggregation_ignored(run: Run) -> Found | None:
    """loss_agg_mode was set, and the loss aggregates in a way of its own."""
    name = f"{ACTOR}.loss_agg_mode"
    if run.loss not in OWN_AGGREGATION or not run.settings.changed(name):
        return None
    mode = run.settings[name]
    own = OWN_AGGREGATION[run.loss]
    if mode == own:
        return None
    said = f"loss_mode {run.loss} does not read loss_agg_mode {mode}: it is {own}"
    return Found(Finding.AGGREGATION_IGNORED, said, {name: mode})


def _sequence_window(run: Run) -> Found | None:
    """gspo's ratio is a sequence's, and the window one of tokens."""
    if run.loss != "gspo":
        return None
    low, high = _window(run.settings)
    return sequence_window(low, high, {CLIP_LOW: low, CLIP_HIGH: high})


def _truncated_ratio(run: Run) -> Found | None:
    """Under dppo clip_ratio_c caps the weight of every token."""
    name = f"{ACTOR}.clip_ratio_c"
    cap = run.settings[name]
    if not run.loss.startswith("dppo_") or cap >= DPPO_CAP:
        return None
    said = f"loss_mode {run.loss} caps each token's weight at clip_ratio_c {cap:g}"
    return Found(Finding.TRUNCATED_RATIO, said, {name: cap})


def _bypass_mode(run: Run) -> Found | None:
    """What rollout_correction sets beside bypass_mode is read by nobody, unless the loss
    mode is bypass_mode too."""
    mode = BYPASS
    if not run.settings[mode] or run.loss == OWN_BYPASS:
        return None
    unread = {}
    for name in ("loss_type", "rollout_is", "rollout_rs"):
        full_name = f"{CORRECTION}.{name}"
        if run.settings.changed(full_name):
            unread[full_name] = run.settings[full_name]
    # a default of the asynchronous mains is nobody's fault
    if not unread and mode not in run.settings.named:
        return None
    said = "bypass_mode true: no actor/entropy is logged"
    if unread:
        said += f", and nothing reads {shown(unread)}"
    return Found(Finding.BYPASS_MODE, said, {mode: True, **unread})


def _wrong_section(run: Run) -> Found | None:
    """A name was added to a section that refuses it, and stands further out."""
    if not run.settings.misplaced:
        return None
    pairs = [f"+{given} (meant: {meant})" for given, meant in run.settings.misplaced]
    return Found(Finding.WRONG_SECTION, ", ".join(pairs), {})


def _unknown_word(run: Run) -> Found | None:
    """A mode that verl does not have, a typo away from one that it has."""
    words = {f"{LOSS}.loss_mode": VERL_LOSSES, f"{ACTOR}.loss_agg_mode": AGGREGATIONS}
    for name, known in words.items():
        found = unknown_word(name, run.settings[name], known)
        if found is not None:
            return found
    return None


def _temperature(run: Run) -> Found | None:
    """The logged entropy is not that of the model: verl divides the logits by the
    rollout's temperature."""
    name = f"{ROLLOUT}.temperature"
    temperature = run.settings[name]
    if temperature == 1:
        return None
    # in bypass mode there is no actor/entropy
    what = "log-probs are" if run.settings[BYPASS] else "actor/entropy is"
    said = f"at {temperature:g} {what} the tempered sampler's, not the model's"
    return Found(Finding.TEMPERATURE, said, {name: temperature})


def _sampling_cut(run: Run) -> Found | None:
    """The sampler draws from a part of the distribution."""
    return sampling_cut(run.settings.values, SAMPLER_OFF)


def _bonus_and_controller(run: Run) -> Found | None:
    """A bonus on entropy stands beside a strategy that controls it. verl adds the bonus
    whatever the loss mode is."""
    name = f"{ACTOR}.entropy_coeff"
    bonus = run.settings[name]
    return bonus_beside(run, {name: bonus} if bonus else {})
