"""prime-rl's token export as rows of a dump.

Source: PrimeIntellect-ai/prime-rl, src/prime_rl/trainer/rl/token_export.py and train.py
at commits 004274e and 559b447 (both schema_version 1, `trainer.enable_token_export`): JSON
lines in token_exports/step_N/rank_R.jsonl, a line per sequence with lists aligned to its
tokens, prompt included. The two forms are told apart by their fields: the later one has no
losses and no rewards.

    step, sample   export_step (step where it is missing); sequences counted over the
                   ranks of the step
    tokens         token_ids, the prompt's too
    mask           tokens of the channel "rl" in losses; without losses loss_mask, less
                   the tokens of rl_weights 0 (null: all have weight 1)
    advantages, entropy
                   of the same names; entropy is that of the pass being trained, at the
                   sampler's temperature
    logprobs       trainer_logprobs: the token's own, they are shifted to it before
                   they are written
    old_logprobs   inference_logprobs: prime-rl's ratio is the trainer's probability
                   over the inference server's
    clipped        is_masked_low (-1) and is_masked_high (1): its trust region bounds
                   the difference of probabilities and not the ratio, so there is no low
                   and no high
    reward         rewards, at the first trained token; none in the later form
    update         0: a step is one optimizer update

There is no prompt group, no token text and no sum over the vocabulary in it.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from entrostat.dump.check import Bad
from entrostat.dump.schema import BATCH_TOKENS, COLUMNS, metadata
from entrostat.dump.write import rows
from entrostat.texts import first_line

_FIELDS = {
    "advantages": "advantages",
    "logprobs": "trainer_logprobs",
    "old_logprobs": "inference_logprobs",
    "entropy": "entropy",
}
"""The export's field of each column of numbers."""
EXPORTED = frozenset(
    {
        "step",
        "sample",
        "update",
        "reward",
        "tokens",
        "mask",
        "clipped",
        *_FIELDS,
    }
)
"""The columns of every export."""


def read_export(
    file: Path,
    wanted: Sequence[str],
    samples_by_step: dict[int, int],
    bad: Bad | None = None,
) -> Iterator[pa.RecordBatch]:
    """Batches of rows of one rank's file.

    Args:
        wanted: columns; those that the export has are taken.
        samples_by_step: sequences of each step so far; counted on here, so that ranks
            of a step do not share a sample.
        bad: called with each line that can't be read, and 1; it is left out. None: that
            is an error.

    Raises:
        ValueError: one line with file and line (counted from 0): not JSON, another
            schema_version, a field that is missing or of another type or length, a
            number that is not finite at a trained token.
    """
    held: list[pa.RecordBatch] = []
    tokens = 0
    line = -1
    with file.open("rb") as texts:
        for line, text in enumerate(texts):
            try:
                row = _row(text, samples_by_step, f"{file}: row {line}")
            except ValueError as error:
                if bad is None:
                    raise
                # a batch is of rows without a gap, so that whoever counts them knows
                # their lines
                if held:
                    yield _joined(held, wanted)
                    held, tokens = [], 0
                bad(str(error), 1)
                continue
            held.append(row)
            tokens += len(row.column("tokens")[0])
            if tokens >= BATCH_TOKENS:
                yield _joined(held, wanted)
                held, tokens = [], 0
    if line < 0:
        raise ValueError(f"{file}: no rows in it")
    if held:
        yield _joined(held, wanted)


def _row(text: bytes, samples_by_step: dict[int, int], where: str) -> pa.RecordBatch:
    record = _record(text, where)
    step = record.get("export_step", record.get("step"))
    if type(step) is not int:
        raise ValueError(f"{where}: step is {step!r:.40}, it must be an integer")
    sample = samples_by_step.get(step, 0)
    row = _checked_row(record, step, sample, where)
    samples_by_step[step] = sample + 1
    return row


def _record(text: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(
            f"{where}: not a line of JSON: cut it off, or export again"
        ) from None
    version = record.get("schema_version") if isinstance(record, dict) else None
    if version != 1:
        raise ValueError(
            f"{where}: no token export of prime-rl with schema_version 1, got "
            f"{version!r:.40}; nor a line of verl's rollout_data_dir, which has input, "
            "output and score and which diagnose reads"
        )
    return record


def _checked_row(
    record: dict[str, Any],
    step: int,
    sample: int,
    where: str,
) -> pa.RecordBatch:
    """One row; errors in one line that begins with `where`."""
    try:
        return rows(**_columns(record, step, sample))
    except KeyError as error:
        raise ValueError(
            f"{where}: field {error} is missing: is it a token export of prime-rl?"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        problem = first_line(error).removeprefix("rows: row 0, ")
        raise ValueError(f"{where}: {problem}") from None


def _columns(record: dict[str, Any], step: int, sample: int) -> dict[str, Any]:
    mask = _mask(record)
    low = _list(record, "is_masked_low") == 1
    high = _list(record, "is_masked_high") == 1
    columns: dict[str, Any] = {}
    for column, field in _FIELDS.items():
        columns[column] = [_list(record, field)]
    return columns | {
        "step": step,
        "sample": np.array([sample]),
        "update": 0,
        "reward": _reward(record, mask),
        "tokens": [_list(record, "token_ids", None)],
        "mask": [mask],
        "clipped": [high.astype(np.int8) - low.astype(np.int8)],
    }


def _reward(record: dict[str, Any], mask: np.ndarray) -> np.ndarray:
    """(1,); NaN, which stands for not scored, where the export has none."""
    if "rewards" not in record:
        return np.array([np.nan])
    rewards = _list(record, "rewards")
    if len(rewards) != len(mask):
        raise ValueError(f"rewards has {len(rewards)} entries, the mask {len(mask)}")
    # the same at every trained token
    return np.append(rewards[mask], np.nan)[:1]


def _mask(record: dict[str, Any]) -> np.ndarray:
    losses = record.get("losses")
    if losses is None:
        mask = _list(record, "loss_mask", bool)
        if "rl_weights" not in record:
            return mask
        weights = _list(record, "rl_weights")
        if len(weights) != len(mask):
            lengths = f"{len(weights)} entries, the mask {len(mask)}"
            raise ValueError(f"rl_weights has {lengths}")
        # null has become NaN, which is not 0: the default weight is 1
        return mask & (weights != 0)
    problem = "losses must be a list of one object a token"
    if not isinstance(losses, list):
        raise ValueError(problem)
    mask = []
    for token in losses:
        if not isinstance(token, dict):
            raise ValueError(problem)
        channel = token.get("rl")
        mask.append(isinstance(channel, dict) and channel.get("mask") is True)
    return np.array(mask, dtype=bool)


def _list(record: dict[str, Any], field: str, kind: Any = np.float32) -> np.ndarray:
    with np.errstate(over="ignore"):  # inf then, which is refused at a trained token
        values = np.array(record[field], dtype=kind)
    if values.ndim != 1:
        raise ValueError(f"{field} must be a list with one entry a token")
    return values


def _joined(held: list[pa.RecordBatch], wanted: Sequence[str]) -> pa.RecordBatch:
    """One batch of rows that are checked."""
    batch = pa.Table.from_batches(held).combine_chunks().to_batches()[0]
    names = [name for name in COLUMNS if name in wanted and name in EXPORTED]
    return batch.select(names).replace_schema_metadata(metadata({}))
