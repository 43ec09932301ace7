"""A guard around reward functions: a reward that throws or is not a number stops the run
with the sample that did it.

TRL adds rewards with nansum, which turns a NaN into a 0 that trains. None keeps TRL's
meaning: this function does not score this sample.
"""

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from entrostat.engines.reward_error import RewardError, shown


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, sync or async, with TRL's signature (prompts=, completions=,
    **columns), checked.

    Rewards may be any iterable, as in TRL; they come back as a list.
    """
    name = getattr(function, "__name__", type(function).__name__)
    call = type(function).__call__
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):

        @functools.wraps(function, updated=())
        async def checked_async(prompts, completions, **columns):
            with _telling_sample(name, prompts, completions):
                rewards = list(
                    await function(prompts=prompts, completions=completions, **columns)
                )
            _check(name, rewards, prompts, completions)
            return rewards

        return checked_async

    @functools.wraps(function, updated=())
    def checked(prompts, completions, **columns):
        with _telling_sample(name, prompts, completions):
            rewards = list(
                function(prompts=prompts, completions=completions, **columns)
            )
        _check(name, rewards, prompts, completions)
        return rewards

    return checked


@contextlib.contextmanager
def _telling_sample(
    name: str, prompts: Sequence[Any], completions: Sequence[Any]
) -> Iterator[None]:
    """Turns what is thrown inside into a RewardError that names a sample."""
    try:
        yield
    except RewardError:
        raise
    except Exception as error:
        raise RewardError(
            f"reward function {name!r} threw {type(error).__name__}: "
            f"{shown(str(error))}, on {len(completions)} completions, the first being "
            f"prompt {shown(prompts[0])}, completion {shown(completions[0])}"
        ) from error


def _check(
    name: str,
    rewards: Sequence[Any],
    prompts: Sequence[Any],
    completions: Sequence[Any],
) -> None:
    """Raises RewardError for the first reward that is neither finite nor None."""
    # TRL itself complains where the numbers of rewards and completions differ
    for reward, prompt, completion in zip(rewards, prompts, completions, strict=False):
        if reward is not None and not _is_finite(reward):
            got = reward
            if not isinstance(reward, float):
                text = reward if isinstance(reward, str) else repr(reward)
                got = shown(text, 60)
            raise RewardError(
                f"reward function {name!r} returned {got} for prompt "
                f"{shown(prompt)}, completion {shown(completion)}: return a finite "
                "number, or None where it does not apply"
            )


def _is_finite(reward: Any) -> bool:
    try:
        return math.isfinite(reward)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return False  # no number: text, a list, an array of several


def weighted(
    rewards: Float[Tensor, "b n"], weights: Float[Tensor, " n"]
) -> Float[Tensor, " b"]:
    """Each completion's reward: TRL's weighted sum over n reward functions, NaN where
    none of them scored it."""
    total = (rewards * weights.to(rewards.device)).nansum(dim=1)
    return torch.where(rewards.isnan().all(dim=1), torch.nan, total)
