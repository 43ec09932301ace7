"""How the numbers of the map go with the learning rate and the batch: exponents of power laws, for bench/regime.py.

The law is y = a x^k, fitted to the signed means of the cells by least squares with the weights 1 / (standard error)^2.
Not taken: a line through logarithms of absolute values, since some means can't be told from 0, and a logarithm takes
their noise for size. For each k the best a is known, so that k is found on a grid.

The interval is a percentile bootstrap: seeds are drawn anew in each cell, and rollouts within each seed drawn. Rollouts
of a seed follow one another, so that rollouts alone give too narrow an interval. With 3 or 4 seeds it is a rough one.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from entrostat.lab.paired import PairedRollout
from entrostat.lab.point import Point

Floats = NDArray[np.float64]

GRID = np.arange(-200, 601) / 100
"""Exponents that are tried. Where an interval reaches an end of it the exponent is not known."""
RESAMPLES = 2000
RATE = 2.5e-5
"""The learning rate at which batches and stalenesses are compared."""
EPS = 0.05
"""The threshold that all these cells have in common and that clips about as much as public runs do."""


class Cell(NamedTuple):
    """What the fits take of a cell: a value a rollout."""

    name: str
    responses: int
    updates: int
    learning_rate: float
    staleness: int
    eps: tuple[float, ...]
    """Falling."""
    shares: tuple[float, ...]
    """Of each threshold: share of the trained tokens that it clips, the mean of the two sides' arms."""
    drift: Floats
    """(seeds, rollouts): change of ln H without a clip."""
    kl: Floats
    """(seeds, rollouts): without a clip, nats a token."""
    odd: Floats
    """(seeds, rollouts, thresholds)"""


