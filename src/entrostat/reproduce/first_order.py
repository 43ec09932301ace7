"""What a1 and a2 share: is a formula the first-order entropy change of one clipped
update under random advantages?

For each seed there is a random policy that has already moved off pi_old. It takes one
exact full-batch step of each size in ETAS under each window, and the true entropy change
of each state is compared with the formula's. A formula that is exact to first order
leaves an error that shrinks as eta^2; a wrong one leaves a slope of 1. Then come steps
from sampled batches. Laws of the advantage that break the theorem's assumptions, one at
a time, give numbers that have no part in the verdict.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable

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

# All constants were fixed before the first run.
STATES, ACTIONS, MOVED = 16, 12, 0.3
LOW, HIGH = 0.2, 0.2
BOTH = (LOW, HIGH)
LOW_ALONE = (LOW, math.inf)
HIGH_ALONE = (1.0, HIGH)
NO_CLIP = (1.0, math.inf)
WINDOWS = {"both": BOTH, "clip-low": LOW_ALONE, "clip-high": HIGH_ALONE}
ETAS = (1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256, 1 / 512)
SLOPE, SLOPE_ERROR = 2.0, 0.1
SIGN_FROM = 0.01
"""States count for the sign when their predicted change is over this share of the
largest."""
UNMOVED = 1e-12
"""The largest entropy change, in nats, that counts as none: what float64 leaves."""
BATCHES, TOKENS, SAMPLED_ETA = 400, 512, 1e-6
"""Steps so small that their second order is nothing beside the noise of the batches."""
GAIN_ERROR, LEVEL = 0.1, 0.999
SAMPLING_SEED, LAW_SEED = 10_000, 20_000
"""Of generators that share no seed with the policies'."""

RANDOM = Advantage(0.5, 1.0, 0.5, 1.0)
CRITERION = (
    f"8 random policies of {STATES} states x {ACTIONS} actions, one per seed; windows "
    f"{LOW}/{HIGH}, {LOW}/inf and 1/{HIGH}. The slope of ln(error) over ln(eta), for eta "
    f"from 2^-9 to 2^-3, is within {SLOPE:g} +- {SLOPE_ERROR} each time. The sign is "
    "right in each state whose predicted change is over "
    f"{SIGN_FROM:.0%} of the largest. Without clipping |change| < {UNMOVED:g}. Over "
    f"{BATCHES} sampled batches of {TOKENS} tokens per seed, the {LEVEL:.1%} interval of "
    "measured over predicted change holds 1; the verdict is undecided where that "
    f"interval is wider than 1 +- {GAIN_ERROR}"
)

Formula = Callable[[Policy, float, float, float], Tensor]
"""(policy, mu nu, low, high) -> the change of each state's entropy per unit of eta, (s)."""


@dataclasses.dataclass(frozen=True)
class Update:
    """An exact update of a policy, and what the formula predicts of it."""

    formula: Formula
    direction: Direction
    policy: Policy
    advantage: Advantage = RANDOM
    window: tuple[float, float] = BOTH

    def predicted(self) -> Tensor:
        """The formula's change of each state's entropy per unit of eta, (s)."""
        p_up, up = self.advantage.p_up, self.advantage.up
        # mu nu is P(A > 0) E[A | A > 0], over the whole law where it differs by token
        mu_nu = float(torch.as_tensor(p_up * up, dtype=torch.float64).mean())
        return self.formula(self.policy, mu_nu, *self.window)

    def change(self, eta: float) -> Tensor:
        """The true change of each state's entropy at a step of size eta, (s)."""
        low, high = self.window
        after = updated(
            self.policy,
            self.advantage,
            low=low,
            high=high,
            eta=eta,
            direction=self.direction,
        )
        return entropy(after.logits) - entropy(self.policy.logits)

    def slope(self) -> float:
        """Least-squares slope of ln |true - predicted| over ln eta.

        The error is a norm over states.
        """
        predicted = self.predicted()
        errors = [(self.change(eta) - eta * predicted).norm() for eta in ETAS]
        x, y = torch.tensor(ETAS, dtype=torch.float64).log(), torch.stack(errors).log()
        x = x - x.mean()
        return ((x * y).sum() / (x * x).sum()).item()

    def sign_right(self) -> float:
        """Share of the states whose entropy moves as predicted at the smallest eta.

        Those with a tiny prediction are left out.
        """
        predicted = self.predicted()
        right = self.change(ETAS[-1]).sign() == predicted.sign()
        counts = predicted.abs() > SIGN_FROM * predicted.abs().max()
        return right[counts].double().mean().item()

    def missed(self) -> float:
        """Share of the true change that the formula misses, at the smallest eta."""
        eta = ETAS[-1]
        true = self.change(eta)
        return ((true - eta * self.predicted()).norm() / true.norm()).item()

    def sampled_gain(self, seed: int) -> float:
        """Mean measured change over sampled batches, projected on the predicted one.

        It is 1 where the formula is unbiased.
        """
        low, high = self.window
        push = sampled_push(
            self.policy,
            self.advantage,
            low=low,
            high=high,
            batches=BATCHES,
            tokens=TOKENS,
            generator=torch.Generator().manual_seed(SAMPLING_SEED + seed),
        )
        logits = self.policy.logits
        step = self.direction(push, logits.log_softmax(-1), self.policy.weights)
        changes = entropy(logits + SAMPLED_ETA * step) - entropy(logits)
        measured, predicted = changes.mean(0) / SAMPLED_ETA, self.predicted()
        return ((measured * predicted).sum() / (predicted * predicted).sum()).item()


