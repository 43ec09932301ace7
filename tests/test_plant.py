"""The filter against textbook matrices, and the lag of momentum against the optimizer's own recursion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrostat import plant
from entrostat.plant import GAIN_RANGE, LEAK, LONGEST, MOST_UNDONE, WALK, Plant, correct, late, leakage, predict, rest

mixtures = st.lists(st.integers(0, LONGEST), min_size=1, max_size=6).map(
    lambda ages: [ages.count(age) / len(ages) for age in range(max(ages) + 1)]
)
pressures = st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=30)


def matrices(p):
    mean = np.array([p.h, p.drift, p.gain])
    covariance = np.array([[p.hh, p.hd, p.hg], [p.hd, p.dd, p.dg], [p.hg, p.dg, p.gg]])
    return mean, covariance


def felt(u, past, updates, beta):
    """Mean over a rollout's updates of an average of pushes with weight beta for the past, and that average after."""
    shares = []
    for _ in range(updates):
        past = beta * past + (1 - beta) * u
        shares.append(past)
    return float(np.mean(shares)), past


@given(pressures, st.integers(1, 32), st.floats(0.0, 0.97))
def test_what_is_felt_of_a_pressure_is_the_optimizers_running_average(history, updates, beta):
    p, past = Plant(gain=1.0), 0.0
    for u in history:
        expected, past = felt(u, past, updates, beta)
        moved = predict(p, u, updates=updates, beta=beta)
        assert moved.h - p.h == pytest.approx(expected, abs=1e-9)
        assert moved.past == pytest.approx(past, abs=1e-9)
        p = moved
    assert late(1, beta) == pytest.approx(beta)


@given(pressures, mixtures, st.integers(0, 1000))
def test_it_is_the_kalman_filter_in_matrices(history, ages, seed):
    """What is measured is h of the rollouts before, by how old each share of it is: each one is a row of the inverse
    of the rollouts' steps since."""
    rng = np.random.default_rng(seed)
    undone = leakage(ages)
    p, back = Plant(h=-1.0, hh=0.01), [np.eye(3)]
    for u in history:
        mean, covariance = matrices(p)
        push, _ = felt(u, p.past, 4, 0.9)
        step = np.array([[1, 1, push], [0, 1 - undone, -undone * push], [0, 0, 1]])
        mean = step @ mean
        covariance = step @ covariance @ step.T + p.surprise * np.diag(np.square(WALK))
        p = predict(p, u, updates=4, beta=0.9, leak=undone)
        assert np.allclose(matrices(p)[0], mean, rtol=1e-9, atol=1e-12)
        assert np.allclose(matrices(p)[1], covariance, rtol=1e-9, atol=1e-12)
        back = [np.eye(3), *(each @ np.linalg.inv(step) for each in back)]
        measured, sd = float(rng.normal(-1, 0.2)), float(rng.uniform(0.01, 0.2))
        known = min(len(back) - 1, LONGEST)
        rollouts = sum(share * min(age, known) for age, share in enumerate(ages))
        row = sum(share * back[min(age, known)][0] for age, share in enumerate(ages))
        noise = sd**2 + rollouts * p.surprise * WALK[0] ** 2
        weight = covariance @ row / (row @ covariance @ row + noise)
        p = correct(p, measured, sd, ages)
        mean = mean + weight * (measured - row @ mean)
        mean[2] = np.clip(mean[2], *GAIN_RANGE)
        assert np.allclose(matrices(p)[0], mean, rtol=1e-9, atol=1e-12)
        assert np.allclose(matrices(p)[1], covariance - np.outer(weight, covariance @ row), rtol=1e-7, atol=1e-10)
        assert np.linalg.eigvalsh(matrices(p)[1]).min() > -1e-9


def test_fresh_samples_show_the_drift_of_now_and_the_older_the_more_is_undone():
    assert leakage((1.0,)) == 0
    assert leakage((0.5, 0.5)) == LEAK / 2
    assert leakage((0.0, 1.0)) == leakage((0.0,) * 4 + (1.0,)) == LEAK
    assert leakage((0.0,) * 16 + (1.0,)) == MOST_UNDONE / 16


