"""The filter against textbook matrices, and the lag of momentum against the optimizer's own recursion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrostat import plant
from entrostat.plant import GAIN_RANGE, WALK, Plant, correct, late, predict

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


@given(pressures, st.integers(0, 1000))
def test_it_is_the_kalman_filter_in_matrices(history, seed):
    rng = np.random.default_rng(seed)
    p = Plant(h=-1.0, hh=0.01)
    for u in history:
        mean, covariance = matrices(p)
        push, _ = felt(u, p.past, 4, 0.9)
        step = np.array([[1, 1, push], [0, 1, 0], [0, 0, 1]])
        mean = step @ mean
        covariance = step @ covariance @ step.T + p.surprise * np.diag(np.square(WALK))
        p = predict(p, u, updates=4, beta=0.9)
        assert np.allclose(matrices(p)[0], mean, rtol=1e-9, atol=1e-12)
        assert np.allclose(matrices(p)[1], covariance, rtol=1e-9, atol=1e-12)
        measured, sd = float(rng.normal(-1, 0.2)), float(rng.uniform(0.01, 0.2))
        weight = covariance[:, 0] / (covariance[0, 0] + sd**2)
        p = correct(p, measured, sd)
        mean = mean + weight * (measured - mean[0])
        mean[2] = np.clip(mean[2], *GAIN_RANGE)
        assert np.allclose(matrices(p)[0], mean, rtol=1e-9, atol=1e-12)
        assert np.allclose(matrices(p)[1], covariance - np.outer(weight, covariance[0]), rtol=1e-7, atol=1e-10)
        assert np.linalg.eigvalsh(matrices(p)[1]).min() > -1e-9


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
        assert np.isfinite(list(p)).all()
