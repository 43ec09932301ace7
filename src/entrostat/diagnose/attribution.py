"""Sums of first-order entropy change over a stream of dumped tokens, broken down so that every breakdown adds up.

A trained token adds its change, -A r [Q_a - E[Q]] (entrostat.entropy), unless the clip takes its gradient. So each
breakdown has, for each of its parts, how many tokens there were and what change they made, apart for tokens that were
kept, clipped on the low side and clipped on the high side. The sum over kept tokens is what the updates did to entropy
to first order; the sum over clipped ones is what the clip held back.
"""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from entrostat.diagnose.bootstrap import Resamples
from entrostat.diagnose.grid import BINS, bin_of
from entrostat.diagnose.plan import Plan, Source
from entrostat.diagnose.sums import Floats, Ints, KeyedSums, distinct, summed
from entrostat.diagnose.tokens import EVENTS, HIGH, Tokens, tokens_of
from entrostat.entropy import Region

POSITIONS = 32
"""Bins of the position in the response: 1, 2 and 3, 4 to 7, and so on."""
SIGNS = 3
CELLS = len(Region) * len(EVENTS)
"""Region times event, in this order."""


@dataclass(frozen=True)
class Split:
    """Tokens and change by part and event, (parts, events) each."""

    keys: Ints
    """(parts, width)."""
    tokens: Floats
    change: Floats
    """Sums, nats per unit step."""


@dataclass
class InForce:
    """Clip half-widths of tokens, where a dump has them."""

    tokens: int = 0
    finite: int = 0
    total: float = 0.0
    """Of the finite ones."""
    least: float = math.inf
    most: float = -math.inf

    def add(self, values: np.ndarray) -> None:
        if len(values):
            finite = values[np.isfinite(values)].astype(np.float64)
            self.tokens += len(values)
            self.finite += len(finite)
            self.total += float(finite.sum())
            self.least, self.most = (
                min(self.least, float(values.min())),
                max(self.most, float(values.max())),
            )


@dataclass(frozen=True)
class Attribution:
    """All sums of one diagnosis."""

    plan: Plan
    tokens: int
    completions: int
    """Rows: a completion counts in each pass over it."""
    regions: Split
    signs: Split
    """Keys: -1, 0 and 1."""
    positions: Split
    """Keys: the k of positions 2^k to 2^(k+1) - 1, counted from 1."""
    ids: Split
    groups: Split
    """Keys: path, step, group. Where the dump has no groups: number of the file, step, sample."""
    rewards: Floats
    """(groups, 3): rows, rows with a reward, rows whose reward is at least that of a right answer."""
    steps: Split
    """Keys: path, step."""
    entropy: Floats
    """(steps, 2): sum of entropy at the start of the rollout, and tokens it is known at."""
    bins: Split
    """By bin of the grid of thresholds; keys are the bins. Empty where ratios are not known. Without tokens that a dual
    clip has taken, whatever the thresholds."""
    agree: float | None
    """Share of tokens with A > 0 in completions with a right answer, or A < 0 in others, among those with A not 0 in
    completions that were scored; None where there is none."""
    fresh: int
    """Tokens whose ratio is exactly 1: no threshold over 0 clips them."""
    in_force: dict[str, "InForce"]
    """Thresholds "low" and "high" over the tokens that each can clip."""
    sizes: Ints
    """(steps,): distinct completions of each rollout."""
    kl: Floats
    """(passes, 2) in each pass after an update: sum of Tokens.kl and tokens. Empty where ratios are not known or passes
    not told apart."""
    passes: Ints
    """(passes, 3) of kl: path, step, update; ascending."""
    resampled: Floats
    """(resamples, 1 + CELLS + BINS): tokens, change by region and event, change by bin."""


