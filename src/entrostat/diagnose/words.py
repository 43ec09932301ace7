"""What a diagnosis says in sentences, no more than its numbers carry."""

import math

from entrostat.diagnose.advice import Advice
from entrostat.diagnose.attribution import Attribution, InForce
from entrostat.diagnose.causes import Cause, sure
from entrostat.diagnose.series import Series
from entrostat.diagnose.tokens import EVENTS, HIGH
from entrostat.estimate import Interval

SURE = 0.99
"""Share of tokens from which on A > 0 is called a right answer, and A < 0 a wrong one."""
FEW_GROUPS = 20
UNIT = "nats per unit step per trained token"


def sentences(
    found: Attribution,
    change: Interval,
    causes: list[Cause],
    advice: Advice | None,
    series: Series,
) -> list[str]:
    """The diagnosis, from what moved to what would have held it."""
    lines = [line for line in (_measured(series), _predicted(found, change)) if line]
    if not change.value or found.plan.measure is None:
        return lines
    if sure(change):
        if _other_way(series, change):
            lines.append(
                "What was measured went the other way: first order does not explain this run."
            )
        lines.append(_blame(found, causes, falls=change.value < 0))
    if (
        found.plan.clamped
        and found.plan.has("old_logprobs")
        and found.fresh == found.tokens
    ):
        lines.append(
            "Every ratio is exactly 1, as with one update a rollout: no threshold over 0 can act. Make several updates "
            "a rollout, or use the thermostat, which acts on fresh tokens too."
        )
    elif advice is not None:
        lines.append(_advice(found, change, advice))
    if series.correlation is not None:
        lines.append(
            f"Over {len(series.points)} rollouts the predicted and the measured change correlate by "
            f"{bracketed(series.correlation)}."
        )
    return lines


def limits(found: Attribution) -> list[str]:
    """What the numbers are not."""
    groups = len(found.groups.keys)
    unit = "prompt groups" if found.plan.has("group") else "completions"
    lines = [
        "First order, for a unit step along the gradient of r A in the logits of each token: signs and proportions, "
        "not sizes. What one token's step does to the entropy at other tokens is not in it.",
        "Other thresholds would have led to other ratios from the next update on, and to other answers from the next "
        "rollout on.",
        f"Intervals: 95%, over the {groups:,} {unit} of this dump; not over seeds.",
    ]
    if groups < FEW_GROUPS:
        lines.append(
            f"{groups} {unit} are few: the intervals are too narrow, or missing."
        )
    if found.plan.by_sequence:
        lines.append(
            "One ratio a sequence is clipped: thresholds are those of the sequence's ratio."
        )
    return lines


def of_cause(found: Attribution, key: str) -> str:
    """A key of causes.KEYS in words.

    "Right answers" only where A > 0 says so.
    """
    sure = found.agree is not None and found.agree >= SURE
    better, worse = (
        ("right answers", "wrong answers")
        if sure
        else ("tokens of A > 0", "tokens of A < 0")
    )
    region, _, event = key.partition(" ")
    if region == "rest":
        return "tokens at the edge between likely and unlikely"
    kind = "likely" if region in ("E1", "E3") else "unlikely"
    whose = better if region in ("E1", "E2") else worse
    of = f"{kind} tokens of {whose}" if sure else f"{kind} {whose}"
    if event == EVENTS[HIGH] and region in ("E3", "E4"):
        event = "the dual clip"
    if event:
        return f"{event} on {of} ({region})"
    return f"pushing {'up' if region in ('E1', 'E2') else 'down'} {of} ({region})"


def _measured(series: Series) -> str | None:
    if series.first is None or series.last is None:
        return None
    (start, before), (end, after) = series.first, series.last
    went = "fell" if after < before else "rose" if after > before else "stayed"
    return f"Entropy {went} from {before:.3f} to {after:.3f} nats between rollouts {start} and {end}, as measured."


