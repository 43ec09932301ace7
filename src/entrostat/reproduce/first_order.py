"""What A1 and A2 share: is a formula the first-order entropy change of one clipped update under random advantages?

For each seed a random policy that has already moved off pi_old, one exact full-batch step of each size in ETAS under
each window, and the true entropy change of each state against the formula's. A formula that is exact to first order
leaves an error that shrinks as eta^2; one that is wrong leaves a slope of 1. Then steps from sampled batches, and laws
of the advantage that break the theorem's assumptions one at a time, which are numbers and no part of the verdict.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from entrostat.estimate import Interval, seed_interval
from entrostat.reproduce.claim import Mode, Result, Verdict
from entrostat.reproduce.tabular import (
    Advantage,
    Direction,
    Policy,
    entropy,
    random_policy,
    sampled_push,
    updated,
)

# Fixed before the first run.
STATES, ACTIONS, MOVED = 16, 12, 0.3
LOW, HIGH = 0.2, 0.2
WINDOWS = {"both": (LOW, HIGH), "clip-low": (LOW, math.inf), "clip-high": (1.0, HIGH)}
ETAS = tuple(2.0**-k for k in range(3, 10))
SLOPE, SLOPE_ERROR = 2.0, 0.1
SIGN_FROM = 0.01
"""States count for the sign when their predicted change is over this share of the largest."""
UNMOVED = 1e-12
"""Largest entropy change, in nats, that is none: what float64 leaves."""
BATCHES, TOKENS, SAMPLED_ETA = 400, 512, 1e-6
"""Steps so small that their second order is nothing beside the noise of the batches."""
GAIN_ERROR, LEVEL = 0.1, 0.999

RANDOM = Advantage(0.5, 1.0, 0.5, 1.0)
CRITERION = (
    f"8 random policies of {STATES} states x {ACTIONS} actions, one a seed; windows {LOW}/{HIGH}, {LOW}/inf, 1/{HIGH}: "
    f"slope of ln error in ln eta over eta 2^-9..2^-3 within {SLOPE:g} +- {SLOPE_ERROR} each time; sign right in each "
    f"state over {SIGN_FROM:.0%} of the largest; without clipping |change| < {UNMOVED:g}; over {BATCHES} sampled "
    f"batches of {TOKENS} tokens a seed the {LEVEL:.1%} interval of measured over predicted holds 1 (undecided "
    f"where it is wider than 1 +- {GAIN_ERROR})"
)

Formula = Callable[[Policy, float, float, float], Tensor]
"""(policy, mu nu, low, high) -> the change of each state's entropy per unit of eta, (s)."""


def check(formula: Formula, direction: Direction, mode: Mode) -> Result:
    """The verdict on `formula` for steps along `direction`."""
    policies = [_policy(seed) for seed in mode.repeats(8, fast=5)]
    slopes = {
        name: [slope(formula, direction, policy, RANDOM, window) for policy in policies]
        for name, window in WINDOWS.items()
    }
    signs = [
        _signs(formula, direction, policy, window)
        for policy in policies
        for window in WINDOWS.values()
    ]
    unmoved = max(
        _change(policy, RANDOM, direction, (1.0, math.inf), 1.0).abs().max().item()
        for policy in policies
    )
    gains = [
        sampled_gain(formula, direction, policy, RANDOM, seed)
        for seed, policy in enumerate(policies)
    ]
    gain = seed_interval(gains, level=LEVEL)
    every = [value for found in slopes.values() for value in found]
    exact = (
        all(abs(value - SLOPE) <= SLOPE_ERROR for value in every)
        and min(signs) == 1
        and unmoved < UNMOVED
    )
    numbers = {
        "slope min": min(every),
        "slope max": max(every),
        **{f"slope {name}": _mean(found) for name, found in slopes.items()},
        "sign right": min(signs),
        "change without clipping": unmoved,
        "sampled gain": gain.value,
        "sampled gain low": gain.low,
        "sampled gain high": gain.high,
        **_brackets(formula, policies),
        **_broken(formula, direction, policies),
    }
    effect = seed_interval(slopes["both"])
    return Result(_verdict(exact, gain), effect.value, effect, numbers=numbers)


def slope(
    formula: Formula,
    direction: Direction,
    policy: Policy,
    advantage: Advantage,
    window: tuple[float, float],
) -> float:
    """Least-squares slope of ln |true - predicted| in ln eta, the error's norm taken over states."""
    predicted = formula(policy, _mu_nu(advantage), *window)
    errors = [
        (_change(policy, advantage, direction, window, eta) - eta * predicted).norm()
        for eta in ETAS
    ]
    x, y = torch.tensor(ETAS, dtype=torch.float64).log(), torch.stack(errors).log()
    x = x - x.mean()
    return ((x * y).sum() / (x * x).sum()).item()


