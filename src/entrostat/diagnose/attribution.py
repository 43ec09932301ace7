"""The sums of a diagnosis: first-order entropy change of dumped tokens, in breakdowns.

A trained token adds its change, -A r [Q_a - E[Q]] (entrostat.entropy), unless the clip
takes its gradient. So a breakdown has, for each of its parts, the number of tokens and
their change, and both apart for tokens that were kept, clipped on the low side and
clipped on the high side. The sum over kept tokens is what the updates did to entropy to
first order. The sum over clipped tokens is what the clip held back. Every breakdown
adds up to the same totals.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from entrostat.diagnose.plan import Plan
from entrostat.diagnose.tokens import EVENTS, KEPT
from entrostat.diagnose.types import Flags, Floats, Ints
from entrostat.entropy import Region

CELLS = len(Region) * len(EVENTS)
"""Region times event, in this order."""


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

    def of(self, parts: Sequence[int] | Ints | Flags) -> tuple[Floats, Floats]:
        """Tokens and change of these parts together, (events,) each."""
        return self.tokens[parts].sum(0), self.change[parts].sum(0)


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
    """(steps, 2): sum of entropy at the start of the rollout, and number of tokens
    where it is known."""
    bins: Split
    """By bin of the grid of thresholds; keys are the bins. All zero where ratios are
    not known. Without tokens that a dual clip has taken, whatever the thresholds."""
    agree: float | None
    """Among tokens with A not 0 in completions that were scored: the share with A > 0
    in a right answer or A < 0 in a wrong one. None where there is no such token."""
    fresh: int
    """Tokens whose ratio is exactly 1: no threshold over 0 clips them."""
    in_force: dict[str, InForce]
    """Thresholds "low" and "high" over the tokens that each can clip."""
    sizes: Ints
    """(steps,): distinct completions of each rollout."""
    kl: Floats
    """(passes, 2) of each pass after an update: sum of Tokens.kl, and tokens. Empty
    where ratios are not known or passes are not told apart."""
    passes: Ints
    """(passes, 3) of kl: path, step, update; ascending."""
    resampled: Floats
    """(resamples, 1 + regions * events + BINS): tokens, change by region and event,
    change by bin, each summed over the groups of one resample. Read it by the
    properties below."""

    @property
    def resampled_tokens(self) -> Floats:
        """(resamples,); NaN for a resample without tokens."""
        tokens = self.resampled[:, 0]
        return np.where(tokens > 0, tokens, np.nan)

    @property
    def resampled_cells(self) -> Floats:
        """Change by region and event, (resamples, regions, events)."""
        cells = self.resampled[:, 1 : 1 + CELLS]
        return cells.reshape(len(cells), len(Region), len(EVENTS))

    @property
    def resampled_bins(self) -> Floats:
        """Change by bin, (resamples, BINS)."""
        return self.resampled[:, 1 + CELLS :]
