"""How entropy answers the thermostat's pressure: a model of the loop with three unknowns, learned as the run goes.

With h = ln H (H the mean token entropy in nats) and u the pressure of a rollout, one rollout does

    h' = h + gain * felt(u) + drift

gain: nats of ln H a rollout for a pressure of 1. It grows with learning rate and updates per rollout. drift: what the
reward's own gradient does, usually negative. Neither is known beforehand, so a Kalman filter (Kalman 1960, here with
time-varying transition, since u multiplies the gain) estimates (h, drift, gain) together from noisy measurements of h.
Its weights come from numbers that the run shows: the standard error of the measured entropy, and how far it was from
what the filter expected.

felt(u): an optimizer with momentum answers late. Adam's first moment is an average of gradients with weight beta for
the past, so after j of a rollout's U updates a share beta^j of the push is still that of earlier rollouts. Averaged
over the U updates that is late = beta (1 - beta^U) / (U (1 - beta)), and with the average pressure v of the past

    felt(u) = (1 - late) u + late v        v' = beta^U v + (1 - beta^U) u

(derived for this project from Adam's recursion; second moments left out). With one update a rollout late is .9.
"""

from typing import NamedTuple

GAIN, GAIN_SD = 0.15, 0.12
"""Before anything is seen: the gain of the lab's model at its default learning rate, and how unsure that is."""
GAIN_RANGE = (0.02, 1.5)
DRIFT_SD = 0.03
WALK = (0.015, 0.004, 0.006)
"""Standard deviations of what a rollout adds to (h, drift, gain) unforeseen."""
SURPRISE_RANGE = (0.5, 16.0)
"""How far the walks' variances are scaled, by the size of surprises over what was expected."""


class Plant(NamedTuple):
    """Means of (h, drift, gain), the covariance's upper triangle, momentum's average pressure, and the surprise."""

    h: float = 0.0
    drift: float = 0.0
    gain: float = GAIN
    hh: float = 0.0
    hd: float = 0.0
    hg: float = 0.0
    dd: float = DRIFT_SD**2
    dg: float = 0.0
    gg: float = GAIN_SD**2
    past: float = 0.0
    surprise: float = 1.0


def late(updates: int, beta: float) -> float:
    """Share of a rollout's push that is still that of earlier rollouts, averaged over its updates."""
    return beta * (1 - beta**updates) / (updates * (1 - beta))


def predict(plant: Plant, u: float, *, updates: int, beta: float) -> Plant:
    """The plant after a rollout under pressure u, before it is measured."""
    lag, kept = late(updates, beta), beta**updates
    felt = (1 - lag) * u + lag * plant.past
    h, d, g, hh, hd, hg, dd, dg, gg, past, surprise = plant
    wh, wd, wg = (walk * walk * surprise for walk in WALK)
    # F P F' + Q with F = [[1, 1, felt], [0, 1, 0], [0, 0, 1]]
    return Plant(
        h + d + felt * g,
        d,
        g,
        hh + dd + felt * felt * gg + 2 * (hd + felt * hg + felt * dg) + wh,
        hd + dd + felt * dg,
        hg + dg + felt * gg,
        dd + wd,
        dg,
        gg + wg,
        kept * past + (1 - kept) * u,
        surprise,
    )


def correct(plant: Plant, measured: float, sd: float) -> Plant:
    """The plant after ln H was measured with standard error `sd`."""
    h, d, g, hh, hd, hg, dd, dg, gg, past, surprise = plant
    expected = hh + sd * sd
    off = measured - h
    kh, kd, kg = hh / expected, hd / expected, hg / expected
    # the size of surprises moves slowly: a tenth of each
    surprise = _within(surprise * (0.9 + 0.1 * off * off / expected), *SURPRISE_RANGE)
    return Plant(
        h + kh * off,
        d + kd * off,
        _within(g + kg * off, *GAIN_RANGE),
        (1 - kh) * hh,
        (1 - kh) * hd,
        (1 - kh) * hg,
        dd - kd * hd,
        dg - kd * hg,
        gg - kg * hg,
        past,
        surprise,
    )


def _within(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)
