"""Adds up the tokens of a stream of dumped rows into an `Attribution`."""

import numpy as np
import pyarrow as pa

from entrostat.diagnose.attribution import CELLS, Attribution, InForce, Split
from entrostat.diagnose.bootstrap import Resamples
from entrostat.diagnose.grid import BINS
from entrostat.diagnose.plan import Plan, Source
from entrostat.diagnose.sums import KeyedSums, distinct, summed
from entrostat.diagnose.tokens import EVENTS, Tokens, tokens_of
from entrostat.diagnose.types import Flags, Floats, Ints
from entrostat.entropy import Region

POSITIONS = 32
"""Bins of the position in the response: 1, 2 and 3, 4 to 7, and so on."""
SIGNS = 3
_BY_EVENT = 2 * len(EVENTS)
"""Columns of a breakdown's sums: tokens by event, then change by event."""


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
        self._resamples = Resamples(1 + CELLS + BINS)

    def add(
        self,
        source: Source,
        file: int,
        batch: pa.RecordBatch,
    ) -> Ints:
        """Adds the rows of `batch`, of the file with number `file`.

        Returns:
            Rows that were left out, by their place in the batch: their numbers are
            finite, but the change made of them is not.
        """
        tokens = tokens_of(batch, self.plan)
        overflows = ~np.isfinite(tokens.change)
        overflowing = np.unique(tokens.row[overflows])
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
        self._positions += _by_event(_octaves(tokens.position), POSITIONS, tokens)
        ids, which = distinct(tokens.ids[:, None])
        id_sums = _by_event(which, len(ids), tokens)
        self._ids.add(ids, id_sums)
        if tokens.bin is not None:
            sums = _by_event(tokens.bin, BINS + 1, tokens)
            # the last is NO_BIN, which no threshold concerns
            self._bins += sums[:BINS]
        if tokens.logratio is not None:
            self._fresh += int((tokens.logratio == 0).sum())

    def _add_bounds(self, tokens: Tokens) -> None:
        """The thresholds in force, at the tokens that each can clip."""
        if tokens.low is not None:
            able = tokens.advantages < 0
            self._in_force["low"].add(tokens.low[able])
        if tokens.high is not None:
            able = tokens.advantages > 0
            self._in_force["high"].add(tokens.high[able])

    def _add_groups(
        self,
        source: Source,
        file: int,
        batch: pa.RecordBatch,
        tokens: Tokens,
    ) -> None:
        """To the breakdown by prompt, and to the resamples, which draw prompts."""
        grouped = self.plan.has("group")
        unit = batch.column("group" if grouped else "sample").to_numpy()
        # ranks of a run share a group over files; a sample may be in two runs of a path
        place = np.full(batch.num_rows, source.path if grouped else file)
        key_of_row = np.column_stack((place, _steps(batch), unit))
        keys, of_row = distinct(key_of_row)
        groups = len(keys)
        of_token = of_row[tokens.row]
        sums = _by_event(of_token, groups, tokens)

        reward = self._rewards(batch)
        scored = np.isfinite(reward)
        right = reward >= self.right
        counts = np.ones((batch.num_rows, 3))
        counts[:, 1] = scored
        counts[:, 2] = right
        scores = summed(of_row, counts, groups)

        self._groups.add(keys, np.hstack((sums, scores)))
        drawn = _for_resamples(of_token, groups, tokens)
        self._resamples.add(keys, drawn)
        self._add_agreement(tokens, scored, right)

    def _rewards(self, batch: pa.RecordBatch) -> np.ndarray:
        """Of each row; NaN where it was not scored."""
        if not self.plan.has("reward"):
            return np.full(batch.num_rows, np.nan)
        return batch.column("reward").to_numpy(zero_copy_only=False)

    def _add_agreement(
        self,
        tokens: Tokens,
        scored: Flags,
        right: Flags,
    ) -> None:
        """How often A has the sign of the answer; scored and right are by row."""
        counted = (tokens.advantages != 0) & scored[tokens.row]
        agrees = right[tokens.row] == (tokens.advantages > 0)
        self._agreeing += int((counted & agrees).sum())
        self._scored += int(counted.sum())

    def _add_steps(
        self,
        source: Source,
        batch: pa.RecordBatch,
        tokens: Tokens,
    ) -> None:
        """To the breakdown by rollout, with its entropy, completions and KL."""
        path = np.full(batch.num_rows, source.path)
        rollouts = np.column_stack((path, _steps(batch)))
        sample = batch.column("sample").to_numpy()
        # sums of nothing: only the keys count
        nothing = np.zeros((batch.num_rows, 0))
        self._samples.add(np.column_stack((rollouts, sample)), nothing)

        keys, of_row = distinct(rollouts)
        of_token = of_row[tokens.row]
        sums = _by_event(of_token, len(keys), tokens)
        known = np.isfinite(tokens.start)
        start = _with_count(tokens.start[known])
        entropy = summed(of_token[known], start, len(keys))
        self._steps.add(keys, np.hstack((sums, entropy)))

        if tokens.kl is not None and self.plan.has("update"):
            update = batch.column("update").to_numpy()
            # before the first update the policy is the one at the start
            after = update[tokens.row] > 0
            passes = np.column_stack((rollouts, update))[tokens.row]
            kl = _with_count(tokens.kl[after])
            self._kl.add(passes[after], kl)

    def result(self) -> Attribution:
        """ValueError where no token was added."""
        if not self.tokens:
            raise ValueError("no trained token in the dump: nothing to diagnose")
        ids, id_sums = self._ids.result()
        groups, group_sums = self._groups.result()
        steps, step_sums = self._steps.result()
        samples, _ = self._samples.result()
        passes, kl = self._kl.result()
        # both in the order of path and step
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


