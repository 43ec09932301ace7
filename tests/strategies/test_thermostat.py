"""The loop: its window against scalar code and exact policies, its law on plants that are known, its safety."""

import functools
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import reference
from entrostat import TokenStats, clip_events, make_strategy, token_stats
from entrostat.strategies import RolloutSummary, state_from_json, state_to_json
from entrostat.strategies.target import parse_target
from entrostat.strategies.thermostat import Thermostat, ThermostatState

TILTS = ("surprisal", "bracket")
TwoSided = functools.partial(Thermostat, hold="both")
"""Holds entropy from both sides."""


def summary(entropy, *, progress=0.0, size=0.3, error=None, **more):
    return RolloutSummary(progress, entropy, bracket=size, excess_surprisal=size, entropy_error=error, **more)


def pressed(thermostat, u, scale=0.3):
    return ThermostatState(rollouts=1, measured=1, initial_entropy=0.4, pressure=u, scale=scale)


def every_token(logits):
    """The policy's statistics at every token of its vocabulary, (1 v), and its probabilities."""
    v = logits.numel()
    stats = token_stats(logits.expand(1, v, v), torch.arange(v)[None])
    return stats, stats.logprobs.double().exp()[0]


# The window


@pytest.mark.parametrize("tilt", TILTS)
@given(
    st.lists(st.floats(-6, 6), min_size=2, max_size=7), st.floats(-1.5, 1.5), st.floats(0.05, 0.5), st.floats(0.05, 0.5)
)
def test_the_window_is_its_formula(tilt, logits, u, below, above):
    thermostat = TwoSided(tilt=tilt, low=below, high=above)
    stats, _ = every_token(torch.tensor(logits))
    low, high = thermostat.bounds(pressed(thermostat, u), stats)
    for a in range(len(logits)):
        logprob, entropy, p2, p2_logp = reference.stats(logits, a)
        own = math.exp(logprob) * (logprob + entropy)
        b = logprob + entropy if tilt == "surprisal" else own - (p2_logp + entropy * p2)
        x = b / 0.3
        assert float(low[0, a]) == pytest.approx(min(max(below * (1 + u * x), -1), 1), rel=2e-4, abs=2e-5)
        assert float(high[0, a]) == pytest.approx(min(max(above * (1 - u * x), -1), 1), rel=2e-4, abs=2e-5)


@pytest.mark.parametrize("tilt", TILTS)
@given(st.lists(st.floats(-30, 30), min_size=2, max_size=7), st.floats(-5, 5))
def test_a_window_never_crosses_and_is_never_wider_than_two_eps(tilt, logits, u):
    thermostat = TwoSided(tilt=tilt)
    stats, _ = every_token(torch.tensor(logits))
    low, high = thermostat.bounds(pressed(thermostat, u), stats)
    width = (1 + high) - (1 - low)
    assert (width >= -1e-6).all()
    assert (width <= sum(thermostat.window) + 1e-6).all()
    if abs(u) < 1e-6:
        assert torch.allclose(low, high, atol=1e-3)


def test_an_impossible_token_has_a_finite_window():
    stats = TokenStats(torch.tensor([[-math.inf, -0.1]]), torch.tensor([[0.4, 0.4]]))
    for side in TwoSided().bounds(pressed(TwoSided(), 1.5), stats):
        assert side.isfinite().all()


