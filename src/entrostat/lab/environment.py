"""What the fast engine's runs act in: a task's problems as tokens, its verifier, and
rewards that are blind to it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from entrostat.advantage import group_advantages
from entrostat.engines.fast import sample
from entrostat.engines.qwen2 import Model
from entrostat.engines.rollout import Rollout, concatenated
from entrostat.lab.blind import random_rewards
from entrostat.lab.characters import Characters
from entrostat.lab.tasks import Problem, ProblemSource, Task, make_task
from entrostat.texts import first_line


class Spelling(Protocol):
    """Between texts and tokens."""

    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids (q p), padded on the left, and where they are not padding."""
        ...

    def decode(self, ids: Tensor, mask: Tensor) -> list[str]:
        """The texts of completions (b t), special tokens left out."""
        ...


class Tokenizer:
    """A Hugging Face tokenizer as a Spelling."""

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer

    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        inputs = self._tokenizer(
            list(prompts), return_tensors="pt", padding=True, padding_side="left"
        )
        return inputs["input_ids"], inputs["attention_mask"].bool()

    def decode(self, ids: Tensor, mask: Tensor) -> list[str]:
        kept = []
        for row, row_mask in zip(ids.cpu(), mask.cpu(), strict=True):
            kept.append(row[row_mask].tolist())
        return self._tokenizer.batch_decode(kept, skip_special_tokens=True)


class Environment(NamedTuple):
    """A task and how it is spelt."""

    task: ProblemSource
    spelling: Spelling

    def sample(
        self,
        model: Model,
        prompts: Sequence[str],
        *,
        samples: int,
        generators: Sequence[torch.Generator],
        temperature: float = 1.0,
    ) -> Rollout:
        """`samples` completions of each prompt, the same prompts for every run of
        `model`."""
        ids, mask = self.spelling.encode(prompts)
        return sample(
            model,
            ids.to(model.device).expand(model.runs, -1, -1),
            mask.to(model.device).expand(model.runs, -1, -1),
            samples=samples,
            most=self.task.max_completion,
            generators=generators,
            temperature=temperature,
        )

    def texts(self, rollout: Rollout, run: int = 0) -> list[str]:
        """A run's completions."""
        ids, mask = rollout.completions[run], rollout.mask[run]
        return self.spelling.decode(ids.cpu(), mask.cpu())

    def verdicts(
        self, problems: Sequence[Problem], rollout: Rollout, run: int = 0
    ) -> Tensor:
        """The verifier's score of each completion of a run, (b,) float32; 0 where it
        has given none."""
        texts = self.texts(rollout, run)
        samples = len(texts) // len(problems)
        repeated = [problem for problem in problems for _ in range(samples)]
        scores = self.task.judge(repeated, texts)
        return torch.tensor([score or 0.0 for score in scores])


def lab_environment(task: str, model: str = "") -> tuple[Environment, Path]:
    """The environment of a task of the lab and the folder of its model: the task's own,
    or one that a user names.

    ValueError, one line, where the named folder has no tokenizer that can spell the
    task's prompts.
    """
    lab_task = make_task(task)
    if not model:
        spelling = Characters(lab_task.alphabet)
        return Environment(lab_task, spelling), lab_task.base_model
    spelling = _spelling_of(model)
    _check_spelling(spelling, lab_task, model)
    return Environment(lab_task, spelling), Path(model)


def _spelling_of(model: str) -> Tokenizer:
    """The tokenizer in a folder."""
    # or transformers would look the name up on the hub
    if not Path(model).is_dir():
        raise ValueError(
            f"--model {model!r} is no folder: give one with a model and its tokenizer"
        )
    # imported here, since nothing else of this engine needs transformers
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    except Exception as error:
        raise ValueError(
            f"no tokenizer in {model!r} ({first_line(error)}): --model needs one"
        ) from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Tokenizer(tokenizer)


def _check_spelling(spelling: Tokenizer, task: Task, model: str) -> None:
    """Raises ValueError where a prompt of the task is another text after the
    tokenizer."""
    prompt = task.problems(1, split="train", seed=0)[0].prompt
    ids, mask = spelling.encode([prompt])
    if spelling.decode(ids, mask) != [prompt]:
        raise ValueError(
            f"the tokenizer of {model!r} can't spell {prompt!r}: "
            "--model needs one that can"
        )


class Graded(NamedTuple):
    """A rollout and what its completions are worth, (b,) each."""

    sampled: Rollout
    rewards: Tensor
    advantages: Tensor


def graded(
    environment: Environment,
    model: Model,
    problems: Sequence[Problem],
    *,
    samples: int,
    temperature: float,
    reward: str,
    scale_rewards: Literal["group", "none"],
    generator: torch.Generator,
    key: str,
) -> Graded:
    """A rollout of a model of one run: completions of `problems`, their rewards, and
    advantages within each group.

    `key` is that of random rewards, which are the same for the same key.
    """
    prompts = [problem.prompt for problem in problems]
    sampled = environment.sample(
        model, prompts, samples=samples, generators=[generator], temperature=temperature
    )
    if reward == "true":
        rewards = environment.verdicts(problems, sampled)
    else:
        count = len(problems) * samples
        rewards = torch.tensor(random_rewards(reward, count, f"{reward}/{key}"))
    advantages = group_advantages(rewards, samples, scale=scale_rewards)
    return Graded(sampled, rewards, advantages.to(model.device))


def joined(parts: Sequence[Graded], pad: int) -> Graded:
    """Parts of one rollout as one; `pad` is the id of padding."""
    if len(parts) == 1:
        return parts[0]
    sampled = concatenated([part.sampled for part in parts], pad)
    rewards = torch.cat([part.rewards for part in parts])
    advantages = torch.cat([part.advantages for part in parts])
    return Graded(sampled, rewards, advantages)


def vocabulary_ceiling(model: Model) -> float:
    """The largest entropy that there can be, ln(vocabulary), nats."""
    return math.log(model.weights["model.embed_tokens.weight"].shape[1])