def sampled_gain(
    formula: Formula,
    direction: Direction,
    policy: Policy,
    advantage: Advantage,
    seed: int,
) -> float:
    """Mean measured change over sampled batches, projected on the predicted one: 1 where the formula is unbiased."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    push = sampled_push(
        policy,
        advantage,
        low=LOW,
        high=HIGH,
        batches=BATCHES,
        tokens=TOKENS,
        generator=generator,
    )
    step = direction(push, policy.logits.log_softmax(-1), policy.weights)
    measured = (
        entropy(policy.logits + SAMPLED_ETA * step) - entropy(policy.logits)
    ).mean(0) / SAMPLED_ETA
    predicted = formula(policy, _mu_nu(advantage), LOW, HIGH)
    return ((measured * predicted).sum() / (predicted * predicted).sum()).item()


def _verdict(exact: bool, gain: Interval) -> Verdict:
    if not exact or not gain.low <= 1 <= gain.high:
        return "fails"
    return "holds" if gain.high - gain.low <= 2 * GAIN_ERROR else "undecided"


def _policy(seed: int) -> Policy:
    return random_policy(
        STATES, ACTIONS, torch.Generator().manual_seed(seed), moved=MOVED
    )


def _mu_nu(advantage: Advantage) -> float:
    """P(A > 0) E[A | A > 0], over the whole law where it depends on the token."""
    return float(
        torch.as_tensor(advantage.p_up * advantage.up, dtype=torch.float64).mean()
    )


def _change(
    policy: Policy,
    advantage: Advantage,
    direction: Direction,
    window: tuple[float, float],
    eta: float,
) -> Tensor:
    low, high = window
    after = updated(policy, advantage, low=low, high=high, eta=eta, direction=direction)
    return entropy(after.logits) - entropy(policy.logits)


def _signs(
    formula: Formula, direction: Direction, policy: Policy, window: tuple[float, float]
) -> float:
    """Share of the states with a sizable prediction whose entropy moves as predicted, at the smallest eta."""
    predicted = formula(policy, _mu_nu(RANDOM), *window)
    true = _change(policy, RANDOM, direction, window, ETAS[-1])
    counts = predicted.abs() > SIGN_FROM * predicted.abs().max()
    return (true.sign() == predicted.sign())[counts].double().mean().item()


def _brackets(formula: Formula, policies: list[Policy]) -> dict[str, float]:
    """Share of states where clip-low alone raises and clip-high alone lowers entropy: no law, [A]'s inequality 7."""
    mu_nu = _mu_nu(RANDOM)
    rises = (
        torch.stack(
            [formula(policy, mu_nu, *WINDOWS["clip-low"]) for policy in policies]
        )
        > 0
    )
    falls = (
        torch.stack(
            [formula(policy, mu_nu, *WINDOWS["clip-high"]) for policy in policies]
        )
        < 0
    )
    return {
        "clip-low raises": rises.double().mean().item(),
        "clip-high lowers": falls.double().mean().item(),
    }


def _broken(
    formula: Formula, direction: Direction, policies: list[Policy]
) -> dict[str, float]:
    """Slope, and the share of the true change that the formula misses, where an assumption does not hold."""
    numbers = {}
    for name, make in LAWS.items():
        laws = [make(seed) for seed in range(len(policies))]
        pairs = list(zip(policies, laws, strict=True))
        numbers[f"{name}: slope"] = _mean(
            [slope(formula, direction, p, law, (LOW, HIGH)) for p, law in pairs]
        )
        numbers[f"{name}: missed"] = _mean(
            [_missed(formula, direction, p, law) for p, law in pairs]
        )
    return numbers


def _missed(
    formula: Formula, direction: Direction, policy: Policy, advantage: Advantage
) -> float:
    eta = ETAS[-1]
    true = _change(policy, advantage, direction, (LOW, HIGH), eta)
    return (
        (true - eta * formula(policy, _mu_nu(advantage), LOW, HIGH)).norm()
        / true.norm()
    ).item()


def _skewed(seed: int) -> Advantage:
    """E[A] = 0, P(A > 0) = 1/4, P(A < 0) = 3/4: the rewards Bernoulli(1/4) less their mean, in units of 1/2."""
    return Advantage(0.25, 1.5, 0.75, 0.5)


def _shifted(seed: int) -> Advantage:
    """E[A] = .1."""
    return Advantage(0.55, 1.0, 0.45, 1.0)


def _by_response(seed: int) -> Advantage:
    """A = +-1, E[A] = 0 over a uniform law of tokens, P(A > 0) a token's own, in .4 to .6."""
    p = (
        0.4
        + 0.2
        * torch.rand(
            STATES, ACTIONS, generator=torch.Generator().manual_seed(20_000 + seed)
        ).double()
    )
    p = p - p.mean() + 0.5
    return Advantage(p, 1.0, 1 - p, 1.0)


LAWS: dict[str, Callable[[int], Advantage]] = {
    "skewed advantage": _skewed,
    "E[A] = .1": _shifted,
    "advantage by response": _by_response,
}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