@pytest.mark.parametrize("tilt", TILTS)
@pytest.mark.parametrize("u", [-1.5, -0.8, 0.8, 1.5])
@pytest.mark.parametrize("seed", range(5))
def test_pressure_moves_an_exact_policy_its_way_with_one_update(tilt, u, seed):
    """Fresh tokens, A = +-1 with equal chance, no sampling: the gradient step changes entropy with the sign of u."""
    logits = 1.5 * torch.randn(6, generator=torch.Generator().manual_seed(seed)).double()
    thermostat = TwoSided(tilt=tilt)
    stats, p = every_token(logits)
    b = stats.logprobs + stats.entropy
    size = float((p * b[0].abs()).sum()) if tilt == "surprisal" else None
    if size is None:
        brackets = [own_bracket(logits.tolist(), a) for a in range(6)]
        size = float(sum(q * abs(x) for q, x in zip(p.tolist(), brackets, strict=True)))
    low, high = thermostat.bounds(pressed(thermostat, u, scale=size), stats)
    z = logits.clone().requires_grad_()
    logratio = torch.log_softmax(z, 0) - torch.log_softmax(logits, 0)
    loss = torch.zeros((), dtype=torch.float64)
    for advantage in (-1.0, 1.0):
        events = clip_events(torch.zeros(1, 6), torch.full((1, 6), advantage), low=low, high=high)
        kept = ~(events.low | events.high)[0]
        loss = loss - (0.5 * p * advantage * logratio.exp() * kept).sum()
    after = logits - 1e-3 * torch.autograd.grad(loss, z)[0]
    change = entropy_of(after) - entropy_of(logits)
    dropped = bool(((low < 0) | (high < 0)).any())
    assert dropped or abs(u) < 1.5
    assert change * u > 0 if dropped else abs(change) < 1e-12


def own_bracket(logits, a):
    logprob, entropy, p2, p2_logp = reference.stats(logits, a)
    return math.exp(logprob) * (logprob + entropy) - (p2_logp + entropy * p2)


def entropy_of(logits):
    logp = torch.log_softmax(logits, 0)
    return float(-(logp.exp() * logp).sum())


# The loop, on plants that are known


def settle(thermostat, *, gain, drift, updates=8, beta=0.9, start=0.43, rollouts=120, state=None, size=0.3):
    """Entropies of d ln H = gain felt(u) + drift, without noise, under the loop; and the states."""
    h, past, entropies, states = math.log(start), 0.0, [], []
    state = state or thermostat.init()
    for k in range(rollouts):
        told = summary(math.exp(h), progress=k / rollouts, size=size, error=0.02 * math.exp(h), updates=updates)
        state = thermostat.observe(state, told)
        entropies.append(math.exp(h))
        states.append(state)
        moved = 0.0
        for _ in range(updates):
            past = beta * past + (1 - beta) * state.pressure
            moved += past / updates
        h += gain * moved + drift
    return entropies, states


@pytest.mark.parametrize("updates", [1, 2, 8, 16])
@pytest.mark.parametrize("gain", [0.04, 0.15, 0.5])
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("target", [0.2, 0.35, 0.6])
def test_it_settles_on_the_target_from_both_sides(updates, gain, side, target):
    """A collapse (drift down) and an explosion (drift up) alike, as strong as a fifth of the largest push."""
    entropies, _ = settle(TwoSided(target=target), gain=gain, drift=side * 0.3 * gain, updates=updates, rollouts=160)
    late = [abs(h - target) / target for h in entropies[110:]]
    assert max(late) < 0.03


def stale(ages, *, gain, drift, noise, target="0.35", leak=0.0, rollouts=200, seed=0):
    """ln H and targets where a share `ages[k]` of a rollout's tokens is of the policy k rollouts before, and a share
    `leak` of the distance to the initial entropy is undone per rollout."""
    thermostat, rng = TwoSided(target=target), np.random.default_rng(seed)
    hs, targets, past, state = [math.log(0.43)], [], 0.0, thermostat.init()
    for k in range(rollouts):
        shares = [*ages[: k + 1]]
        shares[-1] += 1 - sum(shares)
        measured = sum(share * math.exp(hs[-1 - age]) for age, share in enumerate(shares))
        measured *= math.exp(rng.normal(0, noise))
        told = summary(measured, progress=k / rollouts, size=0.3, error=(noise or 0.02) * measured, updates=8)
        state = thermostat.observe(state, told._replace(ages=tuple(shares)))
        targets.append(state.target)
        moved = 0.0
        for _ in range(8):
            past = 0.9 * past + 0.1 * state.pressure
            moved += past / 8
        undone = leak * (hs[-1] - hs[0])
        hs.append(hs[-1] + gain * moved + drift - undone + rng.normal(0, noise / 5))
    return np.array(hs[:-1]), np.array(targets)


def only(age):
    return [0.0] * age + [1.0]


