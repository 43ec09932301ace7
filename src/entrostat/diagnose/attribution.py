"""Sums of first-order entropy change over a stream of dumped tokens, in breakdowns.

A trained token adds its change, -A r [Q_a - E[Q]] (entrostat.entropy), unless the clip
takes its gradient. So a breakdown has, for each of its parts, the number of tokens and
their change, and both apart for tokens that were kept, clipped on the low side and
clipped on the high side. The sum over kept tokens is what the updates did to entropy to
first order. The sum over clipped tokens is what the clip held back. Every breakdown adds
up to the same totals.
"""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from entrostat.diagnose.bootstrap import Resamples
from entrostat.diagnose.grid import BINS
from entrostat.diagnose.plan import Plan, Source
from entrostat.diagnose.sums import Floats, Ints, KeyedSums, distinct, summed
from entrostat.diagnose.tokens import EVENTS, KEPT, Tokens, tokens_of
from entrostat.entropy import Region

POSITIONS = 32
"""Bins of the position in the response: 1, 2 and 3, 4 to 7, and so on."""
SIGNS = 3
_CELLS = len(Region) * len(EVENTS)
"""Region times event, in this order."""
_BY_EVENT = 2 * len(EVENTS)
"""Columns of a breakdown's sums: tokens by event, then change by event."""


@dataclass(frozen=True)
class Split:
    """One breakdown: tokens and change by part and event, (parts, events) each."""

    keys: Ints
    """(parts, width): what each part is."""
    tokens: Floats
    """Counts."""
    change: Floats
    """Sums, nats per unit step."""

    @property
    def kept(self) -> Floats:
        """(parts,): the change that was made."""
        return self.change[:, KEPT]


@dataclass
class InForce:
    """Clip half-widths of the tokens of one side, where a dump has them."""

    tokens: int = 0
    finite: int = 0
    total: float = 0.0
    """Of the finite ones."""
    least: float = math.inf
    most: float = -math.inf

    def add(self, values: np.ndarray) -> None:
        if not len(values):
            return
        finite = values[np.isfinite(values)].astype(np.float64)
        self.tokens += len(values)
        self.finite += len(finite)
        self.total += float(finite.sum())
        self.least = min(self.least, float(values.min()))
        self.most = max(self.most, float(values.max()))

    @property
    def mean(self) -> float:
        """Of the finite ones; inf where there is none."""
        return self.total / self.finite if self.finite else math.inf


@dataclass(frozen=True)
class Attribution:
    """All sums of one diagnosis."""

    plan: Plan
    tokens: int
    """Trained tokens."""
    completions: int
    """Rows: a completion counts in each pass over it."""
    regions: Split
    """A part per Region, in its order."""
    signs: Split
    """By the sign of the advantage. Keys: -1, 0 and 1."""
    positions: Split
    """Keys: the k of positions 2^k to 2^(k+1) - 1, counted from 1."""
    ids: Split
    """By token id."""
    groups: Split
    """Keys: path, step, group. Where the dump has no groups: number of the file, step,
    sample."""
    rewards: Floats
    """(groups, 3): rows, rows with a reward, rows whose reward is at least that of a
    right answer."""
    steps: Split
    """By rollout. Keys: path, step."""
    entropy: Floats
    """(steps, 2): sum of entropy at the start of the rollout, and number of tokens where
    it is known."""
    bins: Split
    """By bin of the grid of thresholds; keys are the bins. All zero where ratios are not
    known. Without tokens that a dual clip has taken, whatever the thresholds."""
    agree: float | None
    """Among tokens with A not 0 in completions that were scored: the share with A > 0 in
    a right answer or A < 0 in a wrong one. None where there is no such token."""
    fresh: int
    """Tokens whose ratio is exactly 1: no threshold over 0 clips them."""
    in_force: dict[str, InForce]
    """Thresholds "low" and "high" over the tokens that each can clip."""
    sizes: Ints
    """(steps,): distinct completions of each rollout."""
    kl: Floats
    """(passes, 2) of each pass after an update: sum of Tokens.kl, and tokens. Empty where
    ratios are not known or passes are not told apart."""
    passes: Ints
    """(passes, 3) of kl: path, step, update; ascending."""
    resampled: Floats
    """(resamples, 1 + regions * events + BINS): tokens, change by region and event,
    change by bin, each summed over the groups of one resample. Read it by the properties
    below."""

    @property
    def resampled_tokens(self) -> Floats:
        """(resamples,); NaN for a resample without tokens."""
        tokens = self.resampled[:, 0]
        return np.where(tokens > 0, tokens, np.nan)

    @property
    def resampled_cells(self) -> Floats:
        """Change by region and event, (resamples, regions, events)."""
        cells = self.resampled[:, 1 : 1 + _CELLS]
        return cells.reshape(len(cells), len(Region), len(EVENTS))

    @property
    def resampled_bins(self) -> Floats:
        """Change by bin, (resamples, BINS)."""
        return self.resampled[:, 1 + _CELLS :]


