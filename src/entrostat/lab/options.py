"""Options of the command line: how one is spelt, and checks that several commands share."""

import math


def option(name: str) -> str:
    """A field's name as it is typed.

    >>> option("updates_per_rollout")
    '--updates-per-rollout'
    """
    return f"--{name.replace('_', '-')}"


def at_least(name: str, value: int, least: int) -> None:
    """Raises ValueError where the option's value is under `least`."""
    if value < least:
        raise ValueError(f"{option(name)} must be at least {least}, got {value}")


def over_zero(name: str, value: float) -> None:
    """Raises ValueError where the option's value is not over 0 and finite."""
    if not 0 < value < math.inf:
        raise ValueError(f"{option(name)} must be over 0, got {value}")


def share_of_one(name: str, value: float) -> None:
    """Raises ValueError where the option's value is not in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{option(name)} must be in [0, 1], got {value}")
