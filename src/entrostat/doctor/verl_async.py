"""What in verl's configuration does nothing, or something else than it says, where rollouts
are older than the policy that trains or come from another engine. By the source of verl
0.9.1; tests/doctor/test_verl_async.py shows it on the installed verl.

Three log-probs of a token: the sampler's; `old_log_probs`, which the clip bounds; those of
the policy that trains. bypass_mode takes the first for the second. Otherwise verl computes
the second anew for each batch, by the policy as it is then (fully_async and separate_async:
as it was when the sampler was last updated), so that a ratio begins at 1 whatever the age
of the rollout; rollout_is and rollout_rs act between the first and the second.
"""

import math
from collections.abc import Sequence
from typing import Any

from entrostat.doctor.checks import Run, mismatch_window, outside_band
from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.settings import Settings, shown
from entrostat.doctor.verl import (
    ACTOR,
    BYPASS,
    CORRECTION,
    FULLY_ASYNC,
    REQUIRED,
    ROLLOUT,
    STALENESS,
    SYNC_STEP,
    TRAINER_MODE,
    TRIGGER,
)
from entrostat.trainers import VERL_LOSSES, verl_updates_per_rollout

IS, IS_THRESHOLD, NORMALIZE, RS, RS_THRESHOLD, LOSS_TYPE = (
    f"{CORRECTION}.{name}"
    for name in (
        "rollout_is",
        "rollout_is_threshold",
        "rollout_is_batch_normalize",
        "rollout_rs",
        "rollout_rs_threshold",
        "loss_type",
    )
)
LOG_PROBS = f"{ROLLOUT}.calculate_log_probs"
OWN_BYPASS = "bypass_mode"
"""A loss mode of verl's that reads the corrections in bypass mode, where a configuration
names it itself."""
RATIO_CLIPPED = ("vanilla", "gspo", "clip_cov")
"""Loss modes whose window bounds a ratio and takes the gradient beyond it."""
RS_OPTIONS = frozenset(
    {f"{level}_k{k}" for level in ("token", "seq_sum", "seq_mean") for k in "123"}
    | {"seq_max_k2", "seq_max_k3"}
)


def updates(settings: Settings) -> tuple[int | None, dict[str, Any]]:
    """Updates between two computations of `old_log_probs`, and what makes their number;
    None where it is not known."""
    epochs = f"{ACTOR}.ppo_epochs"
    mode = settings[TRAINER_MODE] if settings["trainer.use_v1"] else ""
    if settings.main == FULLY_ASYNC:
        sizes = settings.of((TRIGGER, REQUIRED, epochs))
        return math.prod(sizes.values()), sizes
    if not settings.main and mode == "separate_async":
        sizes = settings.of((SYNC_STEP, epochs))
        return math.prod(sizes.values()), sizes
    known = settings.main or mode.endswith("colocate_async")
    sizes = settings.of(
        ("data.train_batch_size", f"{ACTOR}.ppo_mini_batch_size", epochs)
    )
    batch, mini_batch, passes = sizes.values()
    if batch is None or (settings.stale and not known):
        return None, sizes
    count = verl_updates_per_rollout(
        train_batch_size=batch, ppo_mini_batch_size=mini_batch, ppo_epochs=passes
    )
    return count, sizes


def mismatch_clipped(run: Run) -> Found | None:
    """A narrow window bounds the ratio to the sampler. A strategy has its own window."""
    settings = run.settings
    if (
        not settings[BYPASS]
        or run.loss not in RATIO_CLIPPED
        or run.strategy is not None
    ):
        return None
    both, low, high = settings.of(
        f"{ACTOR}.{name}"
        for name in ("clip_ratio", "clip_ratio_low", "clip_ratio_high")
    ).values()
    low, high = (both if low is None else low), (both if high is None else high)
    window = {f"{ACTOR}.clip_ratio_low": low, f"{ACTOR}.clip_ratio_high": high}
    unit = "sequence" if run.loss == "gspo" else "token"
    return mismatch_window(low, high, unit, window, {BYPASS: True})


def staleness_unseen(run: Run) -> Found | None:
    """Rollouts are older, old_log_probs are anew, and no correction is between them. What
    a strategy of entrostat does with ages, its own page says."""
    settings = run.settings
    known = updates(settings)[0] is not None
    corrected = settings[LOG_PROBS] and (settings[IS] or settings[RS])
    if not (settings.stale and known) or settings[BYPASS] or corrected:
        return None
    if run.strategy is not None or run.loss not in VERL_LOSSES:
        return None
    if settings.main == FULLY_ASYNC and not settings[STALENESS]:
        return None
    values = settings.of((BYPASS, IS, RS, LOG_PROBS))
    said = f"{settings.stale} with {shown(values)}: nothing sees how old a rollout is"
    return Found(Finding.STALENESS_UNSEEN, said, values)