@pytest.mark.parametrize("gain", [0.05, 0.15, 0.4])
@pytest.mark.parametrize("ages", [only(1), only(4), only(8), only(16), [0.2] * 5, [1 / 9] * 9])
def test_it_settles_on_the_target_by_old_samples(ages, gain):
    """Without noise: no oscillation is left, up to the oldest that is predicted over."""
    hs, _ = stale(ages, gain=gain, drift=-0.2 * gain, noise=0.0)
    assert np.abs(hs[120:] - math.log(0.35)).max() < 0.03


@pytest.mark.parametrize("gain", [0.05, 0.15, 0.4])
def test_old_samples_cost_little_tracking(gain):
    """Mean error over 12 runs with 5% of noise: at 4 rollouts at most half more than with fresh samples, mixed less."""

    def error(ages):
        runs = [stale(ages, gain=gain, drift=-0.03, noise=0.05, seed=seed)[0] for seed in range(12)]
        return np.mean([np.abs(np.exp(hs[30:]) / 0.35 - 1).mean() for hs in runs])

    fresh, four, mixed = error(only(0)), error(only(4)), error([0.2] * 5)
    assert four < 1.6 * fresh
    assert mixed < 1.3 * fresh


@pytest.mark.parametrize("leak", [0.05, 0.13])
def test_a_fall_is_followed_by_old_samples_where_changes_are_partly_undone(leak, monkeypatch):
    """Mean error over 12 runs whose samples are 4 rollouts old, with and without knowing it."""

    def error(age):
        plant = {"gain": 0.15, "drift": -0.02, "noise": 0.05, "leak": leak, "rollouts": 100}
        runs = [stale(only(age), target="linear:0.43:0.12", seed=seed, **plant) for seed in range(12)]
        return np.mean([np.abs(np.exp(hs[30:]) / targets[30:] - 1).mean() for hs, targets in runs])

    fresh, old = error(0), error(4)
    monkeypatch.setattr("entrostat.plant.LEAK", 0.0)
    unaware = error(4)
    assert old < 1.6 * fresh
    assert old < 0.7 * unaware


def test_a_loop_that_took_old_samples_for_fresh_would_swing():
    """The power of the tests above: the same plant without the ages."""
    thermostat = TwoSided(target=0.35)
    hs, state, past = [math.log(0.43)] * 5, thermostat.init(), 0.0
    for k in range(200):
        told = summary(math.exp(hs[-5]), progress=k / 200, size=0.3, error=0.02 * math.exp(hs[-5]), updates=8)
        state = thermostat.observe(state, told)
        moved = 0.0
        for _ in range(8):
            past = 0.9 * past + 0.1 * state.pressure
            moved += past / 8
        hs.append(hs[-1] + 0.15 * moved - 0.03)
    assert np.ptp(hs[-80:]) > 0.5


def test_tokens_too_old_to_predict_over_open_the_window():
    thermostat = TwoSided(target=0.5)
    state = thermostat.init()
    for k in range(20):
        state = thermostat.observe(state, summary(0.4, progress=k / 40, updates=8))
    assert state.pressure > 0.1
    state = thermostat.observe(state, summary(0.4, progress=0.5, updates=8)._replace(ages=tuple(only(17))))
    assert state.pressure == 0
    state = thermostat.observe(state, summary(0.4, progress=0.55, updates=8)._replace(ages=tuple(only(16))))
    assert state.pressure > 0.1


@pytest.mark.parametrize(("gain", "drift"), [(0.005, -0.003), (0.005, 0.0), (0.01, 0.005)])
def test_a_gain_under_the_filters_floor_makes_it_slower_and_not_wrong(gain, drift):
    """As with a learning rate of 1e-6: entropy moves by less than a percent a rollout."""
    entropies, _ = settle(TwoSided(target=0.35), gain=gain, drift=drift, updates=16, rollouts=300)
    assert max(abs(h - 0.35) / 0.35 for h in entropies[120:]) < 0.02


