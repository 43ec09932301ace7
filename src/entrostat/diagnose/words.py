"""What a diagnosis says in sentences, no more than its numbers carry."""

import math

from entrostat.diagnose.advice import Advice
from entrostat.diagnose.attribution import Attribution, InForce
from entrostat.diagnose.causes import Cause, sure
from entrostat.diagnose.series import Series
from entrostat.diagnose.tokens import EVENTS, HIGH
from entrostat.estimate import Interval

SURE = 0.99
"""Share of tokens from which on A > 0 is called a right answer, A < 0 a wrong one."""
FEW_GROUPS = 20
MOST_BLAMED = 4
UNIT = "nats per unit step per trained token"
NO_SUMS = (
    "What moved entropy is not named, and no thresholds are advised: the dump has no sums "
    "over the vocabulary, and a token's own term alone may have the other sign. Record "
    "sum_p2 and sum_p2_logp (entrostat.token_stats gives them; docs/dump.md)."
)


def sentences(
    attribution: Attribution,
    change: Interval,
    causes: list[Cause],
    advice: Advice | None,
    series: Series,
) -> list[str]:
    """The diagnosis, from what moved to what would have held it."""
    plan = attribution.plan
    lines = _measured(series)
    lines.append(_predicted(attribution, change))
    if plan.measure is None or not change.value:
        return lines
    if not plan.exact:
        lines.append(NO_SUMS)
        return lines
    if sure(change):
        if went_the_other_way(series, change):
            lines.append(
                "The measured entropy went the other way: first order does not explain "
                "this run."
            )
        lines.append(_blame(attribution, causes, falls=change.value < 0))
    all_fresh = plan.has("old_logprobs") and attribution.fresh == attribution.tokens
    if plan.clamped and all_fresh:
        lines.append(
            "Every ratio is exactly 1, as with one update per rollout, so no threshold "
            "over 0 can act. Make several updates per rollout, or use the thermostat, "
            "which acts on fresh tokens too."
        )
    elif advice is not None:
        lines.append(_advice(attribution, change, advice))
    if series.correlation is not None:
        lines.append(
            f"Over {len(series.points)} rollouts the predicted and the measured change "
            f"correlate by {bracketed(series.correlation)}."
        )
    return lines


def limits(attribution: Attribution) -> list[str]:
    """What the numbers are not."""
    groups = len(attribution.groups.keys)
    unit = "prompt groups" if attribution.plan.has("group") else "completions"
    lines = [
        "The changes are first order, for a unit step along the gradient of r A in the "
        "logits of each token. They give signs and proportions, not sizes. They leave "
        "out what one token's step does to the entropy at other tokens.",
        "Other thresholds would have led to other ratios from the next update on, and "
        "to other answers from the next rollout on.",
        f"Intervals are 95% intervals over the {groups:,} {unit} of this dump, not "
        "over seeds.",
    ]
    if groups < FEW_GROUPS:
        lines.append(
            f"{groups} {unit} are few: the intervals are too narrow, or missing."
        )
    if attribution.plan.by_sequence:
        lines.append(
            "The clip acts on one ratio per sequence: thresholds are those of the "
            "sequence's ratio."
        )
    return lines


def of_cause(attribution: Attribution, key: str) -> str:
    """A key of causes.KEYS in words.

    "Right answers" and "wrong answers" only where the sign of A says so.
    """
    if key == "rest":
        return "tokens at the edge between likely and unlikely"
    region, _, event = key.partition(" ")
    raised = region in ("E1", "E2")
    likely = "likely" if region in ("E1", "E3") else "unlikely"
    if says_right_and_wrong(attribution):
        answers = "right answers" if raised else "wrong answers"
        tokens = f"{likely} tokens of {answers} ({region})"
    else:
        tokens = f"{likely} tokens of A {'>' if raised else '<'} 0 ({region})"
    if not event:
        return f"pushing {'up' if raised else 'down'} {tokens}"
    if event == EVENTS[HIGH] and not raised:
        event = "the dual clip"
    return f"{event} on {tokens}"


def says_right_and_wrong(attribution: Attribution) -> bool:
    """Whether the sign of A says which answers are right."""
    return attribution.agree is not None and attribution.agree >= SURE