class Attributor:
    """Takes batches of rows one by one and adds them up."""

    def __init__(self, plan: Plan, *, right: float):
        """right: the least reward of a right answer."""
        self.plan = plan
        self.right = right
        self.tokens = 0
        self.completions = 0
        # breakdowns whose parts are known beforehand
        self._regions = np.zeros((len(Region), _BY_EVENT))
        self._signs = np.zeros((SIGNS, _BY_EVENT))
        self._positions = np.zeros((POSITIONS, _BY_EVENT))
        self._bins = np.zeros((BINS, _BY_EVENT))
        # those whose parts are met on the way, with sums of their own behind
        self._ids = KeyedSums(width=1, values=_BY_EVENT)
        self._groups = KeyedSums(width=3, values=_BY_EVENT + 3)
        self._steps = KeyedSums(width=2, values=_BY_EVENT + 2)
        self._samples = KeyedSums(width=3, values=0)
        self._kl = KeyedSums(width=3, values=2)
        self._agreeing = 0
        self._scored = 0
        self._fresh = 0
        self._in_force = {"low": InForce(), "high": InForce()}
        self._resamples = Resamples(1 + _CELLS + BINS)

    def add(self, source: Source, file: int, batch: pa.RecordBatch) -> Ints:
        """Adds the rows of `batch`, of the file with number `file`.

        Returns:
            Rows that were left out, by their place in the batch: their numbers are
            finite, but the change made of them is not.
        """
        tokens = tokens_of(batch, self.plan)
        overflowing = np.unique(tokens.row[~np.isfinite(tokens.change)])
        if len(overflowing):
            left = ~np.isin(np.arange(batch.num_rows), overflowing)
            batch = batch.filter(pa.array(left))
            tokens = tokens_of(batch, self.plan)
        self.tokens += len(tokens.row)
        self.completions += batch.num_rows
        if len(tokens.row):
            self._add_tokens(tokens)
            self._add_bounds(tokens)
            self._add_groups(source, file, batch, tokens)
            self._add_steps(source, batch, tokens)
        return overflowing

    def _add_tokens(self, tokens: Tokens) -> None:
        """To the breakdowns by what a token is in itself."""
        self._regions += _by_event(tokens.region, len(Region), tokens)
        signs = np.sign(tokens.advantages).astype(np.int64)
        self._signs += _by_event(signs + 1, SIGNS, tokens)
        # frexp gives the k of 2^(k-1) <= x < 2^k exactly, which log2 need not
        octaves = np.frexp(tokens.position + 1.0)[1].astype(np.int64) - 1
        octaves = np.minimum(octaves, POSITIONS - 1)
        self._positions += _by_event(octaves, POSITIONS, tokens)
        ids, which = distinct(tokens.ids[:, None])
        self._ids.add(ids, _by_event(which, len(ids), tokens))
        if tokens.bin is not None:
            # the last bin is NO_BIN, which no threshold concerns
            self._bins += _by_event(tokens.bin, BINS + 1, tokens)[:BINS]
        if tokens.logratio is not None:
            self._fresh += int((tokens.logratio == 0).sum())

    def _add_bounds(self, tokens: Tokens) -> None:
        """The thresholds in force, at the tokens that each can clip."""
        if tokens.low is not None:
            self._in_force["low"].add(tokens.low[tokens.advantages < 0])
        if tokens.high is not None:
            self._in_force["high"].add(tokens.high[tokens.advantages > 0])

    def _add_groups(
        self, source: Source, file: int, batch: pa.RecordBatch, tokens: Tokens
    ) -> None:
        """To the breakdown by prompt, and to the resamples, which draw prompts."""
        grouped = self.plan.has("group")
        unit = batch.column("group" if grouped else "sample").to_numpy()
        # ranks of a run share a group over files; a sample may be in two runs of a path
        place = np.full(batch.num_rows, source.path if grouped else file)
        keys, of_row = distinct(np.stack([place, _steps(batch), unit], axis=1))
        of_token = of_row[tokens.row]
        sums = _by_event(of_token, len(keys), tokens)

        reward = np.full(batch.num_rows, np.nan)
        if self.plan.has("reward"):
            reward = batch.column("reward").to_numpy(zero_copy_only=False)
        scored = np.isfinite(reward)
        right = reward >= self.right
        counts = np.stack([np.ones(len(reward)), scored, right], 1, dtype=np.float64)
        scores = summed(of_row, counts, len(keys))

        self._groups.add(keys, np.concatenate([sums, scores], axis=1))
        self._resamples.add(keys, _for_resamples(of_token, len(keys), tokens))
        self._add_agreement(tokens, scored, right)

    def _add_agreement(
        self, tokens: Tokens, scored: np.ndarray, right: np.ndarray
    ) -> None:
        """How often the advantage has the sign of the answer; scored and right by row."""
        counted = (tokens.advantages != 0) & scored[tokens.row]
        agrees = right[tokens.row] == (tokens.advantages > 0)
        self._agreeing += int((counted & agrees).sum())
        self._scored += int(counted.sum())

    def _add_steps(self, source: Source, batch: pa.RecordBatch, tokens: Tokens) -> None:
        """To the breakdown by rollout, with its entropy, completions and KL."""
        path = np.full(batch.num_rows, source.path)
        step = _steps(batch)
        sample = batch.column("sample").to_numpy()
        self._samples.add(
            np.stack([path, step, sample], axis=1), np.zeros((batch.num_rows, 0))
        )

        keys, of_row = distinct(np.stack([path, step], axis=1))
        of_token = of_row[tokens.row]
        sums = _by_event(of_token, len(keys), tokens)
        known = np.isfinite(tokens.start)
        entropy = summed(of_token[known], _with_count(tokens.start[known]), len(keys))
        self._steps.add(keys, np.concatenate([sums, entropy], axis=1))

        if tokens.kl is not None and self.plan.has("update"):
            update = batch.column("update").to_numpy().astype(np.int64)
            passes = np.stack([path, step, update], axis=1)[tokens.row]
            after = passes[:, 2] > 0
            self._kl.add(passes[after], _with_count(tokens.kl[after]))

    def result(self) -> Attribution:
        """ValueError where no token was added."""
        if not self.tokens:
            raise ValueError("no trained token in the dump: nothing to diagnose")
        ids, id_sums = self._ids.result()
        groups, group_sums = self._groups.result()
        steps, step_sums = self._steps.result()
        samples, _ = self._samples.result()
        passes, kl = self._kl.result()
        _, step_of_sample = distinct(samples[:, :2])
        return Attribution(
            plan=self.plan,
            tokens=self.tokens,
            completions=self.completions,
            regions=_split(_numbered(len(Region)), self._regions),
            signs=_split(_numbered(SIGNS) - 1, self._signs),
            positions=_split(_numbered(POSITIONS), self._positions),
            bins=_split(_numbered(BINS), self._bins),
            ids=_split(ids, id_sums),
            groups=_split(groups, group_sums),
            rewards=group_sums[:, _BY_EVENT:],
            steps=_split(steps, step_sums),
            entropy=step_sums[:, _BY_EVENT:],
            agree=self._agreeing / self._scored if self._scored else None,
            fresh=self._fresh,
            in_force=self._in_force,
            sizes=np.bincount(step_of_sample, minlength=len(steps)),
            kl=kl,
            passes=passes,
            resampled=self._resamples.sums,
        )