def test_the_reference_moves_at_its_rate_and_no_faster():
    entropies, states = settle(TwoSided(target=0.1), gain=0.15, drift=0.0)
    references = [s.reference for s in states]
    steps = [b - a for a, b in itertools.pairwise(references)]
    assert min(steps) == pytest.approx(-0.03)
    assert references[0] == pytest.approx(math.log(entropies[0]) - 0.03)
    assert math.exp(references[-1]) == pytest.approx(0.1)


def test_a_push_that_is_not_enough_winds_nothing_up():
    """Drift beyond the largest pressure for 80 rollouts, then none: back on the target without an overshoot of 10%."""
    thermostat = TwoSided(target=0.35)
    down, states = settle(thermostat, gain=0.1, drift=-0.17, rollouts=60)
    assert states[-1].pressure == thermostat.pressure_limit
    assert down[-1] < 0.16
    up, after = settle(thermostat, gain=0.1, drift=0.0, start=down[-1], rollouts=120, state=states[-1])
    assert max(up) < 0.35 * 1.1
    assert max(b - a for a, b in itertools.pairwise(math.log(h) for h in up[8:])) < 2 * thermostat.rate
    assert abs(after[-1].pressure) < 0.02
    assert up[-1] == pytest.approx(0.35, rel=0.03)


def test_a_ramp_and_a_sine_are_followed():
    for target, worst in (("linear:0.43:0.15", 0.04), ("sine:0.35:0.07:50", 0.08)):
        entropies, states = settle(TwoSided(target=target), gain=0.12, drift=-0.02, rollouts=120)
        errors = [abs(h - s.target) / s.target for h, s in zip(entropies, states, strict=True)][30:]
        assert max(errors) < worst, target


@pytest.mark.parametrize("updates", [1, 8])
def test_the_pressure_is_its_law(updates):
    """Of the filter's numbers: balance the drift, close `response` of the distance, go along with the reference."""
    thermostat = TwoSided(target="linear:0.43:0.2")
    _, states = settle(thermostat, gain=0.12, drift=-0.02, updates=updates, rollouts=100)
    for k, (one, following) in enumerate(itertools.pairwise(states)):
        # momentum: a share beta^U of the past survives a rollout, and what it does is spread over the later ones
        survives = 0.9**updates
        during = sum(0.9**j for j in range(1, updates + 1)) / updates
        ahead = following.target - one.target
        slope = math.log((one.target + ahead) / math.exp(one.reference)) if k else 0.0
        slope = min(max(slope, -thermostat.rate), thermostat.rate)
        balance = -one.drift / one.gain
        spent = one.h + one.gain * during / (1 - survives) * (one.past - balance)
        goal = one.reference + during / (1 - survives) * slope
        push = (thermostat.response * (goal - spent) + slope) / (one.gain + one.gg / one.gain)
        assert one.pressure == pytest.approx(min(max(balance + push, -1.5), 1.5), abs=1e-6), k


def test_the_measurement_weighs_by_its_relative_standard_error():
    told = summary(0.4, error=0.02, updates=8)
    assert TwoSided().observe(ThermostatState(), told).hh == pytest.approx(0.05**2)
    assert TwoSided().observe(ThermostatState(), summary(0.8, error=0.02)).hh == pytest.approx(0.025**2)
    assert TwoSided().observe(ThermostatState(), summary(0.2)).hh == pytest.approx(0.05**2)


def test_the_target_is_that_of_the_rollout_in_progress():
    _, states = settle(TwoSided(target="sine:0.35:0.07:40"), gain=0.12, drift=0.0, rollouts=40)
    assert [states[k].target for k in (0, 10, 20, 30)] == pytest.approx([0.35, 0.42, 0.35, 0.28])
    _, states = settle(TwoSided(target="step:0.3:0.45:0.5"), gain=0.12, drift=0.0, rollouts=40)
    assert [states[k].target for k in (0, 19, 20, 39)] == [0.3, 0.3, 0.45, 0.45]


