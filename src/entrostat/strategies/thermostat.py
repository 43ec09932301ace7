"""The thermostat: a closed loop that holds entropy on a reference, up or down, with clip thresholds alone.

Sensor: the rollout's mean token entropy. Actuator: the tilted window of `Thermostat.bounds`, driven by one number, the
pressure u. In between: a Kalman filter that learns how entropy answers (entrostat.plant), and the pressure that, by
what the filter knows, holds entropy and closes a share of the distance to the reference. Derived and measured for this
project: docs/strategies/thermostat.md. The nearest published loop, EntroPIC (arXiv 2511.15248), weights the loss
instead.
"""

import dataclasses
import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats, bracket, excess_surprisal
from entrostat.plant import Plant, correct, late, predict
from entrostat.schedule import Schedule, parse_schedule
from entrostat.strategies.base import RolloutSummary, Strategy, checked, required

LEAST_ENTROPY = 1e-4
"""Nats. Entropy under it counts as it: its logarithm has no floor."""
BLIND_ERROR = 0.05
"""Standard error of ln H where the engine gives none: that of a rollout of 256 responses on the lab's model."""

REACH = 6.0
"""The reference stays within this many steps of its rate from the filtered ln H."""


class ThermostatState(NamedTuple):
    """Everything that the loop remembers."""

    rollouts: int = 0
    """Rollouts observed."""
    measured: int = 0
    """Of them, those whose entropy was finite."""
    active: int = 1
    """0 where the rollout in progress moves nothing: all its advantages are zero."""
    updates: int = 1
    """Optimizer updates on the rollout in progress."""
    initial_entropy: float = 0.0
    """Nats, of the first rollout measured; 0 before it."""
    target: float = 0.0
    """Nats: the schedule's value for the rollout in progress."""
    reference: float = 0.0
    """ln of the governed reference: the target, approached at a bounded rate."""
    pressure: float = 0.0
    """u. Over 0 raises entropy, under 0 lowers it, 0 is plain eps / eps."""
    scale: float = 1.0
    """Mean size of a token's tilt: its x is in units of this."""
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

    @property
    def plant(self) -> Plant:
        return Plant(*(getattr(self, name) for name in Plant._fields))


