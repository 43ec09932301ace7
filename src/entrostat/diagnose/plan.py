"""What a set of dumps can tell: the columns that all its files share, and what is left
out without the others."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from entrostat import dump
from entrostat.dump.prime_rl import EXPORTED
from entrostat.dump.schema import KEY
from entrostat.dump.tokens import BOUNDED
from entrostat.texts import first_line
from entrostat.trainers import loss_in_dump

_LEVELS = ("token", "sequence")
"""Known values of TRL's importance_sampling_level."""
_PRIME_RL = "prime-rl"
"""The loss of prime-rl's export, which names none."""


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
    """Of entrostat.dump.COLUMNS, in every file; "clipped" also where it can be worked
    out."""
    by_sequence: bool
    """Whether the ratio that is clipped is that of the sequence (GSPO)."""
    clamped: bool
    """Whether each token has the gradient of r A until a window of r takes it. Only then
    are thresholds advised."""
    left_out: tuple[str, ...]
    """A line for everything that cannot be said in full, and why."""

    def has(self, *names: str) -> bool:
        """Whether every file has these columns."""
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
        """Columns to read: all shared ones that hold numbers, and those from which
        "clipped" is worked out."""
        useful = self.columns | {"clipped"} | BOUNDED
        names = []
        for name, column in dump.COLUMNS.items():
            if name in useful and not pa.types.is_string(column.kind):
                names.append(name)
        return names


@dataclass(frozen=True)
class _Facts:
    """What one file says of itself before its rows are read."""

    columns: frozenset[str]
    level: str
    """importance_sampling_level."""
    loss: str
    weighed_by: frozenset[str]
    """By what else than r A the trainer weighs tokens."""
    versioned: bool = True
    """Whether the file says its version, and with it what was noted of the run."""


def plan(
    paths: Sequence[Path | str], bad: Callable[[str, int], None] | None = None
) -> Plan:
    """Looks at the columns of every file below `paths`; reads no rows.

    Args:
        bad: told of each file that is no dump, as entrostat.dump.read tells; the file is
            left out. None: that is an error.

    Raises:
        ValueError: a path without dumps, a file that is none, or none left.
    """
    sources: list[Source] = []
    facts: list[_Facts] = []
    for number, path in enumerate(paths):
        for file in dump.files(path):
            try:
                facts.append(_facts(file))
            except ValueError as error:
                if bad is None:
                    raise
                bad(str(error), 0)
                continue
            sources.append(Source(number, file))
    if not facts:
        given = ", ".join(map(str, paths))
        raise ValueError(f"no dump that can be read in {given}: give another")
    # one level at a time: the ratios of the two are of different things
    levels = sorted({each.level for each in facts})
    if len(levels) > 1:
        raise ValueError(
            f"dumps of importance_sampling_level {' and '.join(levels)}: diagnose one at "
            "a time"
        )
    (level,) = levels
    columns = frozenset.intersection(*(each.columns for each in facts))
    losses = sorted({each.loss for each in facts})
    weighed_by = frozenset.union(*(each.weighed_by for each in facts))
    left_out = (
        *_without_columns(columns, losses, level),
        *_without_window(losses, level),
        *_without_weights(weighed_by),
        *_without_version(facts),
    )
    all_clamp = all(loss_in_dump(loss).clamps for loss in losses)
    return Plan(
        sources=tuple(sources),
        columns=columns,
        by_sequence=level == "sequence",
        clamped=all_clamp and level in _LEVELS,
        left_out=left_out,
    )


# One file


def _facts(file: Path) -> _Facts:
    columns, versioned = _columns(file)
    notes = dump.notes(file)
    level = _word(notes.get("importance_sampling_level", "token"))
    # an objective stands over the loss type beneath it
    named = notes.get("objective", notes.get("loss_type", "grpo"))
    loss = _PRIME_RL if file.suffix == ".jsonl" else _word(named)
    if loss_in_dump(loss).keeps_gradient:
        # whatever the file has as clipped kept its gradient
        columns -= {"clipped"}
    elif columns >= BOUNDED and level == "token":
        columns |= {"clipped"}
    weights = notes.get("weighed_by", [])
    if not isinstance(weights, list):
        weights = [weights]
    return _Facts(columns, level, loss, frozenset(map(_word, weights)), versioned)