@given(st.lists(st.floats(1e-3, 5.0), min_size=1, max_size=25), st.sampled_from([0.02, 0.35, 2.0]))
def test_pressure_is_bounded_whatever_is_measured(history, target):
    thermostat, state = TwoSided(target=target), ThermostatState()
    for k, entropy in enumerate(history):
        state = thermostat.observe(state, summary(entropy, progress=k / len(history), updates=8))
        assert abs(state.pressure) <= thermostat.pressure_limit
        assert all(math.isfinite(x) for x in [*state[:-2], *state.felt])


def test_a_relative_target_is_of_the_first_entropy():
    _, states = settle(TwoSided(target="0.8x"), gain=0.15, drift=0.0, start=0.5, rollouts=60)
    assert states[-1].target == pytest.approx(0.4)
    assert math.exp(states[-1].reference) == pytest.approx(0.4)
    _, states = settle(TwoSided(target="linear:1x:0.5x"), gain=0.15, drift=0.0, start=0.5, rollouts=100)
    assert states[0].target == pytest.approx(0.5)
    assert states[-1].target == pytest.approx(0.2525)


# Targets


@pytest.mark.parametrize(
    ("text", "relative", "at_half"),
    [
        ("0.35", False, 0.35),
        (0.35, False, 0.35),
        ("0.8x", True, 0.8),
        ("linear:1x:0.5x", True, 0.75),
        ("step:0.3:0.45:0.5", False, 0.45),
        ("step:1x:0.5x:0.5", True, 0.5),
        ("sine:1x:0.2x:50", True, 1.0),
        ("piecewise:0:1x:1:0.5x", True, 0.75),
        ("cosine:0.4:0.2", False, 0.3),
    ],
)
def test_a_target_is_a_number_a_share_or_a_schedule(text, relative, at_half):
    schedule, is_relative = parse_target(text)
    assert is_relative == relative
    assert schedule(0.5, 50) == pytest.approx(at_half)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "0"}, "over 0 nats"),
        ({"target": "-0.3"}, "over 0 nats"),
        ({"target": "linear:0.4:0"}, "over 0 nats"),
        ({"target": "sine:0.3:0.3:50"}, "over 0 nats"),
        ({"target": "linear:1x:0.5"}, "behind every entropy"),
        ({"target": "warm"}, "a schedule is"),
        ({"target": "0.8xx"}, "got '0.8xx'.* as in 0.8x"),
        ({"target": "0,8x"}, "got '0,8x'"),
        ({"target": "nan"}, "must be finite"),
        ({"low": 0.0}, "low must be"),
        ({"high": 0.0}, "high must be"),
        ({"hold": "both", "high": math.inf}, "high must be .*with hold=both"),
        ({"response": 0.0}, "response must be"),
        ({"pressure_limit": 9.0}, "pressure_limit must be"),
        ({"momentum": 1.0}, "momentum must be"),
        ({"rate": -0.1}, "rate must be"),
    ],
)
def test_a_bad_option_says_what_to_use(options, message):
    with pytest.raises(ValueError, match=message):
        make_strategy("thermostat", **options)


def test_an_option_of_a_wrong_type_is_refused(as_users_see):
    with pytest.raises(ValueError, match=r"low must be a number, .* got '0.2'"):
        as_users_see("strategies/thermostat").Thermostat(low="0.2")
    with pytest.raises(ValueError, match=r"rate must be a number, .* got True"):
        as_users_see("strategies/thermostat").Thermostat(rate=True)
    for text in (None, True):
        with pytest.raises(ValueError, match=f"a schedule is a number, .* got {text}"):
            as_users_see("schedule").parse_schedule(text)


def test_an_unknown_tilt_is_refused(as_users_see):
    with pytest.raises(ValueError, match="tilt must be surprisal or bracket, got 'sideways'"):
        as_users_see("strategies/thermostat").Thermostat(tilt="sideways")


# Safety


def test_an_entropy_that_the_engine_cannot_give_is_refused_and_says_how():
    with pytest.raises(ValueError, match="needs the rollout's mean entropy"):
        TwoSided().observe(ThermostatState(), summary(None))
    with pytest.raises(ValueError, match="needs the rollout's mean excess_surprisal"):
        TwoSided().observe(ThermostatState(), RolloutSummary(0.0, 0.4))
    with pytest.raises(ValueError, match="needs the rollout's mean bracket"):
        TwoSided(tilt="bracket").observe(ThermostatState(), RolloutSummary(0.0, 0.4, excess_surprisal=0.3))
    with pytest.raises(ValueError, match="needs the old policy's sum_p2"):
        TwoSided(tilt="bracket").bounds(pressed(TwoSided(), 1.0), TokenStats(torch.zeros(1, 1), torch.zeros(1, 1)))


