"""verl's `trainer.rollout_data_dir`: STEP.jsonl, a line per completion.

Source: verl 0.9.1, trainer/ppo/ray_trainer.py (v0) and trainer/ppo/v1/trainer_base.py,
`_log_rollout_data` and `_write_generations`.

    input, output  prompt and response, decoded with skip_special_tokens: the special
                   tokens of a chat template, and the end of sequence, are not in them
    score          sum of token_level_scores, before a KL penalty
    step           global_steps, from 1
    gts            the ground truth
    uid            v1 alone: {prompt}_{session}_{output}
    request_id, and the reward function's own fields, which are not read

There are no token ids, no log-probabilities, no entropy and no advantages in it.
"""

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from entrostat.dump.check import Bad
from entrostat.dump.logs.completion import (
    Completion,
    Known,
    Rollout,
    grpo_advantages,
    number_of,
    numbered,
    text_of,
)

KNOWN = Known(
    trainer="verl",
    what="trainer.rollout_data_dir",
    has="texts and scores: rewards, which prompts push at all, lengths of answers",
    lacks="token ids, ln p, entropy, advantages, clip events",
    advantages="worked out as GRPO's by prompt",
)
FIELDS = frozenset({"input", "output", "score"})
"""By which a line is known."""
_KEY = re.compile(r"(.+)_\d+_\d+")


def is_verl(file: Path) -> bool:
    """Whether the first line of the file is one of verl's."""
    with file.open("rb") as lines:
        first = lines.readline()
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.keys() >= FIELDS


def read_verl(file: Path, bad: Bad | None) -> Rollout:
    """The rollout of one file.

    Args:
        bad: called with each line that can't be read, and 1; it is left out. None: that
            is an error.

    Raises:
        ValueError: one line with file and row (counted from 0), or a file without rows.
    """
    records: list[dict[str, Any]] = []
    with file.open("rb") as lines:
        for row, line in enumerate(lines):
            try:
                records.append(_record(line))
            except ValueError as error:
                problem = f"{file}: row {row}: {error}"
                if bad is None:
                    raise ValueError(problem) from None
                bad(problem, 1)
    if not records:
        raise ValueError(f"{file}: no rows in it that can be read: log it again")
    rewards = [record["score"] for record in records]
    groups = numbered(record["key"] for record in records)
    advantages = grpo_advantages(rewards, groups)
    completions = []
    for record, group, advantage in zip(records, groups, advantages, strict=True):
        completions.append(
            Completion(
                group=group,
                prompt=record["input"],
                response=record["output"],
                reward=record["score"],
                advantage=advantage,
                tokens=None,
            )
        )
    return Rollout(KNOWN, records[0]["step"], completions)


def _record(line: bytes) -> dict[str, Any]:
    """The fields of a line that are read, checked; "key" is that of its prompt."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("not a line of JSON: cut it off, or log it again") from None
    if not isinstance(record, dict) or not record.keys() >= FIELDS:
        raise ValueError(
            "no line of verl's rollout_data_dir: it has not input, output and score"
        )
    step = record.get("step", 0)
    if type(step) is not int or abs(step) >= 2**63:
        raise ValueError(f"step is {step!r:.40}, it must be an integer")
    prompt = text_of(record["input"], "input")
    return {
        "input": prompt,
        "output": text_of(record["output"], "output"),
        "score": number_of(record["score"], "score"),
        "step": step,
        "key": _key(record.get("uid"), prompt),
    }


def _key(uid: Any, prompt: str) -> Hashable:
    """What completions of one prompt share: v1's uid without its two counters."""
    found = _KEY.fullmatch(uid) if isinstance(uid, str) else None
    return ("uid", found[1]) if found else prompt