def check(formula: Formula, direction: Direction, mode: Mode) -> Result:
    """The verdict on `formula` for steps along `direction`."""
    seeds = mode.repeats(8, fast=5)
    updates = [Update(formula, direction, _policy(seed)) for seed in seeds]
    slopes: dict[str, list[float]] = {}
    all_slopes: list[float] = []
    signs: list[float] = []
    for name, window in WINDOWS.items():
        windowed = _under(window, updates)
        slopes[name] = list(map(Update.slope, windowed))
        all_slopes += slopes[name]
        signs += map(Update.sign_right, windowed)
    unclipped = _under(NO_CLIP, updates)
    unmoved = max(update.change(1.0).abs().max().item() for update in unclipped)
    gains = list(map(Update.sampled_gain, updates, seeds))
    gain = seed_interval(gains, level=LEVEL)
    lowest, highest = min(all_slopes), max(all_slopes)
    slope_error = max(abs(lowest - SLOPE), abs(highest - SLOPE))
    exact = slope_error <= SLOPE_ERROR and min(signs) == 1 and unmoved < UNMOVED
    numbers = {"slope min": lowest, "slope max": highest}
    for name, values in slopes.items():
        numbers[f"slope {name}"] = _mean(values)
    numbers |= {
        "sign right": min(signs),
        "change without clipping": unmoved,
        "sampled gain": gain.value,
        "sampled gain low": gain.low,
        "sampled gain high": gain.high,
    }
    numbers |= _brackets(updates) | _broken(updates)
    effect = seed_interval(slopes["both"])
    return Result(_verdict(exact, gain), effect.value, effect, numbers=numbers)


def _under(window: tuple[float, float], updates: list[Update]) -> list[Update]:
    """The same updates under another window."""
    return [dataclasses.replace(update, window=window) for update in updates]


def _verdict(exact: bool, gain: Interval) -> Verdict:
    if not exact or not gain.low <= 1 <= gain.high:
        return "fails"
    return "holds" if gain.high - gain.low <= 2 * GAIN_ERROR else "undecided"


def _policy(seed: int) -> Policy:
    generator = torch.Generator().manual_seed(seed)
    return random_policy(STATES, ACTIONS, generator, moved=MOVED)


def _brackets(updates: list[Update]) -> dict[str, float]:
    """Share of states in which a side of the clip acts as [A]'s inequality 7 says.

    That is no law: clip-low alone raises entropy, and clip-high alone lowers it.
    """
    by_low = torch.stack(list(map(Update.predicted, _under(LOW_ALONE, updates))))
    by_high = torch.stack(list(map(Update.predicted, _under(HIGH_ALONE, updates))))
    return {
        "clip-low raises": (by_low > 0).double().mean().item(),
        "clip-high lowers": (by_high < 0).double().mean().item(),
    }


def _broken(updates: list[Update]) -> dict[str, float]:
    """Slope and missed share under laws that break an assumption."""
    numbers: dict[str, float] = {}
    for name, law in LAWS.items():
        broken = [
            dataclasses.replace(update, advantage=law(seed))
            for seed, update in enumerate(updates)
        ]
        numbers[f"{name}: slope"] = _mean(map(Update.slope, broken))
        numbers[f"{name}: missed"] = _mean(map(Update.missed, broken))
    return numbers


def _skewed(seed: int) -> Advantage:
    """E[A] = 0 with P(A > 0) = 1/4 and P(A < 0) = 3/4.

    These are the rewards Bernoulli(1/4) less their mean, in units of 1/2.
    """
    return Advantage(0.25, 1.5, 0.75, 0.5)


def _shifted(seed: int) -> Advantage:
    """E[A] = 0.1."""
    return Advantage(0.55, 1.0, 0.45, 1.0)


def _by_response(seed: int) -> Advantage:
    """A = +-1, with P(A > 0) each token's own, in 0.4 to 0.6.

    E[A] = 0 over a uniform law of tokens.
    """
    generator = torch.Generator().manual_seed(LAW_SEED + seed)
    p = 0.4 + 0.2 * torch.rand(STATES, ACTIONS, generator=generator).double()
    p = p - p.mean() + 0.5
    return Advantage(p, 1.0, 1 - p, 1.0)


LAWS: dict[str, Callable[[int], Advantage]] = {
    "skewed advantage": _skewed,
    "E[A] = 0.1": _shifted,
    "advantage by response": _by_response,
}


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