def correction_ignored(run: Run) -> Found | None:
    """A setting of rollout_correction is beside one that leaves it unread. What
    bypass_mode leaves unread has a finding of its own."""
    settings = run.settings
    if settings[BYPASS] or run.loss == OWN_BYPASS:
        return None
    unread: dict[str, Any] = {}
    needs: dict[str, Any] = {}

    def note(names: Sequence[str], need: str) -> None:
        # null beside a correction that is off is off too
        changed = [name for name in names if settings.changed(name) and settings[name]]
        if changed:
            unread.update(settings.of(changed))
            needs[need] = settings[need]

    if settings[IS] is None:
        note((IS_THRESHOLD, NORMALIZE), IS)
    if settings[RS] is None:
        note((RS_THRESHOLD,), RS)
    note((LOSS_TYPE,), BYPASS)
    if not settings[LOG_PROBS]:
        note((IS, RS), LOG_PROBS)
    if not unread:
        return None
    said = f"nothing reads {shown(unread)} under {shown(needs)}"
    return Found(Finding.CORRECTION_IGNORED, said, unread | needs)


def decoupling_ignored(run: Run) -> Found | None:
    """use_rollout_log_probs was set to false, which no code reads, and bypass_mode is
    what takes the sampler's log-probs."""
    name = f"{ACTOR}.use_rollout_log_probs"
    if name not in run.settings.named or run.settings[name] is not False:
        return None
    if not run.settings[BYPASS]:
        return None
    values = run.settings.of((name, BYPASS))
    said = f"nothing reads {shown({name: False})} under {shown({BYPASS: True})}"
    return Found(Finding.CORRECTION_IGNORED, said, values)


def correction_band(run: Run) -> Found | None:
    """A cap under 1, or a band without 1."""
    settings = run.settings
    if not _acts(run):
        return None
    wrong: dict[str, Any] = {}
    for switch, name in ((IS, IS_THRESHOLD), (RS, RS_THRESHOLD)):
        if settings[switch] is None:
            continue
        try:
            bands = _bands(settings[switch], settings[name], is_weight=switch == IS)
        except ValueError:
            continue
        if any(outside_band(low, high) for low, high in bands):
            wrong |= settings.of((switch, name))
    if not wrong:
        return None
    return Found(
        Finding.CORRECTION_BAND,
        f"1 is not within {shown(wrong)}",
        {**wrong, BYPASS: False},
    )


def correction_refused(run: Run) -> Found | None:
    """verl ends with a ValueError when it first computes the correction."""
    settings = run.settings
    if not _acts(run):
        return None
    for switch, name in ((IS, IS_THRESHOLD), (RS, RS_THRESHOLD)):
        if settings[switch] is None:
            continue
        values = settings.of((switch, name))
        try:
            _bands(settings[switch], settings[name], is_weight=switch == IS)
        except ValueError as error:
            said = f"{shown(values)}: {error}"
            return Found(Finding.CORRECTION_REFUSED, said, {**values, BYPASS: False})
    return None


def _acts(run: Run) -> bool:
    """Whether the corrections are computed, between the sampler's and old log-probs."""
    settings = run.settings
    return not settings[BYPASS] and settings[LOG_PROBS] and run.loss != OWN_BYPASS


Band = tuple[float | None, float | None]


def _bands(
    switch: str, threshold: float | str | None, *, is_weight: bool
) -> list[Band]:
    """The bounds on the ratio, as verl reads them. ValueError where it refuses."""
    if is_weight:
        if switch not in ("token", "sequence"):
            raise ValueError("rollout_is is token or sequence")
        return [_band(threshold, reciprocal=False)]
    options = [each.strip() for each in switch.split(",") if each.strip()]
    for option in options:
        if option not in RS_OPTIONS:
            raise ValueError(f"verl has no rollout_rs {option}")
    options = list(dict.fromkeys(options))
    if threshold is None:
        raise ValueError("rollout_rs needs a rollout_rs_threshold")
    each = [part for part in str(threshold).split(",") if part.strip()]
    if len(each) not in (1, len(options)):
        raise ValueError("one threshold for all options, or one each")
    each *= len(options) // len(each)
    bands: list[Band] = []
    for option, text in zip(options, each, strict=True):
        if option.endswith("k1"):
            bands.append(_band(text, reciprocal=True))
        elif "_" in text or _number(text) <= 0:
            raise ValueError(f"{option} takes one bound over 0")
    return bands


def _band(threshold: float | str | None, *, reciprocal: bool) -> Band:
    """One upper bound, or lower_upper. `reciprocal`: the lower bound of a lone upper one is
    1 over it."""
    if threshold is None:
        raise ValueError("there is no threshold")
    first, both, second = str(threshold).strip().partition("_")
    high = _number(second if both else first)
    low = None
    if both:
        low = _number(first)
    elif reciprocal and high > 0:
        low = 1 / high
    if high <= 0 or (low is not None and not 0 < low <= high):
        raise ValueError("the bounds are over 0, the lower one first")
    return low, high


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a bound is a number, or two with _ between them") from None


ASYNC_CHECKS = (
    mismatch_clipped,
    staleness_unseen,
    correction_ignored,
    decoupling_ignored,
    correction_band,
    correction_refused,
)
