"""The thermostat: a closed loop that keeps entropy from falling under a reference, or
holds it there from both sides, with clip thresholds alone.

Sensor: the rollout's mean token entropy. Actuator: the tilted window of
`Thermostat.bounds`, driven by one number, the pressure u. In between: a Kalman filter
that learns how entropy answers (entrostat.plant), and the pressure that, by what the
filter knows, holds entropy and closes a share of the distance to the reference. Derived
and measured for this project: docs/strategies/thermostat.md. The nearest published loop,
EntroPIC (arXiv 2511.15248), weights the loss instead.
"""

import dataclasses
import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats, bracket, excess_surprisal
from entrostat.plant import LONGEST, Plant, correct, late, leakage, predict, rest
from entrostat.strategies.base import (
    Reads,
    RolloutSummary,
    Strategy,
    checked,
    measured_entropy,
    require_stats,
)
from entrostat.strategies.target import parse_target

LEAST_ENTROPY = 1e-4
"""Nats. Entropy under it counts as it: its logarithm has no floor."""
BLIND_ERROR = 0.05
"""Standard error of ln H where the engine gives none: that of a rollout of 256 responses
on the lab's model."""

FLOOR_WINDOW = (0.05, math.inf)
"""Of a floor without pressure: clip-lower's (2509.26114). What a floor buys on it costs
the least of what is learned (docs/results/trade.md)."""
TWO_SIDED_WINDOW = (0.2, 0.2)

REACH = 6.0
"""The reference stays within this many steps of its rate from the filtered ln H."""


class ThermostatState(NamedTuple):
    """Everything that the loop remembers."""

    rollouts: int = 0
    """Rollouts observed."""
    measured: int = 0
    """Of them, those whose entropy was finite."""
    active: float = 1.0
    """Share of the tokens of the rollout in progress that have an advantage. With 0 the
    rollout moves nothing."""
    updates: int = 1
    """Optimizer updates on the rollout in progress."""
    initial_entropy: float = 0.0
    """Nats, of the first rollout measured; 0 before it."""
    target: float = 0.0
    """Nats: the schedule's value for the rollout in progress."""
    reference: float = 0.0
    """ln of the governed reference: the target, approached at a bounded rate."""
    pressure: float = 0.0
    """u. Over 0 raises entropy, under 0 lowers it, 0 leaves the window as it is."""
    scale: float = 1.0
    """Mean size of a token's tilt: its x is in units of this."""
    # the fields of Plant, since a state is flat; all 0 until a rollout is measured
    h: float = 0.0
    drift: float = 0.0
    gain: float = 0.0
    hh: float = 0.0
    hd: float = 0.0
    hg: float = 0.0
    dd: float = 0.0
    dg: float = 0.0
    gg: float = 0.0
    past: float = 0.0
    surprise: float = 1.0
    felt: tuple[float, ...] = ()
    moved: tuple[int, ...] = ()

    @property
    def plant(self) -> Plant:
        return Plant(*(getattr(self, name) for name in Plant._fields))


