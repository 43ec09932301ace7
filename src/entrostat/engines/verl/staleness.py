"""How old the policies are from which a batch of verl's asynchronous trainers comes.

Time is counted in observations: the controller makes one for each call that updates the
actor. Under separate_async these are parameter_sync_step a training step, and the sampler
gets new weights after the last of them. verl numbers weights by the training step that
made them; the tags of a completion have the numbers at its first token and at its last.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from entrostat.engines.summary import shares_by_age


class Clock(NamedTuple):
    """When an update call is made."""

    step: int
    """verl's training step, from 1."""
    call: int = 0
    """Update calls of this step that went before."""
    calls: int = 1
    """Update calls of a step, parameter_sync_step."""
    warmup: int = 0
    """critic_warmup: the actor's first update is in this step, or in step 1."""

    @property
    def rollout(self) -> int:
        """Rollouts before this one; a warm-up's are among them."""
        return (self.step - 1) * self.calls + self.call

    def age(self, version: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """Observations since the weights had this version."""
        first = max(self.warmup, 1)
        steps = (version - first + 1).clamp(min=0)
        now = (self.step - first) * self.calls + self.call
        return (now - steps * self.calls).clamp(min=0)


def sampler_ages(
    tags: Sequence[Mapping[str, Any]],
    mask: Bool[Tensor, "b t"],
    clock: Clock,
) -> tuple[float, ...] | None:
    """Share of the trained tokens by the age of the policy that sampled them; None where
    a completion with trained tokens has no version.

    A completion that was interrupted spans several versions, and verl does not say which
    token is whose: its tokens count in equal parts.
    """
    tokens = mask.sum(1).double()
    trained = tokens.nonzero().squeeze(1).tolist()
    ages, weights = [], []
    for row in trained:
        span = _span(tags[row])
        if span is None:
            return None
        of_row = clock.age(torch.arange(span[0], span[1] + 1))
        ages.append(of_row)
        weights.append((tokens[row] / len(of_row)).expand(len(of_row)))
    if not trained:
        return ()
    return shares_by_age(torch.cat(ages), torch.cat(weights))


def _span(tag: Mapping[str, Any]) -> tuple[int, int] | None:
    """First and last version of a completion."""
    first, last = tag.get("min_global_steps"), tag.get("max_global_steps")
    return None if first is None or last is None else (int(first), int(last))


def entropy_ages(
    clock: Clock,
    sampled: tuple[float, ...] | None,
    bypass: bool,
) -> tuple[float, ...] | None:
    """RolloutSummary.ages of a batch: whose entropy is measured.

    Args:
        sampled: of `sampler_ages`.
        bypass: whether the old log-probabilities are the sampler's.

    Raises:
        ValueError: they are, and versions are missing.
    """
    if not bypass:
        # verl makes a pass of its own. It has the weights of now, on prefixes that may be
        # stale: the entropy is the current policy's. After the first update call of a
        # step it goes back to the weights of the step's start, whose age is the calls
        return (0.0,) * clock.call + (1.0,) if clock.call else None
    if sampled is None:
        raise ValueError(
            "a completion has no min_global_steps and max_global_steps among its tags, so "
            "the age of its log-probabilities is unknown: its agent loop must keep the "
            "extra_fields of the server's answer, as verl's do, or set "
            "algorithm.rollout_correction.bypass_mode=false"
        )
    return sampled if len(sampled) > 1 else None


def mean_age(ages: tuple[float, ...]) -> float:
    """The mean of a distribution of ages, in observations."""
    return sum(age * share for age, share in enumerate(ages))
