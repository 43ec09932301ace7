"""What does nothing, or something else than it says, where rollouts are older than the
policy that trains or come from another engine. The checks read the table, and name no
trainer."""

from typing import Any

from entrostat.doctor.checks import mismatch_window, outside_band
from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.others_run import OtherRun
from entrostat.doctor.settings import shown


def _mismatch_window(run: OtherRun) -> Found | None:
    """The window is narrow, and bounds a ratio to the sampler's own probability."""
    if run.loss is None or not run.against_sampler:
        return None
    if run.loss.unit not in ("token", "sequence", "probability"):
        return None
    values = run.named("low", "high", "both", "pair", "probability")
    where = [each.meaning for each in run.loss.sampler_where]
    return mismatch_window(*run.window(), run.loss.unit, values, run.named(*where))


def _staleness_unseen(run: OtherRun) -> Found | None:
    """Rollouts are older, and neither the ratio nor a correction knows of it."""
    late = run.late
    seen = any(run.holds(where) for where in run.trainer.stale)
    if late is None or seen or run.loss is None or run.loss.acts_at_one:
        return None
    if any(run.acts(correction) for correction in run.trainer.corrections):
        return None
    what = shown(late) or run.settings.stale
    said = f"{what}: no correction is on, and the ratio does not see the age"
    switches = [each.meaning for one in run.trainer.corrections for each in one.on]
    return Found(Finding.STALENESS_UNSEEN, said, late | run.named(*switches))


def _correction_ignored(run: OtherRun) -> Found | None:
    """A bound of a correction was set, and the correction is off."""
    unread: dict[str, Any] = {}
    switches: dict[str, Any] = {}
    for correction in run.trainer.corrections:
        if run.acts(correction):
            continue
        bounds = (correction.low, correction.high, correction.pair, *correction.others)
        changed = [each for each in bounds if each and run.changed(each)]
        if changed:
            unread |= run.named(*changed)
            switches |= run.named(*[where.meaning for where in correction.on])
    if not unread:
        return None
    off = {name: value for name, value in switches.items() if name not in unread}
    said = f"nothing reads {shown(unread)}" + (f" under {shown(off)}" if off else "")
    if run.loss is not None and "loss" in run.trainer.settings:
        off = off | run.named("loss")
    return Found(Finding.CORRECTION_IGNORED, said, off | unread)


def _correction_band(run: OtherRun) -> Found | None:
    """A correction that acts has bounds without 1 between them."""
    for correction in run.trainer.corrections:
        own = run[correction.function] if correction.function else None
        names = [correction.low, correction.high, correction.pair]
        changed = [each for each in names if each and run.changed(each)]
        if not run.acts(correction) or own or not changed:
            continue
        if correction.pair:
            low, high = run[correction.pair]
        else:
            low, high = run[correction.low], run[correction.high]
        if outside_band(low, high):
            values = run.named(*[each for each in names if each])
            said = f"1 is not within {shown(values)}"
            return Found(Finding.CORRECTION_BAND, said, values)
    return None


ASYNC_CHECKS = (
    _mismatch_window,
    _staleness_unseen,
    _correction_ignored,
    _correction_band,
)