@dataclasses.dataclass(frozen=True)
class Thermostat(Strategy):
    """Keeps the mean token entropy from falling under `target`, or holds it there.

    Per token, with x = b / mean|b| over the rollout's trained tokens, b = ln p + H (or
    the bracket), all under the old policy:

        low' = clip(low (1 + u x), -1, 1)        high' = clip(high (1 - u x), -1, 1)

    With low = high the window keeps its width and its centre moves to 1 - low u x: to
    first order it stands around a policy of another temperature. A token with |u x| > 1
    is dropped while its ratio is still 1, so the window steers with one update per
    rollout too. No advantage enters.

    A floor moves the low side alone: unlikely tokens of bad answers are spared, likely
    tokens of good answers still rise (docs/bench.md).

    One step of the loop, h = ln H: the filter takes the measured h; the reference g
    moves towards ln(target), by `rate` at most and never far from h; then, with `hold`
    the pressure that would just balance the drift, and h' the entropy once the momentum
    of past pressure is spent,

        u = hold + [response (g - h') + (next g - g)] / gain

    between 0 (a floor) or -pressure_limit times the share of tokens with an advantage,
    and pressure_limit.

    The gain is inflated by its own uncertainty (cautious control, Astrom and
    Wittenmark, Adaptive Control, ch. 7). There is no integral that could wind up: the
    filter is told of the pressure as it was applied.
    """

    target: str | float = "0.4x"
    """Nats per token, 0.8x of the initial entropy, or a schedule of either:
    linear:A:B, cosine:A:B, step:A:B:AT, sine:MEAN:AMPLITUDE:PERIOD_IN_ROLLOUTS,
    piecewise:PROGRESS:VALUE:... An x behind every entropy makes it relative."""
    tilt: Literal["surprisal", "bracket"] = "surprisal"
    """What moves a token's window: ln p + H, or Q_a - E[Q],
    which costs a forward pass per rollout."""
    hold: Literal["floor", "both"] = "floor"
    """floor: act only against entropy under the target, with the low side alone.
    both: hold entropy on the target from both sides, with both sides of the window."""
    low: float | None = None
    """Half-width of the window below 1, without pressure.
    None: 0.05 of a floor, 0.2 with both."""
    high: float | None = None
    """Half-width above 1. None: inf of a floor, 0.2 with both."""
    rate: float = 0.03
    """The reference moves by at most this share of itself per rollout."""
    response: float = 0.8
    """Share of the distance to the reference that a rollout is asked to close."""
    pressure_limit: float = 1.5
    """Largest |u|; beyond it no more entropy comes."""
    momentum: float = 0.9
    """First-moment coefficient of the optimizer: Adam's beta1."""

    def __post_init__(self):
        schedule, _ = parse_target(self.target)
        lowest = schedule.span[0]
        if lowest <= 0:
            raise ValueError(
                f"target must stay over 0 nats, got {self.target!r}, which falls to "
                f"{lowest:g}"
            )
        if self.tilt not in ("surprisal", "bracket"):
            raise ValueError(f"tilt must be surprisal or bracket, got {self.tilt!r}")
        if self.hold not in ("floor", "both"):
            raise ValueError(f"hold must be floor or both, got {self.hold!r}")
        low, high = self.window
        checked("low", low, low=1e-4, high=1.0, why="in [1e-4, 1]")
        if self.hold == "floor":
            checked("high", high, low=1e-4, why="at least 1e-4 (inf disables it)")
        else:
            why = "in [1e-4, 1], with hold=both"
            checked("high", high, low=1e-4, high=1.0, why=why)
        checked("rate", self.rate, low=1e-4, high=1.0, why="in [1e-4, 1]")
        checked("response", self.response, low=0.01, high=1.0, why="in [0.01, 1]")
        checked(
            "pressure_limit", self.pressure_limit, low=0.1, high=5.0, why="in [0.1, 5]"
        )
        checked("momentum", self.momentum, low=0.0, high=0.99, why="in [0, 0.99]")

    @property
    def reads(self) -> Reads:
        if self.tilt == "bracket":
            return Reads.MEAN_ENTROPY | Reads.VOCABULARY_SUMS
        return Reads.MEAN_ENTROPY | Reads.TOKEN_ENTROPY

    @property
    def controls_entropy(self) -> bool:
        return True

    @property
    def acts_on_fresh(self) -> bool:
        return True

    @property
    def window(self) -> tuple[float, float]:
        """Half-widths below and above 1 without pressure."""
        low, high = FLOOR_WINDOW if self.hold == "floor" else TWO_SIDED_WINDOW
        if self.low is not None:
            low = self.low
        if self.high is not None:
            high = self.high
        return low, high

    @property
    def highest(self) -> float:
        return self.window[1] if self.hold == "floor" else 1.0

    @property
    def per_token(self) -> bool:
        return True

    @property
    def oldest(self) -> int:
        return LONGEST

    def init(self) -> ThermostatState:
        return ThermostatState()

    def observe(
        self, state: ThermostatState, summary: RolloutSummary
    ) -> ThermostatState:
        """One step of the loop.

        A NaN entropy (nothing was measured) leaves the reference and the pressure where
        they are, and the filter goes on without it. A rollout whose advantages are all
        zero moves nothing, so the filter expects nothing of it. An entropy of tokens
        older than `oldest` is not used, and the window stays plain: pressure 0.

        Raises ValueError where the engine gives no entropy or no size of the tilt, and,
        at the first measured rollout, for a target that the vocabulary cannot reach.
        """
        entropy = measured_entropy(self, summary)
        ages = summary.ages or (1.0,)
        plant = self._after_the_last_rollout(state, leakage(ages))
        active = summary.active
        if active is None or math.isnan(active):
            active = 1.0
        state = state._replace(
            rollouts=state.rollouts + 1,
            active=active,
            updates=summary.updates or state.updates,
        )
        if not math.isfinite(entropy):
            return state._replace(**plant._asdict())
        if len(ages) > self.oldest + 1:
            return state._replace(**plant._asdict(), pressure=0.0)
        entropy = max(entropy, LEAST_ENTROPY)
        # the standard error of ln H is that of H over H
        error = (summary.entropy_error or BLIND_ERROR * entropy) / entropy
        if state.measured:
            plant = correct(plant, math.log(entropy), error, ages)
            reference = state.reference
        else:
            self._check_reach(entropy, summary.ceiling)
            plant = Plant(h=math.log(entropy), hh=error * error)
            reference = plant.h
        return self._steered(state, plant, reference, entropy, summary)

    def _steered(
        self,
        state: ThermostatState,
        plant: Plant,
        reference: float,
        entropy: float,
        summary: RolloutSummary,
    ) -> ThermostatState:
        """The state with the reference moved and the pressure set, by what the filter
        knows now."""
        # rollouts before this one, which `state` already counts
        rollouts = state.rollouts - 1
        initial = state.initial_entropy or entropy
        target, next_target = self._targets(initial, summary.progress, rollouts)
        reference = self._moved(reference, target, plant.h)
        ahead = self._paced(math.log(next_target) - reference)
        return state._replace(
            **plant._asdict(),
            measured=state.measured + 1,
            initial_entropy=initial,
            target=target,
            reference=reference,
            pressure=self._pressure(plant, reference, ahead, state),
            scale=self._scale(summary, state.scale),
        )

    def bounds(self, state: ThermostatState, old: TokenStats) -> ClipBounds:
        if state.measured == 0:
            # nothing is known yet
            push = torch.zeros_like(
                old.logprobs, dtype=torch.float32, requires_grad=False
            )
        else:
            # an impossible token has ln p = -inf, and 0 x inf is NaN
            tilt = (self._tilt(old) / state.scale).clamp(-1e6, 1e6)
            push = state.pressure * tilt
        below, above = self.window
        low = (below * (1 + push)).clamp(-1, 1)
        if self.hold == "floor":
            return ClipBounds(low, torch.full_like(low, above))
        high = (above * (1 - push)).clamp(-1, 1)
        return ClipBounds(low, high)

    def signals(self, state: ThermostatState) -> dict[str, float]:
        """target and reference (the target, approached at a bounded rate) in nats;
        pressure u; the filter's numbers."""
        if not state.measured:
            return {}
        return {
            "target": state.target,
            "reference": math.exp(state.reference),
            "pressure": state.pressure,
            "entropy_filtered": math.exp(state.h),
            "gain": state.gain,
            "drift": state.drift,
        }

    def _after_the_last_rollout(self, state: ThermostatState, leak: float) -> Plant:
        """The plant after the rollout that has just ended, before this one is
        measured."""
        if not state.measured:
            return state.plant
        if not state.active:
            return rest(state.plant)
        return predict(
            state.plant,
            state.pressure,
            updates=state.updates,
            beta=self.momentum,
            leak=leak,
        )

    def _check_reach(self, initial: float, ceiling: float | None) -> None:
        schedule, relative = parse_target(self.target)
        highest = schedule.span[1] * (initial if relative else 1.0)
        if ceiling is not None and highest > ceiling:
            raise ValueError(
                f"target {self.target!r} reaches {highest:.3g} nats, but ln(vocabulary) "
                f"is {ceiling:.3g} and no policy can have more: choose a target under it"
            )

    def _targets(
        self,
        initial: float,
        progress: float,
        rollouts: int,
    ) -> tuple[float, float]:
        """Entropy aimed at before this rollout and before the next, in nats."""
        schedule, relative = parse_target(self.target)
        unit = initial if relative else 1.0
        # progress is rollouts done over rollouts in all, so one rollout is worth
        # progress / rollouts of it; before the first rollout that is not known yet
        next_progress = progress
        if rollouts:
            next_progress = min(progress * (1 + 1 / rollouts), 1.0)
        target = unit * schedule(progress, rollouts)
        next_target = unit * schedule(next_progress, rollouts + 1)
        return target, next_target

    def _moved(self, reference: float, target: float, h: float) -> float:
        """The reference, ln nats, after one step towards the target.

        Where entropy cannot follow, the reference waits for it: there is no jump once
        it can again.
        """
        reference += self._paced(math.log(target) - reference)
        slack = REACH * self.rate
        reference = min(max(reference, h - slack), h + slack)
        # over a floor entropy is free, and the reference does not follow it up
        return min(reference, math.log(target)) if self.hold == "floor" else reference

    def _paced(self, distance: float) -> float:
        """The part of a distance, in ln nats, that one rollout may go."""
        return min(max(distance, -self.rate), self.rate)

    def _pressure(
        self,
        plant: Plant,
        reference: float,
        ahead: float,
        state: ThermostatState,
    ) -> float:
        """u for this rollout; `ahead` is what the reference will move by after it."""
        updates = state.updates
        limit = self.pressure_limit
        # what is dropped under u < 0 is rare right answers first, so where few tokens
        # have an advantage, they must not carry all of it
        least = 0.0 if self.hold == "floor" else -limit * state.active
        hold = min(max(-plant.drift / plant.gain, least), limit)
        kept = self.momentum**updates
        # rollouts by which the optimizer's momentum delays the answer to a pressure
        delay = late(updates, self.momentum) / (1 - kept) if kept < 1 else 0.0
        # h' of the class's equation
        settled = plant.h + plant.gain * delay * (plant.past - hold)
        cautious_gain = plant.gain + plant.gg / plant.gain
        # by the time this pressure is felt, the reference has moved on too
        wanted = self.response * (reference + delay * ahead - settled) + ahead
        return min(max(hold + wanted / cautious_gain, least), limit)

    def _scale(self, summary: RolloutSummary, before: float) -> float:
        """The rollout's mean size of the tilt; as before where nothing was measured."""
        size = summary.excess_surprisal
        if self.tilt == "bracket":
            size = summary.bracket
        assert size is not None
        return max(size, LEAST_ENTROPY) if math.isfinite(size) else before

    def _tilt(self, old: TokenStats) -> Tensor:
        """b of each token, float32 (b t)."""
        require_stats(self, old)
        tilt = bracket(old) if self.tilt == "bracket" else excess_surprisal(old)
        return tilt.detach().float()
