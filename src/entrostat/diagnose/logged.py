"""What a trainer's own log of rollouts lets a diagnosis say, which is little: rewards,
which prompts push at all, and lengths.

It has no entropy, so the causes stay unnamed until `--model` recomputes what is missing
(entrostat.diagnose.recompute).

The answer is a JSON-able dict:

trainer, log   whose log it is, and the setting that writes it
has            what it has, and what that tells
verdict        as in `entrostat.diagnose.result`
left_out       what is not read or not told, a line each
skipped        what --skip-bad left out
rollouts       a dict for each, keys as in `_row`
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from entrostat.diagnose.options import Diagnose
from entrostat.diagnose.show import left_out, verdict_lines
from entrostat.diagnose.stream import Skipped
from entrostat.diagnose.tables import skipped_lines
from entrostat.diagnose.types import Json
from entrostat.diagnose.verdict import headed, not_read
from entrostat.dump.logs import Completion, Known, Rollout, read_log

_HEADS = {
    "step": "rollout",
    "prompts": "prompts",
    "completions": "answers",
    "reward": "reward",
    "pushing": "prompts that push",
    "length_up": "length, A > 0",
    "length_down": "length, A < 0",
    "surprisal": "-ln p",
}
"""The head of each column of the table, by its key in a rollout."""


def answer_logged(options: Diagnose, files: Sequence[Path]) -> tuple[Json, Group]:
    """What the log says without a model, as a JSON-able dict and for the terminal.

    Raises:
        ValueError: a file that can't be read, or a page is wanted, which needs tokens.
    """
    if options.html is not None:
        raise ValueError(
            "--html shows tokens with their entropy, and a trainer's log of rollouts has "
            "none: recompute it with --model CHECKPOINT"
        )
    skipped = Skipped()
    bad = skipped.add if options.skip_bad else None
    rows = []
    notes: tuple[str, ...] = ()
    known: Known | None = None
    for rollout in read_log(files, reward=options.reward, bad=bad):
        rows.append(_row(rollout, options.right))
        notes = rollout.notes
        known = rollout.known
    assert known is not None
    diagnosis = {
        "paths": [str(path) for path in options.paths],
        "trainer": known.trainer,
        "log": known.what,
        "has": known.has,
        "verdict": headed(_verdict(known, rows, notes, skipped)),
        "left_out": [known.lacks, *notes],
        "skipped": skipped.counts(),
        "rollouts": rows,
    }
    return diagnosis, _shown(diagnosis, full=options.full)


def _row(rollout: Rollout, right: float) -> Json:
    """One rollout in numbers; null where nothing tells.

    prompts, completions   counts
    reward                 mean over those that were scored
    right                  share of those whose reward is at least `right`
    pushing                share of prompts with an advantage that is not 0
    all_right, none_right  shares of prompts whose scored answers are all, or none, right
    length_up, length_down mean length of responses with A > 0, and A < 0
    unit                   of lengths: trained tokens, or characters
    surprisal              mean of -ln p of the trained tokens by the inference engine
    """
    completions = rollout.completions
    has_tokens = completions[0].tokens is not None
    rewards = np.array([each.reward for each in completions])
    advantages = np.array([each.advantage for each in completions])
    lengths = np.array([_length(each) for each in completions])
    group = np.array([each.group for each in completions])
    groups = int(group.max()) + 1
    scored = np.isfinite(rewards)
    is_right = rewards >= right
    pushes = np.bincount(group, advantages != 0, groups) > 0
    of_group = np.bincount(group, scored, groups)
    right_of_group = np.bincount(group, is_right, groups)
    known = of_group > 0
    return {
        "step": rollout.step,
        "prompts": groups,
        "completions": len(completions),
        "reward": _mean(rewards[scored]),
        "right": _mean(is_right[scored]),
        "pushing": _mean(pushes),
        "all_right": _mean(right_of_group[known] == of_group[known]),
        "none_right": _mean(right_of_group[known] == 0),
        "length_up": _mean(lengths[advantages > 0]),
        "length_down": _mean(lengths[advantages < 0]),
        "unit": "tokens" if has_tokens else "characters",
        "surprisal": _surprisal(completions),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _length(completion: Completion) -> int:
    if completion.tokens is None:
        return len(completion.response)
    return sum(completion.tokens.mask)


def _surprisal(completions: Sequence[Completion]) -> float | None:
    """Mean of -ln p over trained tokens; None where a log-probability is missing.

    Its mean over samples of a policy is the policy's entropy.
    """
    total = 0.0
    tokens = 0
    for completion in completions:
        sampled = completion.tokens
        if sampled is None or sampled.logprobs is None:
            return None
        for logprob, trained in zip(sampled.logprobs, sampled.mask, strict=True):
            if trained:
                total -= logprob
                tokens += 1
    if not tokens or not math.isfinite(total):
        return None
    return total / tokens


# In words


def _verdict(
    known: Known, rows: list[Json], notes: Sequence[str], skipped: Skipped
) -> list[str]:
    """The five lines, by what a log of this kind can tell."""
    lacks = [known.lacks, *notes]
    return [
        _entropy(known, rows),
        _pushes(rows),
        "give --model CHECKPOINT, the one that sampled a rollout, and its file",
        f"rewards are logged, advantages {known.advantages}",
        not_read(lacks, skipped_lines(skipped.counts()), "More: --full"),
    ]


def _entropy(known: Known, rows: list[Json]) -> str:
    first, last = rows[0], rows[-1]
    if first["surprisal"] is None or last["surprisal"] is None:
        return f"not told: {known.trainer}'s {known.what} has no entropy"
    estimate = f"{first['surprisal']:.3f}"
    if len(rows) > 1:
        estimate += f" to {last['surprisal']:.3f}"
    return f"not told; mean -ln p, which estimates entropy, {estimate} nats"


def _pushes(rows: list[Json]) -> str:
    prompts = sum(row["prompts"] for row in rows)

    def share(key: str) -> float | None:
        """Over all prompts."""
        total = 0.0
        for row in rows:
            if row[key] is None:
                return None
            total += row[key] * row["prompts"]
        return total / prompts

    pushing, all_right, none_right = map(share, ("pushing", "all_right", "none_right"))
    line = f"not told; {pushing:.0%} of {prompts:,} prompts push"
    if all_right is None or none_right is None:
        return line
    return f"{line} (all right {all_right:.0%}, none {none_right:.0%})"


def _shown(diagnosis: Json, *, full: bool) -> Group:
    content: list[RenderableType] = [verdict_lines(diagnosis)]
    if full:
        content += [Text(""), Text(f"Read: {diagnosis['has']}.")]
        content += [*left_out(diagnosis), Text("")]
        content.append(_table(diagnosis["rollouts"]))
    return Group(*content)


def _table(rows: list[Json]) -> Table:
    table = Table(title="By rollout", title_justify="left", title_style="bold")
    keys = []
    for key in _HEADS:
        if any(row[key] is not None for row in rows):
            keys.append(key)
            table.add_column(_HEADS[key], justify="right")
    for row in rows:
        table.add_row(*(_cell(key, row[key]) for key in keys))
    table.caption = f"lengths in {rows[0]['unit']}, means"
    return table


def _cell(key: str, value: int | float | None) -> str:
    if value is None:
        return ""
    if key in ("step", "prompts", "completions"):
        return f"{value:,}"
    if key == "pushing":
        return f"{value:.0%}"
    return f"{value:.3g}"
