"""What happened in a run, in one sentence.

entropy fell from 0.43 to 0.11 in 120 steps, most of it before step 40; reward went
from 0.20 to 0.61; 0.3% of tokens clipped: clip settings can hardly act here
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from entrostat.reach import LEAST_CLIPPED
from entrostat.report.read import PARTS, Run, ends

LEAST_CHANGE = 0.1
"""Of the start's entropy. A smaller change is none that is worth a word."""
MOST_OF_IT = 0.8
"""Share of a change."""


def happened(run: Run) -> str:
    """One sentence, without the run's name; empty where entropy is not known twice."""
    entropy = run.known("entropy")
    if len(entropy) < 2:
        return ""
    parts = [_of_entropy(entropy, "step" if run.foreign else "rollout")]
    reward = list(run.known("reward").values())
    if len(reward) > 1:
        start, end = ends(reward)
        parts.append(f"reward went from {start or 0:.2f} to {end or 0:.2f}")
    parts.append(_of_clipping(run))
    return "; ".join(filter(None, parts))


def _of_entropy(entropy: Mapping[int, float], step: str) -> str:
    values = list(entropy.values())
    start, end = ends(values)
    assert start is not None and end is not None
    steps = list(entropy)
    length = f"{steps[-1] - steps[0] + 1} {step}s"
    change = end - start
    if abs(change) < LEAST_CHANGE * abs(start):
        return f"entropy stayed near {start:.2f} over {length}"
    verb = "fell" if change < 0 else "rose"
    text = f"entropy {verb} from {start:.2f} to {end:.2f} in {length}"
    for at, value in zip(steps, _smooth(values), strict=True):
        if (value - start) / change >= MOST_OF_IT:
            early = at - steps[0] < (steps[-1] - steps[0]) / 2
            return f"{text}, most of it before {step} {at}" if early else text
    return text


def _of_clipping(run: Run) -> str:
    """Whether a clip setting could act, by the share that is clipped."""
    sides = [list(run.known(key).values()) for key in ("clip_low", "clip_high")]
    both = list(run.known("clipped").values())
    if any(sides):
        share = max(fmean(side) for side in sides if side)
        least = LEAST_CLIPPED
        where = " on the side that clips more"
    elif both:
        share, least, where = fmean(both), 2 * LEAST_CLIPPED, ""
    else:
        return ""
    if share == 0:
        return (
            "nothing is clipped, so clip settings do nothing: one update per rollout, "
            "or a loss without a clip"
        )
    text = f"{share:.2%} of tokens clipped{where}"
    return f"{text}: clip settings can hardly act here" if share < least else text


def _smooth(values: Sequence[float]) -> list[float]:
    """Each value's mean over the part of the run that ends with it."""
    part = max(1, len(values) // PARTS)
    return [fmean(values[max(0, i - part + 1) : i + 1]) for i in range(len(values))]