def test_it_learns_drift_and_gain_from_pressures_that_vary():
    rng = np.random.default_rng(0)
    p, h, past = Plant(h=-1.0, hh=1e-4), -1.0, 0.0
    for k in range(400):
        u = float(np.sin(k / 3))
        push, past = felt(u, past, 8, 0.9)
        h += 0.06 * push - 0.02
        p = correct(predict(p, u, updates=8, beta=0.9), h + float(rng.normal(0, 0.01)), 0.01)
    assert p.gain == pytest.approx(0.06, abs=0.02)
    assert p.drift == pytest.approx(-0.02, abs=0.01)


@given(st.lists(st.floats(-9.0, 3.0), min_size=1, max_size=60))
def test_surprises_and_gain_stay_bounded_whatever_is_measured(history):
    p = Plant(h=history[0], hh=0.01)
    for k, h in enumerate(history):
        p = correct(predict(p, 1.5 * (-1) ** k, updates=8, beta=0.9), h, 0.05)
        assert plant.SURPRISE_RANGE[0] <= p.surprise <= plant.SURPRISE_RANGE[1]
        assert GAIN_RANGE[0] <= p.gain <= GAIN_RANGE[1]
        assert np.isfinite([*p[:-2], *p.felt]).all()
        assert len(p.felt) == len(p.moved) == min(k + 1, LONGEST)


class WholePast:
    """The filter that keeps every h of the last rollouts, in matrices: what there is to know when samples are old."""

    def __init__(self, h, sd, longest):
        self.mean = np.array([h] * (longest + 1) + [0.0, 0.15])
        self.covariance = np.zeros((longest + 3, longest + 3))
        self.covariance[:-2, :-2] = sd**2
        self.covariance[-2, -2], self.covariance[-1, -1] = 0.03**2, 0.12**2

    def step(self, push, measured, sd, ages):
        size = len(self.mean)
        step = np.eye(size, k=-1)
        step[0, 0] = step[0, -2] = step[-1, -1] = step[-2, -2] = 1
        step[-2, -3] = step[-1, -2] = 0
        step[0, -1] = push
        walk = np.zeros((size, size))
        walk[0, 0], walk[-2, -2], walk[-1, -1] = np.square(WALK)
        self.mean = step @ self.mean
        self.covariance = step @ self.covariance @ step.T + walk
        row = np.zeros(size)
        row[: len(ages)] = ages
        weight = self.covariance @ row / (row @ self.covariance @ row + sd**2)
        self.mean = self.mean + weight * (measured - row @ self.mean)
        self.covariance = self.covariance - np.outer(weight, row @ self.covariance)


@pytest.mark.parametrize("ages", [[1.0], [0.0, 0.0, 1.0], [0.0] * 4 + [1.0], [0.2] * 5, [0.0] * 8 + [1.0], [1 / 9] * 9])
def test_old_samples_tell_nearly_as_much_as_to_a_filter_of_the_whole_past(ages, monkeypatch):
    """Over 20 plants whose drift, gain and noise are as the filter expects, without a leak; errors of the present
    ln H."""
    monkeypatch.setattr(plant, "LEAK", 0.0)
    ours, theirs = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        h, past, sd = -1.0, 0.0, 0.05
        drift, gain = rng.normal(0, 0.03), max(rng.normal(0.15, 0.12), 0.03)
        before = [h] * len(ages)
        p, whole = Plant(h=h, hh=sd**2), WholePast(h, sd, len(ages) - 1)
        for k in range(60):
            u = float(np.clip(rng.normal(), -1.5, 1.5))
            push, past = felt(u, past, 8, 0.9)
            h += drift + gain * push + rng.normal(0, WALK[0])
            before = [h, *before][: len(ages)]
            measured = float(np.dot(ages, before) + rng.normal(0, sd))
            p = predict(p, u, updates=8, beta=0.9)._replace(surprise=1.0)
            p = correct(p, measured, sd, ages)
            whole.step(push, measured, sd, ages)
            if k >= 15:
                ours.append(p.h - h)
                theirs.append(whole.mean[0] - h)
    assert np.std(ours) < 1.08 * np.std(theirs)


def test_a_rollout_that_trained_nothing_is_no_step():
    p = Plant(h=-1.0, hh=0.01)
    for u in (1.0, -0.5, 0.7):
        p = predict(p, u, updates=8, beta=0.9)
    rested = rest(rest(p))
    assert rested.felt[2:] == p.felt
    young, old = correct(p, -1.2, 0.05, [0.0, 1.0]), correct(rested, -1.2, 0.05, [0.0] * 3 + [1.0])
    assert young[:11] == pytest.approx(old[:11])
