"""One completion and one rollout of a trainer's own log, whoever wrote it."""

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import torch

from entrostat.advantage import group_advantages

Messages = list[dict[str, Any]]
"""A conversation: role and content, both text."""


class Known(NamedTuple):
    """What one kind of log has, in words; facts of the format, not of a file."""

    trainer: str
    what: str
    """The log, by the setting that writes it."""
    has: str
    """And what it tells."""
    lacks: str
    advantages: str
    """Where those of the completions come from."""


class Tokens(NamedTuple):
    """The ids that were sampled, where a log has them; (t,) each but for the prompt's."""

    prompt: list[int]
    response: list[int]
    mask: list[bool]
    """True: trained on."""
    logprobs: list[float] | None
    """ln p of the inference engine when it sampled them, nats."""


class Completion(NamedTuple):
    """One answer to a prompt."""

    group: int
    """The prompt within its rollout, from 0."""
    prompt: str | Messages
    response: str
    reward: float
    """NaN where it was not scored, or the log does not tell."""
    advantage: float
    """Of every token."""
    tokens: Tokens | None


class Rollout(NamedTuple):
    """What one file holds."""

    known: Known
    step: int
    """As the trainer counts."""
    completions: list[Completion]
    notes: tuple[str, ...] = ()
    """What of the file is not read, a line each."""


def numbered(keys: Iterable[Hashable]) -> list[int]:
    """The number of each key, in the order in which they first come.

    >>> numbered(["a", "b", "a"])
    [0, 1, 0]
    """
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def grpo_advantages(rewards: Sequence[float], groups: Sequence[int]) -> list[float]:
    """GRPO's advantage of each completion among those of its prompt, (R - mean) / std.

    Those that were not scored (NaN) have 0 and do not count, and so has a prompt with one
    completion.

    >>> [round(a, 2) for a in grpo_advantages([1.0, 0.0, 0.5, math.nan], [0, 0, 1, 1])]
    [0.71, -0.71, 0.0, 0.0]
    """
    places: dict[int, list[int]] = {}
    for i, (reward, group) in enumerate(zip(rewards, groups, strict=True)):
        if not math.isnan(reward):
            places.setdefault(group, []).append(i)
    advantages = [0.0] * len(rewards)
    for mine in places.values():
        # float64, so that rewards of any size keep their differences
        scores = torch.tensor([rewards[i] for i in mine], dtype=torch.float64)
        values = group_advantages(scores, len(mine)).tolist()
        for i, value in zip(mine, values, strict=True):
            advantages[i] = value
    return advantages


def number_of(value: Any, what: str) -> float:
    """A number of a log; NaN for none. ValueError for what is no number, or infinite."""
    if value is None:
        return math.nan
    # to Python True is a number, and verl logs scores of both kinds
    if not isinstance(value, int | float):
        raise ValueError(f"{what} is {value!r:.40}, it must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise ValueError(f"{what} is infinite: give a number, or null")
    return number


def text_of(value: Any, what: str) -> str:
    """A text of a log. ValueError where it is none."""
    if not isinstance(value, str):
        raise ValueError(f"{what} is {value!r:.40}, it must be text")
    # half a character (a lone surrogate) can't be written or tokenised
    return value.encode("utf-8", "replace").decode()


def messages_of(value: Any, what: str) -> Messages:
    """A conversation of a log. ValueError where it holds more than text."""
    turns: Messages = []
    for turn in value:
        if not isinstance(turn, dict):
            raise ValueError(f"{what} is no list of messages")
        role = text_of(turn.get("role"), f"a role in {what}")
        content = text_of(turn.get("content"), f"a message in {what}")
        turns.append({"role": role, "content": content})
    return turns


def prompt_of(value: Any) -> str | Messages:
    """A prompt as text or as a conversation. ValueError where it is neither."""
    if isinstance(value, list):
        return messages_of(value, "the prompt")
    return text_of(value, "the prompt")


def prompt_key(prompt: str | Messages) -> Hashable:
    """What prompts that are alike share."""
    if isinstance(prompt, str):
        return prompt
    return tuple((turn["role"], turn["content"]) for turn in prompt)