class Attributor:
    """Takes batches of rows one by one."""

    def __init__(self, plan: Plan, *, right: float):
        """right: the least reward of a right answer."""
        self.plan, self.right = plan, right
        self.tokens = self.completions = 0
        width = 2 * len(EVENTS)
        self._dense = {
            "regions": np.zeros((len(Region), width)),
            "signs": np.zeros((SIGNS, width)),
            "positions": np.zeros((POSITIONS, width)),
            "bins": np.zeros((BINS, width)),
        }
        self._ids = KeyedSums(width=1, values=width)
        self._groups = KeyedSums(width=3, values=width + 3)
        self._steps = KeyedSums(width=2, values=width + 2)
        self._samples = KeyedSums(width=3, values=0)
        self._kl = KeyedSums(width=3, values=2)
        self._agree = np.zeros(2)
        self._fresh = 0
        self._in_force = {"low": InForce(), "high": InForce()}
        self._resamples = Resamples(1 + CELLS + BINS)

    def add(self, source: Source, file: int, batch: pa.RecordBatch) -> Ints:
        """Adds the rows of `batch`, of the file with number `file`, but for those that it returns.

        Those are rows, by their place in the batch, with numbers that are finite and a product of them that is not.
        """
        tokens = tokens_of(batch, self.plan)
        over = np.zeros(0, np.int64)
        if tokens.change is not None and not np.isfinite(tokens.change).all():
            over = np.unique(tokens.row[~np.isfinite(tokens.change)])
            batch = batch.filter(pa.array(~np.isin(np.arange(batch.num_rows), over)))
            tokens = tokens_of(batch, self.plan)
        self.tokens += len(tokens.row)
        self.completions += batch.num_rows
        if len(tokens.row):
            change = (
                np.zeros(len(tokens.row)) if tokens.change is None else tokens.change
            )
            self._add_dense(tokens, change)
            keys, at = distinct(tokens.ids[:, None])
            self._ids.add(keys, _by(at, len(keys), tokens.event, change))
            self._add_groups(source, file, batch, tokens, change)
            self._add_steps(source, batch, tokens, change)
        return over

    def _add_dense(self, tokens: Tokens, change: Floats) -> None:
        parts = {
            "signs": np.sign(tokens.advantages).astype(np.int64) + 1,
            "positions": np.minimum(
                np.frexp(tokens.position + 1.0)[1].astype(np.int64) - 1, POSITIONS - 1
            ),
        }
        if tokens.region is not None:
            parts["regions"] = tokens.region
        if tokens.logratio is not None:
            at, free = _bins(tokens)
            self._dense["bins"] += _by(at, BINS, tokens.event[free], change[free])
            self._fresh += int((tokens.logratio == 0).sum())
        for side, able in (
            ("low", tokens.advantages < 0),
            ("high", tokens.advantages > 0),
        ):
            bound = getattr(tokens, side)
            if bound is not None:
                self._in_force[side].add(bound[able])
        for name, part in parts.items():
            self._dense[name] += _by(part, len(self._dense[name]), tokens.event, change)

    def _add_groups(
        self,
        source: Source,
        file: int,
        batch: pa.RecordBatch,
        tokens: Tokens,
        change: Floats,
    ) -> None:
        rows, grouped = batch.num_rows, self.plan.has("group")
        where = np.full(rows, source.path if grouped else file)
        unit = batch.column("group" if grouped else "sample").to_numpy()
        keys, at = distinct(
            np.stack([where, batch.column("step").to_numpy(), unit], axis=1)
        )
        reward = np.full(rows, np.nan)
        if self.plan.has("reward"):
            reward = batch.column("reward").to_numpy(zero_copy_only=False)
        known, right = np.isfinite(reward), reward >= self.right
        scores = summed(
            at,
            np.stack([np.ones(rows), known, right], axis=1, dtype=np.float64),
            len(keys),
        )
        of_token = at[tokens.row]
        self._groups.add(
            keys,
            np.concatenate(
                [_by(of_token, len(keys), tokens.event, change), scores], axis=1
            ),
        )
        self._resamples.add(keys, _resampled(of_token, len(keys), tokens, change))
        counted = (tokens.advantages != 0) & known[tokens.row]
        self._agree += [
            (counted & (right[tokens.row] == (tokens.advantages > 0))).sum(),
            counted.sum(),
        ]

    def _add_steps(
        self, source: Source, batch: pa.RecordBatch, tokens: Tokens, change: Floats
    ) -> None:
        path, step = (
            np.full(batch.num_rows, source.path),
            batch.column("step").to_numpy(),
        )
        self._samples.add(
            np.stack([path, step, batch.column("sample").to_numpy()], axis=1),
            np.zeros((len(path), 0)),
        )
        if tokens.kl is not None and self.plan.has("update"):
            updates = batch.column("update").to_numpy().astype(np.int64)
            passes = np.stack([path, step, updates], axis=1)[tokens.row]
            after = passes[:, 2] > 0
            self._kl.add(
                passes[after],
                np.stack([tokens.kl[after], np.ones(int(after.sum()))], axis=1),
            )
        keys, at = distinct(np.stack([path, step], axis=1))
        of_token = at[tokens.row]
        start = np.full(len(of_token), np.nan) if tokens.start is None else tokens.start
        seen = np.isfinite(start)
        entropy = summed(
            of_token[seen],
            np.stack([start[seen], np.ones(int(seen.sum()))], axis=1),
            len(keys),
        )
        self._steps.add(
            keys,
            np.concatenate(
                [_by(of_token, len(keys), tokens.event, change), entropy], axis=1
            ),
        )

    def result(self) -> Attribution:
        """ValueError where no token was added."""
        if not self.tokens:
            raise ValueError("no trained token in the dump: nothing to diagnose")
        groups, group_sums = self._groups.result()
        steps, step_sums = self._steps.result()
        ids, id_sums = self._ids.result()
        samples, passes = self._samples.result()[0], self._kl.result()
        dense = {
            name: _split(np.arange(len(sums))[:, None], sums)
            for name, sums in self._dense.items()
        }
        signs = Split(
            dense["signs"].keys - 1, dense["signs"].tokens, dense["signs"].change
        )
        return Attribution(
            plan=self.plan,
            tokens=self.tokens,
            completions=self.completions,
            regions=dense["regions"],
            signs=signs,
            positions=dense["positions"],
            bins=dense["bins"],
            ids=_split(ids, id_sums),
            groups=_split(groups, group_sums),
            rewards=group_sums[:, 2 * len(EVENTS) :],
            steps=_split(steps, step_sums),
            entropy=step_sums[:, 2 * len(EVENTS) :],
            agree=float(self._agree[0] / self._agree[1]) if self._agree[1] else None,
            fresh=self._fresh,
            in_force=self._in_force,
            sizes=np.bincount(distinct(samples[:, :2])[1], minlength=len(steps)),
            kl=passes[1],
            passes=passes[0],
            resampled=self._resamples.sums,
        )


