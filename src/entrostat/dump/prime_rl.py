"""prime-rl's token export as rows of a dump.

Source: PrimeIntellect-ai/prime-rl, src/prime_rl/trainer/rl/token_export.py and train.py at commit 004274e
(schema_version 1, `trainer.enable_token_export`): JSON lines in token_exports/step_N/rank_R.jsonl, a line a sequence
with lists aligned to its tokens, prompt included.

    step, sample       export_step (step where it is missing); sequences counted over the ranks of the step
    tokens             token_ids, the prompt's too
    mask               tokens of the channel "rl" in losses; loss_mask where there is no losses
    advantages, entropy   of the same names; entropy is that of the pass being trained, at the sampler's temperature
    logprobs           trainer_logprobs: the token's own, they are shifted to it before they are written
    old_logprobs       inference_logprobs: prime-rl's ratio is the trainer's probability over the inference server's
    clipped            is_masked_low (-1) and is_masked_high (1): its trust region bounds the difference of
                       probabilities and not the ratio, so there is no low and no high
    reward             rewards, at the first trained token
    update             0: a step is one optimizer update

There is no prompt group, no token text and no sum over the vocabulary in it.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from entrostat.dump.schema import COLUMNS, metadata
from entrostat.dump.write import rows
from entrostat.texts import first_line

EXPORTED = frozenset(COLUMNS) - {
    "group",
    "prompt",
    "text",
    "sum_p2",
    "sum_p2_logp",
    "old_entropy",
    "low",
    "high",
}
"""The columns of every export."""
_BATCH_TOKENS = 2**18


def read_export(
    file: Path,
    wanted: Sequence[str],
    seen: dict[int, int],
    bad: Callable[[str, int], None] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Batches of rows of one rank's file, with the columns of `wanted` that the export has.

    Args:
        seen: sequences of each step so far; counted on here, so that ranks of a step do not share a sample.
        bad: called with each line that can't be read, and 1; it is left out. None: that is an error.

    Raises:
        ValueError: one line with file and line (counted from 0): not JSON, another schema_version, a field that is
            missing or of another type or length, a number that is not finite at a trained token.
    """
    held: list[pa.RecordBatch] = []
    line = -1
    with file.open("rb") as lines:
        for line, text in enumerate(lines):
            problem = None
            try:
                held.append(_row(text, seen, f"{file}: row {line}"))
            except ValueError as error:
                if bad is None:
                    raise
                problem = str(error)
            # a batch is of rows without a gap, so that whoever counts them knows their lines
            if held and (
                problem
                or sum(len(one.column("tokens")[0]) for one in held) >= _BATCH_TOKENS
            ):
                yield _joined(held, wanted)
                held = []
            if bad is not None and problem:
                bad(problem, 1)
    if line < 0:
        raise ValueError(f"{file}: no rows in it")
    if held:
        yield _joined(held, wanted)


def _record(text: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(
            f"{where}: not a line of JSON: cut it off, or export again"
        ) from None
    if not isinstance(record, dict) or record.get("schema_version") != 1:
        version = record.get("schema_version") if isinstance(record, dict) else None
        raise ValueError(
            f"{where}: no token export of prime-rl with schema_version 1, got {version!r:.40}"
        )
    return record


def _row(text: bytes, seen: dict[int, int], where: str) -> pa.RecordBatch:
    record = _record(text, where)
    step = record.get("export_step", record.get("step"))
    if type(step) is not int:
        raise ValueError(f"{where}: step is {step!r:.40}, it must be an integer")
    made = _columns(record, step, seen.get(step, 0), where)
    seen[step] = seen.get(step, 0) + 1
    return made


def _columns(
    record: dict[str, Any], step: int, sample: int, where: str
) -> pa.RecordBatch:
    try:
        mask = _mask(record)
        low, high = (
            _list(record, f"is_masked_{side}") == 1 for side in ("low", "high")
        )
        numbers: dict[str, Any] = {
            name: [_list(record, field)]
            for name, field in (
                ("advantages", "advantages"),
                ("logprobs", "trainer_logprobs"),
                ("old_logprobs", "inference_logprobs"),
                ("entropy", "entropy"),
            )
        }
        reward = _list(record, "rewards")
        if len(reward) != len(mask):
            raise ValueError(f"rewards has {len(reward)} entries, the mask {len(mask)}")
        return rows(
            step=step,
            sample=np.array([sample]),
            update=0,
            reward=reward[mask][:1] if mask.any() else np.array([np.nan]),
            tokens=[_list(record, "token_ids", None)],
            mask=[mask],
            clipped=[high.astype(np.int8) - low.astype(np.int8)],
            **numbers,
        )
    except KeyError as error:
        raise ValueError(
            f"{where}: field {error} is missing: is it a token export of prime-rl?"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{where}: {first_line(error).removeprefix('rows: row 0, ')}"
        ) from None


def _mask(record: dict[str, Any]) -> np.ndarray:
    losses = record.get("losses")
    if losses is None:
        return _list(record, "loss_mask", bool)
    if not isinstance(losses, list) or not all(
        isinstance(token, dict) for token in losses
    ):
        raise ValueError("losses must be a list of one object a token")
    channels = [token.get("rl") for token in losses]
    return np.array(
        [
            isinstance(channel, dict) and channel.get("mask") is True
            for channel in channels
        ],
        dtype=bool,
    )


def _list(record: dict[str, Any], field: str, kind: Any = np.float32) -> np.ndarray:
    with np.errstate(over="ignore"):  # inf then, which is refused at a trained token
        found = np.array(record[field], dtype=kind)
    if found.ndim != 1:
        raise ValueError(f"{field} must be a list with one entry a token")
    return found


def _joined(held: list[pa.RecordBatch], wanted: Sequence[str]) -> pa.RecordBatch:
    """One batch of rows that are checked."""
    batch = pa.Table.from_batches(held).combine_chunks().to_batches()[0]
    return batch.select(
        [name for name in COLUMNS if name in wanted and name in EXPORTED]
    ).replace_schema_metadata(metadata({}))