def test_a_nan_holds_pressure_and_reference_and_the_loop_goes_on():
    thermostat = TwoSided(target=0.35)
    _, states = settle(thermostat, gain=0.15, drift=-0.03, rollouts=40)
    before = states[-1]
    held = thermostat.observe(before, summary(math.nan, progress=0.5, updates=8))
    assert (held.pressure, held.reference, held.scale) == (before.pressure, before.reference, before.scale)
    assert (held.rollouts, held.measured) == (before.rollouts + 1, before.measured)
    assert held.hh > before.hh
    after = thermostat.observe(held, summary(0.3, progress=0.6, updates=8))
    assert after.pressure > held.pressure
    blind = thermostat.observe(ThermostatState(), summary(math.nan))
    assert blind.pressure == 0.0
    low, high = thermostat.bounds(blind, TokenStats(torch.zeros(1, 3), torch.zeros(1, 3)))
    assert torch.equal(low, high)
    assert low[0, 0] == pytest.approx(0.2)


def test_a_target_over_ln_vocabulary_is_refused_before_the_first_update():
    for target in ("3.5", "linear:0.4:3.5", "9x"):
        with pytest.raises(ValueError, match=r"ln\(vocabulary\) is 3.09"):
            TwoSided(target=target).observe(ThermostatState(), summary(0.4, ceiling=math.log(22)))
    TwoSided(target="3.0").observe(ThermostatState(), summary(0.4, ceiling=math.log(22)))


def test_rollouts_whose_rewards_are_all_equal_teach_the_filter_nothing():
    """No advantage, no motion: pressure does nothing there, and must not count as pressure that failed."""
    thermostat = TwoSided(target=0.35)
    _, states = settle(thermostat, gain=0.15, drift=-0.03, start=0.3, rollouts=40)
    state = thermostat.observe(states[-1], summary(0.34, progress=0.4, updates=8, active=0.0))
    stuck = state
    for k in range(60):
        stuck = thermostat.observe(stuck, summary(0.34, progress=0.4 + k / 200, error=0.01, updates=8, active=0.0))
    # the filter sees 60 measurements of one entropy, and nothing of its motion
    assert stuck.past == state.past
    assert stuck.gain == pytest.approx(state.gain, abs=0.02)
    assert stuck.drift == pytest.approx(state.drift, abs=0.02)
    assert stuck.h == pytest.approx(math.log(0.34), abs=0.01)


def test_another_target_at_a_resume_is_approached_from_where_the_reference_stands():
    first = TwoSided(target=0.35)
    _, states = settle(first, gain=0.15, drift=-0.03, rollouts=60)
    saved = state_to_json(states[-1])
    second = replace(first, target=0.5)
    state = state_from_json(second, saved)
    after = second.observe(state, summary(0.35, progress=0.5, error=0.01, updates=8))
    assert after.reference == pytest.approx(state.reference + second.rate)
    assert after.initial_entropy == state.initial_entropy
    entropies, _ = settle(second, gain=0.15, drift=-0.03, start=0.35, rollouts=80, state=state)
    assert entropies[-1] == pytest.approx(0.5, rel=0.03)


def test_a_policy_without_entropy_is_no_division_by_zero():
    thermostat, state = TwoSided(target=0.35), ThermostatState()
    for k in range(5):
        state = thermostat.observe(state, summary(0.0, size=0.0, progress=k / 5, error=0.0, updates=8))
    assert 0 < state.pressure <= thermostat.pressure_limit
    for side in thermostat.bounds(state, TokenStats(torch.zeros(1, 2), torch.zeros(1, 2))):
        assert side.isfinite().all()