def _steps(batch: pa.RecordBatch) -> Ints:
    return batch.column("step").to_numpy()


def _with_count(values: Floats) -> Floats:
    """(n, 2): each value, and 1."""
    return np.stack([values, np.ones(len(values))], axis=1)


def _by_event(part: Ints, parts: int, tokens: Tokens) -> Floats:
    """Tokens, then change, by part and event: (parts, _BY_EVENT).

    Args:
        part: of each token, (n,) in 0..parts - 1.
    """
    cell = part * len(EVENTS) + tokens.event
    cells = parts * len(EVENTS)
    counts = np.bincount(cell, minlength=cells).reshape(parts, -1)
    sums = np.bincount(cell, tokens.change, minlength=cells).reshape(parts, -1)
    return np.concatenate([counts, sums], axis=1, dtype=np.float64)


def _for_resamples(group: Ints, groups: int, tokens: Tokens) -> Floats:
    """The columns of `Attribution.resampled`, by group."""
    count = np.bincount(group, minlength=groups)[:, None]
    cell = group * _CELLS + tokens.region * len(EVENTS) + tokens.event
    cells = np.bincount(cell, tokens.change, minlength=groups * _CELLS)
    bins = np.zeros(groups * (BINS + 1))
    if tokens.bin is not None:
        at = group * (BINS + 1) + tokens.bin
        bins = np.bincount(at, tokens.change, minlength=len(bins))
    within_grid = bins.reshape(groups, BINS + 1)[:, :BINS]
    columns = [count, cells.reshape(groups, _CELLS), within_grid]
    return np.concatenate(columns, axis=1, dtype=np.float64)


def _numbered(parts: int) -> Ints:
    """Keys of a breakdown whose parts are numbers, (parts, 1)."""
    return np.arange(parts)[:, None]


def _split(keys: Ints, sums: Floats) -> Split:
    return Split(keys, sums[:, : len(EVENTS)], sums[:, len(EVENTS) : _BY_EVENT])