def _predicted(found: Attribution, change: Interval) -> str:
    if found.plan.measure is None:
        return "There is no entropy in the dump, so nothing is said of its change."
    what = (
        "the token's own term of the entropy change"
        if not found.plan.exact
        else "the entropy change"
    )
    unsure = (
        "" if sure(change) else "; its sign is not sure, so no thresholds are advised"
    )
    return (
        f"To first order {what} of the updates was {bracketed(change)} {UNIT}{unsure}."
    )


def _other_way(series: Series, change: Interval) -> bool:
    """Whether entropy moved against the change, by more than two rollouts differ by their noise."""
    if series.first is None or series.last is None or series.noise is None:
        return False
    moved = series.last[1] - series.first[1]
    return moved * change.value < 0 and abs(moved) > 2 * series.noise


def _blame(found: Attribution, causes: list[Cause], *, falls: bool) -> str:
    took, lost = ("took", "lost") if falls else ("gave", "gained")
    blamed = sorted(
        (c for c in causes if c.share is not None), key=lambda c: -abs(c.change.value)
    )
    shares = [
        (of_cause(found, c.key), percent(c.share))
        for c in blamed
        if c.share is not None
    ]
    top, share = shares[0]
    line = f"{top[0].upper()}{top[1:]} {took} {share} of what entropy {lost}, to first order"
    rest = [f"{name} {share}" for name, share in shares[1:4]]
    return f"{line}; {', '.join(rest)}." if rest else f"{line}."


def _advice(found: Attribution, change: Interval, advice: Advice) -> str:
    pair = f"low {number(advice.low)} with high {number(advice.high)}"
    force = [
        f"{side} {in_force(found.in_force[side])}"
        for side in ("low", "high")
        if found.in_force[side].tokens
    ]
    instead = f" ({' and '.join(force)} in force)" if force else ""
    after = f"{bracketed(advice.change)} in place of {short(change.value)} {UNIT}"
    share = f"clipping {advice.clipped:.1%} of tokens, not {advice.clipped_before:.1%}"
    sure = (
        ""
        if advice.holding is None
        else f"; in {advice.holding:.0%} of resamples it holds"
    )
    if advice.holds:
        return f"{pair[0].upper()}{pair[1:]}{instead} would have held it: {after}, {share}{sure}."
    helps = "" if advice.sure is None else f", and in {advice.sure:.0%} it helps"
    return (
        f"No pair on the grid would have held it. {pair[0].upper()}{pair[1:]}{instead} comes nearest: {after}, "
        f"{share}{sure}{helps}."
    )


def in_force(bound: InForce) -> str:
    """The thresholds of a side: one number, or their mean and range."""
    if bound.least == bound.most:
        return number(bound.least)
    mean = bound.total / bound.finite if bound.finite else math.inf
    return f"{number(mean)} on average ({number(bound.least)} to {number(bound.most)})"


def number(value: float) -> str:
    """A threshold.

    >>> number(0.20000000298), number(float("inf")), number(1.0)
    ('0.2', 'inf', '1')
    """
    return f"{value:.3g}"


def short(value: float) -> str:
    """A change, signed, to three digits.

    >>> short(-0.00301319), short(0.0)
    ('-0.00301', '0')
    """
    return f"{value:+.3g}" if value else "0"


def bracketed(x: Interval) -> str:
    """A number and its interval, where it has one.

    >>> bracketed(Interval(-0.5, -0.75, 0.25)), bracketed(Interval(1.0, math.nan, math.nan))
    ('-0.5 [-0.75, +0.25]', '+1')
    """
    ends = "" if math.isnan(x.low) else f" [{short(x.low)}, {short(x.high)}]"
    return short(x.value) + ends


def percent(x: Interval) -> str:
    """A share and its interval.

    >>> percent(Interval(0.42, 0.393, 0.449))
    '42% [39, 45]'
    """
    ends = "" if math.isnan(x.low) else f" [{100 * x.low:.0f}, {100 * x.high:.0f}]"
    return f"{x.value:.0%}{ends}"