@given(st.floats(0.05, 2.0))
def test_before_anything_is_measured_it_is_plain_clipping(entropy):
    assume(entropy > 0)
    stats = TokenStats(torch.full((1, 2), -1.0), torch.full((1, 2), entropy))
    low, high = TwoSided(low=0.3, high=0.3).bounds(ThermostatState(), stats)
    assert torch.equal(low, torch.full((1, 2), 0.3))
    assert torch.equal(high, low)


# A floor


@given(st.lists(st.floats(0.01, 2.0), min_size=2, max_size=40))
def test_a_floor_never_presses_entropy_down(entropies):
    thermostat = Thermostat(target=0.3)
    state = thermostat.init()
    for i, entropy in enumerate(entropies):
        state = thermostat.observe(state, summary(entropy, progress=i / len(entropies), updates=8))
        assert 0 <= state.pressure <= thermostat.pressure_limit
        # and the reference is never over the target
        assert state.reference <= math.log(0.3) + 1e-9


def test_a_floor_acts_where_entropy_falls_under_it_and_rests_over_it():
    floor, both = Thermostat(target=0.3), TwoSided(target=0.3)
    pressures = {"floor": [], "both": []}
    # entropy rises to three times the floor, as where a wrong habit is unlearned, and then falls through it
    rise_and_fall = [0.3 * 1.1**k for k in range(12)] + [0.86 * 0.9**k for k in range(16)]
    for name, thermostat in (("floor", floor), ("both", both)):
        state = thermostat.init()
        for i, entropy in enumerate(rise_and_fall):
            state = thermostat.observe(state, summary(entropy, progress=i / 40, updates=8))
            pressures[name].append(state.pressure)
    assert pressures["floor"][:12] == [0.0] * 12
    assert min(pressures["both"][:12]) < -1
    assert pressures["floor"][-1] > 0.5


@pytest.mark.parametrize("tilt", TILTS)
@given(st.lists(st.floats(-6, 6), min_size=2, max_size=7), st.floats(0, 1.5))
def test_a_floor_moves_the_low_side_alone(tilt, logits, u):
    stats, _ = every_token(torch.tensor(logits))
    both = TwoSided(tilt=tilt).bounds(pressed(TwoSided(), u), stats)
    for above in (0.2, math.inf):
        low, high = Thermostat(tilt=tilt, low=0.2, high=above).bounds(pressed(Thermostat(), u), stats)
        assert torch.equal(low, both.low)
        assert torch.equal(high, torch.full_like(high, above))


def test_a_floor_holds_where_a_collapse_would_go_through_it():
    entropies, _ = settle(Thermostat(target=0.3), gain=0.15, drift=-0.04, start=0.43, rollouts=160)
    assert all(h == pytest.approx(0.3, rel=0.03) for h in entropies[80:])
    # and where entropy rises by itself, it stays out of the way
    entropies, states = settle(Thermostat(target=0.3), gain=0.15, drift=0.01, start=0.43, rollouts=60)
    assert all(state.pressure == 0 for state in states)
    assert entropies[-1] == pytest.approx(0.43 * math.exp(0.01 * 59))


@pytest.mark.parametrize("active", [0.05, 0.3, 1.0, None])
def test_down_pressure_is_bounded_by_the_share_of_tokens_with_an_advantage(active):
    """Entropy far over the target, as where a model must learn a new way and few answers are right."""
    state = ThermostatState()
    for k in range(30):
        state = TwoSided(target=0.1).observe(state, summary(0.4, progress=k / 30, updates=8, active=active))
    assert state.pressure == pytest.approx(-1.5 * (1.0 if active is None else active))
    # up pressure is not: it drops no rare right answer
    for k in range(30):
        state = TwoSided(target=0.4).observe(state, summary(0.1, progress=k / 30, updates=8, active=active))
    assert state.pressure == pytest.approx(1.5)


def test_the_window_without_pressure_depends_on_what_is_held():
    assert Thermostat().window == (0.05, math.inf)
    assert Thermostat(high=0.28).window == (0.05, 0.28)
    assert TwoSided().window == (0.2, 0.2)
    assert TwoSided(low=0.1).window == (0.1, 0.2)