def _by(part: Ints, size: int, event: Ints, change: Floats) -> Floats:
    """Tokens a part and event, then change a part and event: (size, 2 events)."""
    code = part * len(EVENTS) + event
    tokens = np.bincount(code, minlength=size * len(EVENTS)).reshape(size, -1)
    sums = np.bincount(code, weights=change, minlength=size * len(EVENTS)).reshape(
        size, -1
    )
    return np.concatenate([tokens, sums], axis=1, dtype=np.float64)


def _split(keys: Ints, sums: Floats) -> Split:
    return Split(keys, sums[:, : len(EVENTS)], sums[:, len(EVENTS) : 2 * len(EVENTS)])


def _resampled(at: Ints, size: int, tokens: Tokens, change: Floats) -> Floats:
    """What `Attribution.resampled` sums, by group: (size, 1 + CELLS + BINS)."""
    out = np.zeros((size, 1 + CELLS + BINS))
    out[:, 0] = np.bincount(at, minlength=size)
    region = np.zeros_like(at) if tokens.region is None else tokens.region
    cell = at * CELLS + region * len(EVENTS) + tokens.event
    out[:, 1 : 1 + CELLS] = np.bincount(
        cell, weights=change, minlength=size * CELLS
    ).reshape(size, CELLS)
    if tokens.logratio is not None:
        bins, free = _bins(tokens)
        sums = np.bincount(
            at[free] * BINS + bins, weights=change[free], minlength=size * BINS
        )
        out[:, 1 + CELLS :] = sums.reshape(size, BINS)
    return out


def _bins(tokens: Tokens) -> tuple[Ints, np.ndarray]:
    """The bin of each token that no dual clip has taken, and which tokens those are."""
    assert tokens.logratio is not None
    free = (tokens.event != HIGH) | (tokens.advantages > 0)
    return bin_of(tokens.logratio[free], tokens.advantages[free]), free