@dataclasses.dataclass(frozen=True)
class Thermostat(Strategy):
    """Holds the mean token entropy on `target`.

    Per token, with x = b / mean|b| over the rollout's trained tokens, b = ln p + H (or the bracket), all under the old
    policy:

        high = clip(eps (1 - u x), -1, 1)        low = clip(eps (1 + u x), -1, 1)

    A window of constant width whose centre moves to 1 - eps u x: to first order it stands around a policy of another
    temperature. A token with |u x| > 1 is dropped while its ratio is still 1, so the window steers with one update a
    rollout too. No advantage enters.

    One step of the loop, h = ln H: the filter takes the measured h; the reference g moves towards ln(target), by `rate`
    at most and never far from h; then, with `hold` the pressure that would just balance the drift, and h' the entropy
    once the momentum of past pressure is spent,

        u = hold + [response (g - h') + (next g - g)] / gain,     |u| <= pressure_limit

    The gain is inflated by its own uncertainty (cautious control, Astrom and Wittenmark, Adaptive Control, ch. 7).
    There is no integral that could wind up: the filter is told of the pressure as it was applied.
    """

    target: str | float = "0.8x"
    """Nats per token, 0.8x of the initial entropy, or a schedule of either: linear:A:B, cosine:A:B, step:A:B:AT,
    sine:MEAN:AMPLITUDE:PERIOD_IN_ROLLOUTS, piecewise:PROGRESS:VALUE:... An x behind every entropy makes it relative."""
    tilt: Literal["surprisal", "bracket"] = "surprisal"
    """What moves a token's window: ln p + H, or Q_a - E[Q], which costs a forward pass a rollout."""
    eps: float = 0.2
    """Half-width of the window."""
    rate: float = 0.03
    """The reference moves by at most this share of itself a rollout."""
    response: float = 0.8
    """Share of the distance to the reference that a rollout is asked to close."""
    pressure_limit: float = 1.5
    """Largest |u|; beyond it no more entropy comes."""
    momentum: float = 0.9
    """First-moment coefficient of the optimizer: Adam's beta1."""

    def __post_init__(self):
        schedule, _ = parse_target(self.target)
        if schedule.span[0] <= 0:
            raise ValueError(
                f"target must stay over 0 nats, got {self.target!r}, which falls to {schedule.span[0]:g}"
            )
        if self.tilt not in ("surprisal", "bracket"):
            raise ValueError(f"tilt must be surprisal or bracket, got {self.tilt!r}")
        checked("eps", self.eps, low=1e-4, high=1.0, why="in [1e-4, 1]")
        checked("rate", self.rate, low=1e-4, high=1.0, why="in [1e-4, 1]")
        checked("response", self.response, low=0.01, high=1.0, why="in [.01, 1]")
        checked(
            "pressure_limit", self.pressure_limit, low=0.1, high=5.0, why="in [.1, 5]"
        )
        checked("momentum", self.momentum, low=0.0, high=0.99, why="in [0, .99]")

    @property
    def acts_on_fresh(self) -> bool:
        return True

    @property
    def highest(self) -> float:
        return 1.0

    @property
    def per_token(self) -> bool:
        return True

    @property
    def needs_sums(self) -> bool:
        return self.tilt == "bracket"

    def init(self) -> ThermostatState:
        return ThermostatState()

    def observe(
        self, state: ThermostatState, summary: RolloutSummary
    ) -> ThermostatState:
        """One step of the loop.

        A NaN entropy (nothing was measured) leaves the reference and the pressure where they are, and the filter goes
        on without it. A rollout whose advantages are all zero moves nothing, so the filter expects nothing of it.

        Raises ValueError where the engine gives no entropy or no size of the tilt, and, at the first measured rollout,
        for a target that the vocabulary cannot reach.
        """
        entropy, scale = self._measured(summary)
        plant = state.plant
        if state.measured and state.active:
            plant = predict(
                plant, state.pressure, updates=state.updates, beta=self.momentum
            )
        told = {
            "rollouts": state.rollouts + 1,
            "active": 0 if summary.active == 0 else 1,
            "updates": summary.updates or state.updates,
        }
        if not math.isfinite(entropy):
            return state._replace(**told, **(plant._asdict() if state.measured else {}))
        entropy = max(entropy, LEAST_ENTROPY)
        error = (summary.entropy_error or BLIND_ERROR * entropy) / entropy
        h = math.log(entropy)
        if state.measured:
            plant, reference = correct(plant, h, error), state.reference
        else:
            plant, reference = Plant(h=h, hh=error * error), h
            self._check_reach(entropy, summary.ceiling)
        initial = state.initial_entropy or entropy
        now, then = self._targets(initial, summary.progress, state.rollouts)
        reference += self._paced(math.log(now) - reference)
        # where entropy cannot follow, the reference waits for it: no jump once it can again
        reference = min(
            max(reference, plant.h - REACH * self.rate), plant.h + REACH * self.rate
        )
        ahead = self._paced(math.log(then) - reference)
        return state._replace(
            **told,
            **plant._asdict(),
            measured=state.measured + 1,
            initial_entropy=initial,
            target=now,
            reference=reference,
            pressure=self._pressure(plant, reference, ahead, told["updates"]),
            scale=max(scale, LEAST_ENTROPY) if math.isfinite(scale) else state.scale,
        )

    def bounds(self, state: ThermostatState, old: TokenStats) -> ClipBounds:
        if state.measured == 0:
            tilt = torch.zeros_like(
                old.logprobs, dtype=torch.float32, requires_grad=False
            )
        else:
            # an impossible token has ln p = -inf, and 0 x inf is NaN
            tilt = state.pressure * (self._tilt(old) / state.scale).clamp(-1e6, 1e6)
        return ClipBounds(
            (self.eps * (1 + tilt)).clamp(-1, 1), (self.eps * (1 - tilt)).clamp(-1, 1)
        )

    def signals(self, state: ThermostatState) -> dict[str, float]:
        """target and reference (the target, approached at a bounded rate) in nats; pressure u; the filter's numbers."""
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

    def _measured(self, summary: RolloutSummary) -> tuple[float, float]:
        for field in ("entropy", "bracket" if self.needs_sums else "excess_surprisal"):
            if getattr(summary, field) is None:
                required(None, self, field)
        scale = summary.bracket if self.needs_sums else summary.excess_surprisal
        assert summary.entropy is not None and scale is not None
        return summary.entropy, scale

    def _check_reach(self, initial: float, ceiling: float | None) -> None:
        schedule, relative = parse_target(self.target)
        highest = schedule.span[1] * (initial if relative else 1.0)
        if ceiling is not None and highest > ceiling:
            raise ValueError(
                f"target {self.target!r} reaches {highest:.3g} nats, but ln(vocabulary) is {ceiling:.3g} and no policy "
                "can have more: choose a target under it"
            )

    def _targets(
        self, initial: float, progress: float, rollouts: int
    ) -> tuple[float, float]:
        """Entropy aimed at before this rollout and before the next, in nats."""
        schedule, relative = parse_target(self.target)
        unit = initial if relative else 1.0
        following = min(progress * (1 + 1 / rollouts), 1.0) if rollouts else progress
        return unit * schedule(progress, rollouts), unit * schedule(
            following, rollouts + 1
        )

    def _paced(self, way: float) -> float:
        return min(max(way, -self.rate), self.rate)

    def _pressure(
        self, plant: Plant, reference: float, ahead: float, updates: int
    ) -> float:
        limit = self.pressure_limit
        hold = min(max(-plant.drift / plant.gain, -limit), limit)
        kept = self.momentum**updates
        delay = (
            late(updates, self.momentum) / (1 - kept) if kept < 1 else 0.0
        )  # rollouts
        settled = plant.h + plant.gain * delay * (plant.past - hold)
        cautious = plant.gain + plant.gg / plant.gain
        pressure = (
            hold
            + (self.response * (reference + delay * ahead - settled) + ahead) / cautious
        )
        return min(max(pressure, -limit), limit)

    def _tilt(self, old: TokenStats) -> Tensor:
        for field in (
            ("entropy", "sum_p2", "sum_p2_logp") if self.needs_sums else ("entropy",)
        ):
            if getattr(old, field) is None:
                required(None, self, field)
        tilt = bracket(old) if self.needs_sums else excess_surprisal(old)
        return tilt.detach().float()


def parse_target(text: str | float) -> tuple[Schedule, bool]:
    """The schedule, and whether its entropies are in units of the initial one.

    >>> parse_target("0.8x"), parse_target("linear:0.43:0.12")
    ((Constant(value=0.8), True), (Linear(start=0.43, end=0.12), False))

    Raises:
        ValueError: no schedule, or an x behind some of its entropies and not behind others.
    """
    if not isinstance(text, str):
        return parse_schedule(text), False
    words = text.split(":")
    # of its numbers these are entropies; the others are progress or rollouts
    entropies = {
        "sine": slice(1, 3),
        "step": slice(1, 3),
        "piecewise": slice(2, None, 2),
    }.get(words[0], slice(1, None) if len(words) > 1 else slice(0, 1))
    chosen = words[entropies]
    relative = bool(chosen) and all(word.endswith("x") for word in chosen)
    words[entropies] = (
        [word.removesuffix("x") for word in chosen] if relative else chosen
    )
    try:
        return parse_schedule(":".join(words)), relative
    except ValueError as error:
        raise ValueError(
            f"{error}; an x behind every entropy means: of the initial one"
        ) from None