def _columns(file: Path) -> tuple[frozenset[str], bool]:
    """The columns of a dump that the file has, and whether it says its version.

    ValueError where it is no Parquet.
    """
    if file.suffix == ".jsonl":
        return EXPORTED, True
    try:
        schema = pq.read_schema(file)
        columns = frozenset(schema.names).intersection(dump.COLUMNS)
        return columns, KEY in (schema.metadata or {})
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{file}: no whole Parquet file ({first_line(error)}): write the dump again"
        ) from None


def _word(note: Any) -> str:
    """A note as a word that can be printed: a file may hold anything."""
    is_word = isinstance(note, str) and re.fullmatch(r"[\w:-]{1,40}", note, re.ASCII)
    return note if is_word else "unknown"


# What is left out


def _without_columns(
    columns: frozenset[str], losses: Sequence[str], level: str
) -> Iterator[str]:
    """A line for each thing that is not said for lack of a column."""
    if "entropy" not in columns:
        yield (
            "no column entropy: no entropy change and no region, tokens and clip events "
            "are counted alone"
        )
    elif not columns >= {"sum_p2", "sum_p2_logp"}:
        yield (
            "no columns sum_p2 and sum_p2_logp: the change is the token's own term alone "
            "(entropy_change_own_term), without what softmax moves on the other tokens"
        )
    if "old_logprobs" not in columns:
        yield (
            "no column old_logprobs: ratios are taken as 1, and no other thresholds are "
            "tried"
        )
    keeps_gradient = any(loss_in_dump(loss).keeps_gradient for loss in losses)
    if "clipped" not in columns and not keeps_gradient:
        # a window is of each token's own ratio, so it tells of no other
        instead = ", nor low and high with old_logprobs" if level == "token" else ""
        yield f"no column clipped{instead}: every token counts as kept"
    if "group" not in columns:
        yield (
            "no column group: intervals are over completions and too narrow, no "
            "breakdown by prompt"
        )
    missing = [name for name in ("group", "reward") if name not in columns]
    if missing:
        yield (
            f"no column {' and '.join(missing)}: no breakdown by the share of right "
            "answers"
        )
    if "text" not in columns:
        yield "no column text: tokens are shown by id"


def _without_window(losses: Sequence[str], level: str) -> Iterator[str]:
    """A line for each loss, and for a level, whose window nothing is said of."""
    for name in losses:
        loss = loss_in_dump(name)
        if loss.clamps:
            continue
        if name == _PRIME_RL:
            # it does weigh tokens by r A
            line = (
                "prime-rl bounds the difference of probabilities and not the ratio: its "
                "clip events are those of that bound"
            )
        else:
            line = (
                f"loss type {name} does not weigh tokens by r A alone, but the change "
                "here is that of r A"
            )
        kept = ", no token counts as clipped" if loss.keeps_gradient else ""
        yield f"{line}{kept}; no thresholds are advised"
    if level not in _LEVELS:
        yield (
            f"importance_sampling_level {level}: ratios are the tokens' own; no "
            "thresholds are advised"
        )


def _without_weights(weighed_by: frozenset[str]) -> Iterator[str]:
    """A line where the trainer's loss has weights that a dump does not hold."""
    if weighed_by:
        yield (
            f"the trainer also weighs tokens by {', '.join(sorted(weighed_by))}, some "
            "perhaps by 0, and a dump does not hold these weights: the change is that of "
            "r A"
        )


def _without_version(facts: Sequence[_Facts]) -> Iterator[str]:
    """A line where another program has written files again, and left out what was noted
    of the run."""
    bare = sum(not each.versioned for each in facts)
    if bare:
        yield (
            f"what the dump noted of its run: {bare} of {len(facts)} files say no version, "
            "as where Polars, pandas or DuckDB wrote them again; taken as version 1, of a "
            "run with GRPO's loss"
        )
