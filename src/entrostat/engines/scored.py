"""Which reward belongs to which completion.

TRL knows the rewards only where it scores, in the order of that batch. A subclass may
sample again and put other completions in their place (dynamic sampling), so a
completion's reward is found by its tokens and those of its prompt.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from entrostat.engines.rewards import weighted
from entrostat.engines.trl_surface import Base

Key = tuple[tuple[int, ...], tuple[int, ...]]
"""The tokens of a prompt, and of its completion."""


class ScoredMixin(Base):
    """Keeps the rewards of the rollout at hand, before TRL compares them within
    groups."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # the tokens of prompts and of completions, and rewards: of each scoring
        self._scored: list[tuple[list[list[int]], list[list[int]], list[float]]] = []
        self._prompt_ids: list[list[int]] = []

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        self._scored = []
        return super()._generate_and_score_completions(inputs)

    def _generate(self, prompts: list[Any]) -> Any:
        generated = super()._generate(prompts)
        self._prompt_ids = generated[0]
        return generated

    def _calculate_rewards(self, *args: Any) -> Tensor:
        rewards = super()._calculate_rewards(*args)
        completions = args[3]
        # those of all ranks, of which these are this rank's
        first = self.accelerator.process_index * len(completions)
        own = weighted(rewards, self.reward_weights)[first : first + len(completions)]
        self._scored.append((self._prompt_ids, completions, own.tolist()))
        return rewards

    def _rewards_of(self, rollout: dict[str, Any]) -> Float[Tensor, " b"]:
        """TRL's weighted sum of the rewards of each completion of this rank, NaN where
        no function scored it.

        Raises:
            ValueError: a completion was scored by nobody, or twice with two results.
        """
        prompts, completions = rollout["prompt_ids"], rollout["completion_ids"]
        keys = self._keys(prompts.tolist(), completions.tolist())
        made: list[Key] = []
        rewards: list[float] = []
        for *tokens, given in self._scored:
            made += self._keys(*tokens)
            rewards += given
        if keys != made:
            rewards = self._found(keys, _grouped(made, rewards))
        return torch.tensor(rewards, dtype=torch.float32, device=completions.device)

    def _found(self, keys: list[Key], given: dict[Key, list[float]]) -> list[float]:
        """The rewards of completions that are not those of one scoring in its order."""
        rewards = []
        for key in keys:
            candidates = given.get(key, [])
            if not candidates or not all(_same(candidates[0], x) for x in candidates):
                found = "several rewards" if candidates else "no reward"
                raise ValueError(
                    f"{type(self).__name__} trains on completions that it has put in "
                    f"the place of others, and entrostat has seen {found} for one of "
                    "them: let TRL's _calculate_rewards score each on the rank that "
                    "trains on it, or leave out dump_every and the critic"
                )
            rewards.append(candidates[0])
        return rewards

    def _keys(
        self, prompts: list[list[int]], completions: list[list[int]]
    ) -> list[Key]:
        return [
            (self._without_padding(prompt), self._without_padding(completion))
            for prompt, completion in zip(prompts, completions, strict=True)
        ]

    def _without_padding(self, ids: list[int]) -> tuple[int, ...]:
        """Prompts are padded on the left, completions on the right."""
        padding = self._tokenizer.pad_token_id
        first, last = 0, len(ids)
        while first < last and ids[first] == padding:
            first += 1
        while last > first and ids[last - 1] == padding:
            last -= 1
        return tuple(ids[first:last])


def _grouped(keys: list[Key], rewards: list[float]) -> dict[Key, list[float]]:
    """All rewards of each key."""
    given: dict[Key, list[float]] = {}
    for key, reward in zip(keys, rewards, strict=True):
        given.setdefault(key, []).append(reward)
    return given


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
