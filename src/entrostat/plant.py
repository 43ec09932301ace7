"""How entropy answers the thermostat's pressure: a model of the loop with three unknowns,
learned as the run goes.

With h = ln H (H the mean token entropy in nats) and u the pressure of a rollout, one
rollout does

    h' = h + gain * felt(u) + drift

gain: nats of ln H per rollout for a pressure of 1. It grows with learning rate and
updates per rollout. drift: what the reward's own gradient does, usually negative. Neither
is known beforehand, so a Kalman filter (Kalman 1960, here with time-varying transition,
since u multiplies the gain) estimates (h, drift, gain) together from noisy measurements
of h. Its weights come from numbers that the run shows: the standard error of the measured
entropy, and how far it was from what the filter expected.

felt(u): an optimizer with momentum answers late. Adam's first moment is an average of
gradients with weight beta for the past, so after j of a rollout's U updates a share
beta^j of the push is still that of earlier rollouts. Averaged over the U updates that is
late = beta (1 - beta^U) / (U (1 - beta)), and with the average pressure v of the past

    felt(u) = (1 - late) u + late v        v' = beta^U v + (1 - beta^U) u

(derived for this project from Adam's recursion; second moments left out). With one update
per rollout late is 0.9.

Where training is asynchronous, what is measured is old: a share a_k of the tokens was
sampled k rollouts ago, when h was less than now by all that happened since. So

    measured = sum_k a_k h_(n-k) = h - drift D - gain F

D and F follow from what was felt in the rollouts since (`_since`), so the filter stays one
of three unknowns, and its h is that of the policy of now. What the walk added to h since
is counted as noise of the measurement; that it is also a part of h is left out: the filter
that keeps every h_(n-k) tracks no better (tests/test_plant.py).

Over that time one more thing counts. What moves entropy away from where it would be
without pressure is partly undone: a share l of a change per rollout. Then the drift
depends on h, and changes with it:

    drift' = drift - l (h' - h) = (1 - l) drift - l gain * felt(u)

Fresh samples show the drift of now, and l is 0. Old ones show that of before, and a
reference that falls would be followed late: l is LEAK times the share of old tokens, and
less where it would undo more than MOST_UNDONE over their mean age.
"""

from collections.abc import Sequence
from typing import NamedTuple

GAIN, GAIN_SD = 0.15, 0.12
"""Before anything is seen: the gain of the lab's model at its default learning rate, and
how unsure that is. Wide on purpose: it grows with learning rate and updates per
rollout."""
GAIN_RANGE = (0.02, 1.5)
"""The gain stays over 0, since the thermostat divides by it, and since a wrong sign would
turn the loop around; a few noisy rollouts must not do that."""
DRIFT_SD = 0.03
"""Before anything is seen the drift is 0, give or take 3% of the entropy per rollout."""
WALK = (0.015, 0.004, 0.006)
"""Standard deviations of what a rollout adds to (h, drift, gain) unforeseen. Those of
drift and gain are small beside their values, since both change over many rollouts; they
are not 0, since the filter would stop learning."""
SURPRISE_RANGE = (0.5, 16.0)
"""How far the walks' variances are scaled, by the size of surprises over what was
expected."""
LEAK = 0.05
"""Share of a change of h that a rollout undoes, as old samples are read. In the lab it is
near 0.13 (dev/LOG.md); at half of that and less, a plant without it is tracked nearly as
well as before (tests/strategies/test_thermostat.py)."""
MOST_UNDONE = 0.3
"""Of a change over the mean age: over 16 rollouts, a plant without a leak would swing."""
LONGEST = 16
"""Rollouts that are remembered, and so the largest age that is predicted over."""


class Plant(NamedTuple):
    """What the filter knows of (h, drift, gain). Flat, since a state is: the two letters
    of a covariance name its row and column, h, d(rift) or g(ain)."""

    h: float = 0.0
    """Mean of ln H."""
    drift: float = 0.0
    gain: float = GAIN
    hh: float = 0.0
    """Variance of h."""
    hd: float = 0.0
    hg: float = 0.0
    dd: float = DRIFT_SD**2
    dg: float = 0.0
    gg: float = GAIN_SD**2
    past: float = 0.0
    """v: the average pressure in the optimizer's momentum."""
    surprise: float = 1.0
    """What the walks' variances are multiplied by. It grows while measurements are further
    off than was expected, and shrinks while they are nearer."""
    felt: tuple[float, ...] = ()
    """What was felt in each rollout before, the last one first."""
    moved: tuple[int, ...] = ()
    """1 for each of those rollouts that trained, 0 for one whose advantages were 0."""


def late(updates: int, beta: float) -> float:
    """Share of a rollout's push that is still that of earlier rollouts, averaged over its
    updates."""
    return beta * (1 - beta**updates) / (updates * (1 - beta))


