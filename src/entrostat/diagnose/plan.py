"""What a set of dumps can tell: the columns that all its files share, and what is left out for want of others."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from entrostat import dump
from entrostat.dump.prime_rl import EXPORTED
from entrostat.dump.tokens import BOUNDED
from entrostat.texts import first_line

CLAMPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo", "vanilla")
"""Losses whose gradient is that of r A until the clip takes it: those of TRL that engines.checks has, and verl's."""
_AGGREGATIONS = (
    "token-mean",
    "token-sum",
    "seq-mean-token-sum",
    "seq-mean-token-mean",
    "seq-mean-token-sum-norm",
)
"""What older dumps of the verl plug-in have for a loss type: how verl's vanilla loss was reduced."""
_LEVELS = ("token", "sequence")
_PRIME_RL = "prime-rl"
_UNCLIPPED = ("cispo", "ce-gppo", "kl-cov")
"""Losses that leave a gradient to the tokens that a window would take, whatever a dump has as clipped."""
_NOT_CLAMPED = {
    _PRIME_RL: "prime-rl bounds the difference of probabilities and not the ratio: its events are those of that bound",
}
"""What is said of one that does weigh tokens by r A."""


@dataclass(frozen=True)
class Source:
    """One dump's file."""

    path: int
    """Which of the paths given it belongs to, from 0."""
    file: Path


@dataclass(frozen=True)
class Plan:
    """What is read, and what is not said."""

    sources: tuple[Source, ...]
    columns: frozenset[str]
    """Of entrostat.dump.COLUMNS, in every file; "clipped" also where it can be worked out."""
    by_sequence: bool
    """One ratio a sequence is clipped (GSPO)."""
    clamped: bool
    """A window of the ratio takes a token's gradient or leaves it that of r A: only then are thresholds advised."""
    left_out: tuple[str, ...]
    """A line for everything that can't be said in full, and why."""

    def has(self, *names: str) -> bool:
        return self.columns.issuperset(names)

    @property
    def exact(self) -> bool:
        """Whether the change is entropy_change; otherwise the token's own term alone."""
        return self.has("entropy", "sum_p2", "sum_p2_logp")

    @property
    def measure(self) -> str | None:
        """Name of the change in entrostat.entropy; None where there is none."""
        if not self.has("entropy"):
            return None
        return "entropy_change" if self.exact else "entropy_change_own_term"

    def wanted(self) -> list[str]:
        """Columns to read: all that are shared but strings, and what "clipped" needs."""
        numbers = [
            name
            for name, column in dump.COLUMNS.items()
            if not pa.types.is_string(column.kind)
        ]
        return [
            name for name in numbers if name in self.columns | {"clipped"} | BOUNDED
        ]


@dataclass(frozen=True)
class _Facts:
    """What one file says of itself before its rows are read."""

    columns: frozenset[str]
    level: str
    loss: str
    weighed_by: frozenset[str]


def plan(
    paths: Sequence[Path | str], bad: Callable[[str, int], None] | None = None
) -> Plan:
    """Looks at the columns of every file below `paths`; reads no rows.

    Args:
        bad: told of each file that is no dump, as entrostat.dump.read tells; it is left out. None: that is an error.

    Raises:
        ValueError: a path without dumps, a file that is none, or none left.
    """
    sources: list[Source] = []
    facts: list[_Facts] = []
    for i, path in enumerate(paths):
        for file in dump.files(path):
            try:
                facts.append(_facts(file))
            except ValueError as error:
                if bad is None:
                    raise
                bad(str(error), 0)
                continue
            sources.append(Source(i, file))
    if not facts:
        raise ValueError(
            f"no dump that can be read in {', '.join(map(str, paths))}: give another"
        )
    levels, losses = {each.level for each in facts}, {each.loss for each in facts}
    if len(levels) > 1:
        raise ValueError(
            f"dumps of importance_sampling_level {' and '.join(sorted(levels))}: diagnose one at a time"
        )
    return Plan(
        sources=tuple(sources),
        columns=frozenset.intersection(*(each.columns for each in facts)),
        by_sequence=levels == {"sequence"},
        clamped=losses <= set(CLAMPED_LOSSES) and levels <= set(_LEVELS),
        left_out=tuple(_left_out(facts)),
    )


