"""What is said of a reward that is no number: free of torch, so that a task is too."""

from typing import Any


class RewardError(ValueError):
    """A reward function threw, or returned what is not a finite number."""


def shown(text: Any, limit: int = 200) -> str:
    """A sample's text on one line, escaped and cut: it was written by a model, and may
    hold anything."""
    line = ascii(text)
    return line if len(line) <= limit else line[:limit] + "..."