class Law(NamedTuple):
    """An exponent with its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """False where the interval reaches an end of GRID."""
        return float(GRID[0]) < self.low and self.high < float(GRID[-1])


def cell(name: str, point: Point, eps: Sequence[float], rows: Sequence[PairedRollout]) -> Cell:
    """A cell of the map from its rows: whole seeds, the base first, then low and high alone of each threshold."""
    shape = (len({row.seed for row in rows}), -1)
    branches = np.array([row.branches for row in rows])  # (rollouts, arms, fields of Branch)
    log_entropy, kl, clip_low, clip_high = (np.moveaxis(branches, -1, 0)[i] for i in (0, 2, 4, 5))
    lows, highs = slice(1, None, 2), slice(2, None, 2)
    odd = (log_entropy[:, lows] - log_entropy[:, highs]) / 2
    shares = (clip_low[:, lows].mean(0) + clip_high[:, highs].mean(0)) / 2
    before = np.array([row.before for row in rows])
    return Cell(
        name=name,
        responses=point.prompts * point.samples,
        updates=point.updates_per_rollout,
        learning_rate=point.learning_rate,
        staleness=point.staleness,
        eps=tuple(eps),
        shares=tuple(shares.tolist()),
        drift=(log_entropy[:, 0] - before).reshape(shape),
        kl=kl[:, 0].reshape(shape),
        odd=odd.reshape(*shape, len(eps)),
    )


def law(x: Sequence[float], values: Sequence[Floats], *, resamples: int = RESAMPLES) -> Law:
    """The exponent of y = a x^k.

    Args:
        x: (cells,), over 0.
        values: of each cell, (seeds, rollouts); their mean is y.

    Raises:
        ValueError: fewer than two cells, or one whose values are all equal, which has no weight.
    """
    errors = [each.std(ddof=1) / math.sqrt(each.size) for each in values]
    if len(x) < 2 or not all(error > 0 for error in errors):
        raise ValueError("an exponent takes two cells at least, each of values that differ")
    rng = np.random.default_rng(0)
    drawn = np.stack([_resampled(each, resamples, rng) for each in values], axis=1)
    means = np.array([[each.mean() for each in values]])
    weights = np.array(errors) ** -2.0
    low, high = np.quantile(_exponents(x, drawn, weights), [0.025, 0.975])
    return Law(float(_exponents(x, means, weights)[0]), float(low), float(high))


def _exponents(x: Sequence[float], y: Floats, weights: Floats) -> Floats:
    """The best of GRID for each row of y, (n, cells): what the best a leaves of sum w (y - a x^k)^2 is least."""
    logs = np.log(x)
    powers = np.exp(np.outer(logs - logs.mean(), GRID))
    taken = ((y * weights) @ powers) ** 2 / (weights @ powers**2)
    return GRID[taken.argmax(axis=-1)]


def _resampled(values: Floats, count: int, rng: np.random.Generator) -> Floats:
    seeds, rollouts = values.shape
    drawn = rng.integers(seeds, size=(count, seeds, 1))
    return values[drawn, rng.integers(rollouts, size=(count, seeds, rollouts))].mean(axis=(1, 2))


def common_share(cells: Sequence[Cell]) -> float:
    """The share of clipped tokens in the middle, on a log scale, of those that the thresholds of all cells span.

    Raises ValueError where there is none.
    """
    least, most = max(min(each.shares) for each in cells), min(max(each.shares) for each in cells)
    if least > most:
        raise ValueError(f"no share of clipped tokens is within all cells: {least:.2%} is over {most:.2%}")
    return math.sqrt(least * most)


def odd_at_share(of: Cell, share: float) -> Floats:
    """The odd part where so many tokens are clipped, (seeds, rollouts): linear in the log of the share between two
    thresholds."""
    logs = np.log(of.shares)
    above = int(np.clip(np.searchsorted(logs, math.log(share)), 1, len(logs) - 1))
    way = (math.log(share) - logs[above - 1]) / (logs[above] - logs[above - 1])
    return of.odd[..., above - 1] * (1 - way) + of.odd[..., above] * way


def odd_at(of: Cell, eps: float) -> Floats:
    """The odd part of a threshold, (seeds, rollouts)."""
    return of.odd[..., of.eps.index(eps)]


def rates(cells: Sequence[Cell]) -> list[Cell]:
    """Those that differ in the learning rate alone."""
    found = [each for each in cells if (each.responses, each.updates, each.staleness) == (256, 8, 0)]
    return sorted(found, key=lambda each: each.learning_rate)


def batches(cells: Sequence[Cell]) -> list[Cell]:
    """Those at RATE that differ in the batch: of each size the one with 16 updates, or else with the most."""
    found: dict[int, Cell] = {}
    for each in sorted(cells, key=lambda each: (each.responses, each.updates)):
        if (each.learning_rate, each.staleness) == (RATE, 0):
            found[each.responses] = each
    return list(found.values())


class _Asked(NamedTuple):
    """An exponent that is asked for."""

    quantity: str
    at: str
    cells: list[Cell]
    values: list[Floats]
    theory: float | None
    source: str
    power: int = 1
    """Of the quantity that the values are."""


def fits(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """All exponents, JSON-able: "quantity", "at" (where or how it is taken), "against", "cells" (their names), "theory"
    (its exponent, or None), "source" (the theory's), "exponent" (value, low, high) and "known" (False where the data
    can't tell it)."""
    out = []
    for asked in _asked(rates(cells), batches(cells)):
        sizes = {each.responses for each in asked.cells}
        x = [float(each.responses) if len(sizes) > 1 else each.learning_rate for each in asked.cells]
        found = law(x, asked.values)
        out.append(
            {
                "quantity": asked.quantity,
                "at": asked.at,
                "against": "responses" if len(sizes) > 1 else "learning rate",
                "cells": [each.name for each in asked.cells],
                "theory": asked.theory,
                "source": asked.source,
                "exponent": {name: value / asked.power for name, value in found._asdict().items()},
                "known": found.known,
            }
        )
    return out


def _asked(by_rate: list[Cell], by_batch: list[Cell]) -> list[_Asked]:
    clip, none = "2509.26114, theorem 1", ""
    asked = [
        _Asked("drift", "mean", by_rate, [each.drift for each in by_rate], 2, "2512.16912, theorem 4.1"),
        _Asked("drift", "root mean square", by_rate, [each.drift**2 for each in by_rate], 1, "first order", power=2),
        _Asked("KL", "mean", by_rate, [each.kl for each in by_rate], 2, "second order"),
    ]
    for of, theory, source in ((by_rate, 1, clip), (by_batch, None, none)):
        share = common_share(of)
        fixed = [odd_at_share(each, share) for each in of]
        asked.append(_Asked("odd part", f"{share:.2%} of tokens clipped", of, fixed, theory, source))
        asked.append(_Asked("odd part", f"threshold {EPS:g}", of, [odd_at(each, EPS) for each in of], None, none))
    return asked