def leakage(ages: Sequence[float]) -> float:
    """l of the module's docstring; `ages` as in `correct`."""
    age = sum(k * share for k, share in enumerate(ages))
    if age == 0:
        return 0.0
    return min(LEAK * (1 - ages[0]), MOST_UNDONE / age)


def predict(
    plant: Plant, u: float, *, updates: int, beta: float, leak: float = 0.0
) -> Plant:
    """The plant after a rollout under pressure u, before it is measured."""
    lag, kept = late(updates, beta), beta**updates
    felt = (1 - lag) * u + lag * plant.past
    h, d, g, hh, hd, hg, dd, dg, gg, past, surprise, *_ = plant
    wh, wd, wg = (walk * walk * surprise for walk in WALK)
    stays, undone = 1 - leak, leak * felt
    # the covariance is F P F' + Q, Q = diag(wh, wd, wg), written out, with
    # F = [[1, 1, felt], [0, stays, -undone], [0, 0, 1]]
    return Plant(
        h=h + d + felt * g,
        drift=stays * d - undone * g,
        gain=g,
        hh=hh + dd + felt * felt * gg + 2 * (hd + felt * hg + felt * dg) + wh,
        hd=stays * (hd + dd + felt * dg) - undone * (hg + dg + felt * gg),
        hg=hg + dg + felt * gg,
        dd=stays * stays * dd - 2 * stays * undone * dg + undone * undone * gg + wd,
        dg=stays * dg - undone * gg,
        gg=gg + wg,
        past=kept * past + (1 - kept) * u,
        surprise=surprise,
        felt=(felt, *plant.felt)[:LONGEST],
        moved=(1, *plant.moved)[:LONGEST],
    )


def rest(plant: Plant) -> Plant:
    """The plant after a rollout that trained nothing."""
    return plant._replace(
        felt=(0.0, *plant.felt)[:LONGEST],
        moved=(0, *plant.moved)[:LONGEST],
    )


def correct(
    plant: Plant, measured: float, sd: float, ages: Sequence[float] = (1.0,)
) -> Plant:
    """The plant after ln H was measured with standard error `sd`.

    `ages`: item k is the share of what was measured that is of the policy k rollouts ago,
    k at most LONGEST.
    """
    h, d, g, hh, hd, hg, dd, dg, gg, past, surprise, *_ = plant
    since, felt = _since(plant, ages)
    off = measured - (h - since * d - felt * g)
    # covariances of the three with what is expected to be measured
    ch = hh - since * hd - felt * hg
    cd = hd - since * dd - felt * dg
    cg = hg - since * dg - felt * gg
    noise = sd * sd + _mean_age(plant, ages) * WALK[0] ** 2 * surprise
    expected = ch - since * cd - felt * cg + noise  # of off^2, if the filter is right
    # the Kalman gains: how much of the surprise each unknown takes
    kh, kd, kg = ch / expected, cd / expected, cg / expected
    # the size of surprises moves slowly: a tenth of each
    surprise = _within(surprise * (0.9 + 0.1 * off * off / expected), *SURPRISE_RANGE)
    return Plant(
        h=h + kh * off,
        drift=d + kd * off,
        gain=_within(g + kg * off, *GAIN_RANGE),
        hh=hh - kh * ch,
        hd=hd - kh * cd,
        hg=hg - kh * cg,
        dd=dd - kd * cd,
        dg=dg - kd * cg,
        gg=gg - kg * cg,
        past=past,
        surprise=surprise,
        felt=plant.felt,
        moved=plant.moved,
    )


def _since(plant: Plant, ages: Sequence[float]) -> tuple[float, float]:
    """D and F of the module's docstring: what h has gained since it was measured is
    drift D + gain F.

    Back in time the drift of a rollout is a drift + b gain, with the present ones: a and b
    begin at 1 and 0, and each rollout further back they are what the leak has made of
    (a, b) undone, (a / (1 - l), (b + l felt) / (1 - l)).
    """
    undone = leakage(ages)
    stays = 1 - undone
    drifts, pushes = [0.0], [0.0]
    a, b = 1.0, 0.0
    for felt, moved in zip(plant.felt, plant.moved, strict=True):
        if moved:
            a, b = a / stays, (b + undone * felt) / stays
        drifts.append(drifts[-1] + a * moved)
        pushes.append(pushes[-1] + b * moved + felt)
    oldest = len(plant.felt)
    since = sum(share * drifts[min(age, oldest)] for age, share in enumerate(ages))
    felt = sum(share * pushes[min(age, oldest)] for age, share in enumerate(ages))
    return since, felt


def _mean_age(plant: Plant, ages: Sequence[float]) -> float:
    """Rollouts that trained since, on average."""
    return sum(share * sum(plant.moved[:age]) for age, share in enumerate(ages))


def _within(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)