def _facts(file: Path) -> _Facts:
    columns, noted = _columns(file), dump.notes(file)
    loss = (
        _PRIME_RL
        if file.suffix == ".jsonl"
        else _word(noted.get("objective", noted.get("loss_type", "grpo")))
    )
    level = _word(noted.get("importance_sampling_level", "token"))
    if loss in _AGGREGATIONS:
        loss = "vanilla"
    if loss in _UNCLIPPED:
        columns -= {"clipped"}
    elif columns >= BOUNDED and level == "token":
        columns |= {"clipped"}
    weighed_by = noted.get("weighed_by", [])
    weights = map(_word, weighed_by) if isinstance(weighed_by, list) else ("unknown",)
    return _Facts(columns, level, loss, frozenset(weights))


def _word(value: Any) -> str:
    return (
        value
        if isinstance(value, str) and re.fullmatch(r"[\w:-]{1,40}", value, re.ASCII)
        else "unknown"
    )


def _columns(file: Path) -> frozenset[str]:
    if file.suffix == ".jsonl":
        return EXPORTED
    try:
        return frozenset(pq.read_schema(file).names).intersection(dump.COLUMNS)
    except (pa.ArrowException, OSError) as error:
        problem = first_line(error)
        raise ValueError(
            f"{file}: no whole Parquet file ({problem}): write the dump again"
        ) from None


def _left_out(facts: Sequence[_Facts]) -> list[str]:
    names = frozenset.intersection(*(each.columns for each in facts))
    losses = {each.loss for each in facts}
    lines = []
    if "entropy" not in names:
        lines.append(
            "no column entropy: no entropy change and no region, tokens and clip events are counted alone"
        )
    elif not names >= {"sum_p2", "sum_p2_logp"}:
        lines.append(
            "no columns sum_p2 and sum_p2_logp: the change is the token's own term alone (entropy_change_own_term), "
            "without what softmax moves on the other tokens"
        )
    if "old_logprobs" not in names:
        lines.append(
            "no column old_logprobs: ratios are taken as 1, and no other thresholds are tried"
        )
    if "clipped" not in names and not losses.intersection(_UNCLIPPED):
        instead = (
            ""
            if any(each.level != "token" for each in facts)
            else ", nor low and high with old_logprobs"
        )
        lines.append(f"no column clipped{instead}: every token counts as kept")
    if "group" not in names:
        lines.append(
            "no column group: intervals are over completions and too narrow, no breakdown by prompt"
        )
    if not names >= {"group", "reward"}:
        missing = " and ".join(
            name for name in ("group", "reward") if name not in names
        )
        lines.append(f"no column {missing}: no breakdown by the share of right answers")
    if "text" not in names:
        lines.append("no column text: tokens are shown by id")
    for loss in sorted(losses - set(CLAMPED_LOSSES)):
        line = f"loss type {loss} weighs tokens otherwise than r A: the change is that of r A"
        kept = ", no token counts as clipped" if loss in _UNCLIPPED else ""
        lines.append(f"{_NOT_CLAMPED.get(loss, line)}{kept}; no thresholds are advised")
    if odd := sorted({each.level for each in facts} - set(_LEVELS)):
        lines.append(
            f"importance_sampling_level {odd[0]}: ratios are the tokens' own; no thresholds are advised"
        )
    if weights := sorted(frozenset.union(*(each.weighed_by for each in facts))):
        lines.append(
            f"the trainer also weighs tokens by {', '.join(weights)}, some perhaps by 0, and a dump does not hold it: "
            "the change is that of r A"
        )
    return lines
