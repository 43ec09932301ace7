"""TRL's `log_completions`: OUTPUT_DIR/completions/completions_STEP.parquet.

Source: TRL 1.16.0, trainer/grpo_trainer.py, `log`. A file is written with each log line
and holds the rollout sampled last:

    step           global_step when it was written
    prompt         text, or a conversation
    completion     text without special tokens, or a conversation
    NAME           a column for each reward function, by its name, null where it gave
                   none; and one for each column of log_extra
    advantage      of the completion

There are no token ids, no log-probabilities, no entropy, and no weights of the reward
functions. With several log lines per rollout, files repeat it; and completions of an
evaluation are written under the same name, over those that were trained on.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from entrostat.dump.logs.completion import (
    Completion,
    Known,
    Rollout,
    messages_of,
    number_of,
    numbered,
    prompt_key,
    prompt_of,
    text_of,
)
from entrostat.dump.schema import KEY
from entrostat.texts import first_line

KNOWN = Known(
    trainer="TRL",
    what="log_completions",
    has="texts, rewards and advantages: which prompts push at all, lengths of answers",
    lacks="token ids, ln p, entropy, clip events",
    advantages="too",
)
COLUMNS = frozenset({"step", "prompt", "completion", "advantage"})
"""By which a file is known; the others are rewards and log_extra's."""


def is_trl(file: Path) -> bool:
    """Whether the file is a Parquet file with TRL's columns, and no dump."""
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError):
        return False
    return COLUMNS.issubset(schema.names) and KEY not in (schema.metadata or {})


def read_trl(file: Path, reward: str) -> Rollout:
    """The rollout of one file.

    Args:
        reward: the column of the rewards. Empty: the one column of numbers beside TRL's
            own; where there are several, rewards are not read, since their weights are
            not in the file.

    Raises:
        ValueError: one line with file and row.
    """
    try:
        table = pq.read_table(file)
        rows: list[dict[str, Any]] = table.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{file}: no whole Parquet file ({first_line(error)}): give another"
        ) from None
    if not rows:
        raise ValueError(f"{file}: no rows in it: give another")
    column, notes = _reward_column(table.schema, reward, file)
    completions = []
    for number, row in enumerate(rows):
        try:
            completions.append(_completion(row, column))
        except ValueError as error:
            raise ValueError(f"{file}: row {number}: {error}") from None
    groups = numbered(prompt_key(completion.prompt) for completion in completions)
    numbered_completions = []
    for completion, group in zip(completions, groups, strict=True):
        numbered_completions.append(completion._replace(group=group))
    step = rows[0]["step"]
    if type(step) is not int:
        raise ValueError(f"{file}: step is {step!r:.40}, it must be an integer")
    return Rollout(KNOWN, step, numbered_completions, notes)


def _reward_column(
    schema: pa.Schema, reward: str, file: Path
) -> tuple[str, tuple[str, ...]]:
    """The column of the rewards, "" for none, and what is to be said of it."""
    if reward:
        if reward not in schema.names:
            raise ValueError(
                f"{file}: no column {reward!r} for --reward: it has "
                f"{_listed(schema.names)}"
            )
        return reward, ()
    numbers = []
    for field in schema:
        is_number = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
        if is_number and field.name not in COLUMNS:
            numbers.append(field.name)
    if len(numbers) == 1:
        return numbers[0], ()
    names = _listed(numbers) or "none"
    return "", (
        f"rewards: the columns of numbers are {names}, and TRL logs no weights of them "
        "(--reward NAME takes one)",
    )


def _listed(names: list[str]) -> str:
    """Names of columns, which are the writer's: escaped, and cut."""
    return ", ".join(names).encode("unicode_escape").decode()[:200]


def _completion(row: dict[str, Any], column: str) -> Completion:
    advantage = number_of(row["advantage"], "advantage")
    return Completion(
        group=0,
        prompt=prompt_of(row["prompt"]),
        response=_response(row["completion"]),
        reward=number_of(row[column] if column else None, "the reward"),
        # one that no reward function scored has no gradient
        advantage=0.0 if advantage != advantage else advantage,
        tokens=None,
    )


def _response(completion: Any) -> str:
    """The text of a completion that is text, or one message."""
    if not isinstance(completion, list):
        return text_of(completion, "the completion")
    turns = messages_of(completion, "the completion")
    if len(turns) != 1:
        raise ValueError(
            f"the completion has {len(turns)} messages: one alone can be read, not "
            "those of tools"
        )
    return turns[0]["content"]