def _octaves(position: Ints) -> Ints:
    """The k of 2^k <= position + 1 < 2^(k + 1), POSITIONS - 1 at most."""
    # frexp is exact, which log2 need not be
    _, exponent = np.frexp(position + 1.0)
    return np.minimum(exponent - 1, POSITIONS - 1).astype(np.int64)


def _steps(batch: pa.RecordBatch) -> Ints:
    return batch.column("step").to_numpy()


def _with_count(values: Floats) -> Floats:
    """(n, 2): each value, and 1."""
    return np.column_stack((values, np.ones_like(values)))


def _by_event(
    part: Ints,
    parts: int,
    tokens: Tokens,
) -> Floats:
    """Tokens, then change, by part and event: (parts, _BY_EVENT).

    Args:
        part: of each token, (n,) in 0..parts - 1.
    """
    cell = part * len(EVENTS) + tokens.event
    cells = parts * len(EVENTS)
    counts = np.bincount(cell, minlength=cells)
    sums = np.bincount(cell, tokens.change, minlength=cells)
    by_part = counts.reshape(parts, -1), sums.reshape(parts, -1)
    return np.hstack(by_part, dtype=np.float64)


def _for_resamples(
    group: Ints,
    groups: int,
    tokens: Tokens,
) -> Floats:
    """The columns of `Attribution.resampled`, by group."""
    count = np.bincount(group, minlength=groups).reshape(groups, 1)
    cell = group * CELLS + tokens.region * len(EVENTS) + tokens.event
    cells = np.bincount(cell, tokens.change, minlength=groups * CELLS)
    bins = np.zeros(groups * (BINS + 1))
    if tokens.bin is not None:
        at = group * (BINS + 1) + tokens.bin
        bins = np.bincount(at, tokens.change, minlength=len(bins))
    within_grid = bins.reshape(groups, BINS + 1)[:, :BINS]
    columns = count, cells.reshape(groups, CELLS), within_grid
    return np.hstack(columns, dtype=np.float64)


def _numbered(parts: int) -> Ints:
    """Keys of a breakdown whose parts are numbers, (parts, 1)."""
    return np.arange(parts)[:, None]


def _split(keys: Ints, sums: Floats) -> Split:
    tokens = sums[:, : len(EVENTS)]
    change = sums[:, len(EVENTS) : _BY_EVENT]
    return Split(keys, tokens, change)