def _measured(series: Series) -> list[str]:
    """How far entropy went; no sentence where that is not known."""
    if series.first is None or series.last is None:
        return []
    (start, before), (end, after) = series.first, series.last
    went = "stayed"
    if after < before:
        went = "fell"
    elif after > before:
        went = "rose"
    return [
        f"Entropy {went} from {before:.3f} to {after:.3f} nats between rollouts "
        f"{start} and {end}, as measured."
    ]


def _predicted(attribution: Attribution, change: Interval) -> str:
    if attribution.plan.measure is None:
        return "The dump has no entropy, so its change is not known."
    what = "the entropy change"
    if not attribution.plan.exact:
        what = "the token's own term of the entropy change"
    unsure = ""
    if not sure(change):
        unsure = "; its sign is not sure, so no thresholds are advised"
    return (
        f"To first order {what} of the updates was {bracketed(change)} {UNIT}{unsure}."
    )


def went_the_other_way(series: Series, change: Interval) -> bool:
    """Whether entropy moved against the change, beyond the noise of two rollouts."""
    if series.first is None or series.last is None or series.noise is None:
        return False
    moved = series.last[1] - series.first[1]
    return moved * change.value < 0 and abs(moved) > 2 * series.noise


def _blame(
    attribution: Attribution,
    causes: list[Cause],
    *,
    falls: bool,
) -> str:
    """The largest causes with the sign of the change, and their shares."""
    blamed = []
    for cause in sorted(causes, key=lambda cause: -abs(cause.change.value)):
        if cause.share is not None:
            name = of_cause(attribution, cause.key)
            blamed.append((name, percent(cause.share)))
    (name, share), *others = blamed[:MOST_BLAMED]
    took, lost = ("took", "lost") if falls else ("gave", "gained")
    line = f"{_capital(name)} {took} {share} of what entropy {lost}, to first order"
    if others:
        line += "; " + ", ".join(f"{name} {share}" for name, share in others)
    return line + "."


def _advice(
    attribution: Attribution,
    change: Interval,
    advice: Advice,
) -> str:
    pair = f"Low {number(advice.low)} with high {number(advice.high)}"
    in_force_texts = []
    for side, bound in attribution.in_force.items():
        if bound.tokens:
            in_force_texts.append(f"{side} {in_force(bound)}")
    if in_force_texts:
        pair += f" ({' and '.join(in_force_texts)} in force)"
    effect = (
        f"{bracketed(advice.change)} in place of {short(change.value)} {UNIT}, "
        f"clipping {advice.clipped:.1%} of tokens, not {advice.clipped_before:.1%}"
    )
    if advice.holding is not None:
        effect += f"; in {advice.holding:.0%} of resamples it holds"
    if advice.holds:
        return (
            f"{pair} would have held entropy by this first-order estimate, which speaks of "
            f"signs and not of sizes: {effect}."
        )
    if advice.sure is not None:
        effect += f", and in {advice.sure:.0%} it helps"
    return (
        "No pair of thresholds on the grid would have held entropy, to first order. "
        f"{pair} comes nearest: {effect}."
    )


def in_force(bound: InForce) -> str:
    """The thresholds of a side: one number, or their mean and range."""
    if bound.least == bound.most:
        return number(bound.least)
    spread = f"{number(bound.least)} to {number(bound.most)}"
    return f"{number(bound.mean)} on average ({spread})"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


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


def bracketed(interval: Interval) -> str:
    """A change and its interval, where it has one.

    >>> bracketed(Interval(-0.5, -0.75, 0.25))
    '-0.5 [-0.75, +0.25]'
    >>> bracketed(Interval(1.0, math.nan, math.nan))
    '+1'
    """
    value = short(interval.value)
    if math.isnan(interval.low):
        return value
    return f"{value} [{short(interval.low)}, {short(interval.high)}]"


def percent(share: Interval) -> str:
    """A share and its interval.

    >>> percent(Interval(0.42, 0.393, 0.449))
    '42% [39, 45]'
    """
    value = f"{share.value:.0%}"
    if math.isnan(share.low):
        return value
    return f"{value} [{100 * share.low:.0f}, {100 * share.high:.0f}]"
