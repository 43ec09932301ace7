"""The verdict: five lines, each short enough for a terminal of 80 columns.

What moved entropy, which tokens did, what to change, how sure that is, and what was not
read. `words.sentences` say the same at length.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from entrostat.diagnose.advice import Advice
from entrostat.diagnose.attribution import Attribution
from entrostat.diagnose.causes import Cause, sure
from entrostat.diagnose.series import Series
from entrostat.diagnose.types import Json
from entrostat.diagnose.words import (
    FEW_GROUPS,
    in_force,
    number,
    says_right_and_wrong,
    went_the_other_way,
)
from entrostat.entropy import Region
from entrostat.estimate import Interval

HEADS = ("Moved", "Tokens", "Change", "Sure", "Not read")
REST = "More: --full, --html"
_MOST_REGIONS = 2
_NO_COLUMN = re.compile(r"^no columns? ")
_REACH: Mapping[str, str] = MappingProxyType(
    {
        "Noise": "noise as large",
        "Too": "too little is clipped to matter",
        "A": "a clip can act here",
        "Whether": "clip's part unknown",
    }
)
"""What entrostat.reach says, by the first word of its sentence."""


def verdict(
    attribution: Attribution,
    change: Interval,
    causes: Sequence[Cause],
    advice: Advice | None,
    series: Series,
    reach: str,
) -> list[str]:
    """Four of the lines, in the order of HEADS; `not_read` makes the last.

    Args:
        change: that was made.
        causes: empty where they can't be named.
        reach: the sentence of entrostat.reach.
    """
    return [
        _moved(attribution, change, causes, series),
        _tokens(attribution, causes),
        _change(attribution, change, advice),
        _sure(attribution, change, advice, reach),
    ]


def not_read(left_out: Sequence[str], skipped: Sequence[str], rest: str = REST) -> str:
    """The last line: what was not read, and where the rest is.

    Args:
        left_out: a line for all that was not read or can't be said; of each the part
            before a colon is taken.
        skipped: what --skip-bad left out; the first line counts it.
    """
    heads = []
    for line in (*left_out, *skipped[:1]):
        head = line.partition(": ")[0].partition(", nor ")[0]
        heads.append(_NO_COLUMN.sub("", head))
    return f"{', '.join(heads) or 'nothing is missing'}. {rest}"


def headed(lines: Sequence[str]) -> list[Json]:
    """The five lines with their heads, as in `entrostat.diagnose.result`."""
    pairs = zip(HEADS, lines, strict=True)
    return [{"head": head, "line": line} for head, line in pairs]


def _moved(
    attribution: Attribution,
    change: Interval,
    causes: Sequence[Cause],
    series: Series,
) -> str:
    measured = _measured(series)
    if attribution.plan.measure is None:
        return f"{measured}not told by what: the dump has no entropy"
    if not causes:
        return f"{measured}not told by what: the dump has no sums over the vocabulary"
    if not change.value:
        return f"{measured}nothing did, to first order"
    if not sure(change):
        return f"{measured}first order: of no sure sign"
    way = "down" if change.value < 0 else "up"
    if went_the_other_way(series, change):
        return f"{measured}first order says {way} and does not explain it"
    clip = 0.0
    for cause in causes:
        if cause.share is not None and " clip-" in cause.key:
            clip += cause.share.value
    return f"{measured}first order: {way}, pushes {1 - clip:.0%}, clip {clip:.0%}"


def _measured(series: Series) -> str:
    """How far entropy went; empty where that is not known."""
    if series.first is None or series.last is None:
        return ""
    before, after = series.first[1], series.last[1]
    return f"entropy {before:.3f} to {after:.3f} nats; "


def _tokens(attribution: Attribution, causes: Sequence[Cause]) -> str:
    """The regions that moved it most, with what the clip took in them."""
    shares: dict[str, float] = {}
    for cause in causes:
        if cause.share is not None:
            region = cause.key.partition(" ")[0]
            shares[region] = shares.get(region, 0.0) + cause.share.value
    if not shares:
        return "not told, the sign is not sure" if causes else "not told"
    ranked = sorted(shares, key=lambda region: -shares[region])
    named = []
    for region in ranked[:_MOST_REGIONS]:
        named.append(f"{_region(attribution, region)} {shares[region]:.0%}")
    return ", ".join(named)


def _region(attribution: Attribution, name: str) -> str:
    """A region in a few words."""
    if name == "rest":
        return "at the edge of likely"
    region = Region[name]
    raised = region in (Region.E1, Region.E2)
    likely = "likely" if region in (Region.E1, Region.E3) else "unlikely"
    if says_right_and_wrong(attribution):
        return f"{likely} of {'right' if raised else 'wrong'} answers ({name})"
    return f"{likely} of A {'>' if raised else '<'} 0 ({name})"


def _change(attribution: Attribution, change: Interval, advice: Advice | None) -> str:
    if advice is None:
        return _no_advice(attribution, change)
    pair = f"low {number(advice.low)}, high {number(advice.high)}"
    now = []
    for side, bound in attribution.in_force.items():
        if bound.tokens:
            now.append(f"{side} {in_force(bound)}")
    now_text = f" (now {', '.join(now)})" if now else ""
    if advice.holds:
        return f"{pair} would have held it{now_text}"
    return f"{pair} come nearest{now_text}; none holds it"


def _no_advice(attribution: Attribution, change: Interval) -> str:
    """Why no thresholds are advised, and what to do instead."""
    plan = attribution.plan
    if plan.measure is None:
        return "record the entropy: entrostat.token_stats gives it (docs/dump.md)"
    if not plan.exact:
        return "record sum_p2 and sum_p2_logp: entrostat.token_stats (docs/dump.md)"
    if not plan.has("old_logprobs"):
        return "no thresholds are advised: without old_logprobs no ratio is known"
    if attribution.fresh == attribution.tokens and plan.clamped:
        return "not the clip, every ratio is 1: more updates, or the thermostat"
    if not plan.clamped:
        return "no thresholds are advised: the loss has no window of the ratio"
    if not sure(change):
        return "no thresholds are advised: the sign of the change is not sure"
    return "nothing: no token moved entropy"


def _sure(
    attribution: Attribution,
    change: Interval,
    advice: Advice | None,
    reach: str,
) -> str:
    groups = len(attribution.groups.keys)
    unit = "prompts" if attribution.plan.has("group") else "completions"
    over = f"{groups:,} {unit}"
    if groups < FEW_GROUPS:
        over += " (few)"
    if attribution.plan.measure is None:
        line = f"counts alone, over {over}"
    elif np.isnan(change.low):
        line = f"no interval over {over}"
    elif advice is not None and advice.sure is not None and advice.holding is not None:
        line = f"resamples of {over}: helps in {advice.sure:.0%}"
        if not advice.holds or advice.holding < 1:
            line += f", holds in {advice.holding:.0%}"
    elif sure(change):
        line = f"sign sure over {over}"
    else:
        line = f"sign not sure over {over}"
    return f"{line}; {_REACH[reach.split()[0]]}"
