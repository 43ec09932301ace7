"""What the fast engine's runs act in: a task's problems as tokens, its verifier, and rewards that are blind to it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from entrostat.advantage import group_advantages
from entrostat.engines.fast import Rollout, sample
from entrostat.engines.qwen2 import Model
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
        found = self._tokenizer(
            list(prompts), return_tensors="pt", padding=True, padding_side="left"
        )
        return found["input_ids"], found["attention_mask"].bool()

    def decode(self, ids: Tensor, mask: Tensor) -> list[str]:
        rows = [
            row[kept].tolist() for row, kept in zip(ids.cpu(), mask.cpu(), strict=True)
        ]
        return self._tokenizer.batch_decode(rows, skip_special_tokens=True)


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
        """`samples` completions of each prompt, the same prompts for every run of `model`."""
        ids, mask = self.spelling.encode(prompts)
        ids, mask = (x.to(model.device).expand(model.runs, -1, -1) for x in (ids, mask))
        return sample(
            model,
            ids,
            mask,
            samples=samples,
            most=self.task.max_completion,
            generators=generators,
            temperature=temperature,
        )

    def texts(self, rollout: Rollout, run: int = 0) -> list[str]:
        """A run's completions."""
        return self.spelling.decode(
            rollout.completions[run].cpu(), rollout.mask[run].cpu()
        )

    def verdicts(
        self, problems: Sequence[Problem], rollout: Rollout, run: int = 0
    ) -> Tensor:
        """The verifier's score of each completion of a run, (b,) float32; 0 where it has given none."""
        texts = self.texts(rollout, run)
        samples = len(texts) // len(problems)
        repeated = [problem for problem in problems for _ in range(samples)]
        scores = self.task.judge(repeated, texts)
        return torch.tensor([score or 0.0 for score in scores])


def lab_environment(task: str, model: str = "") -> tuple[Environment, Path]:
    """The environment of a task of the lab and the folder of its model: the task's own, or one that a user names.

    ValueError, one line, where the named folder has no tokenizer that can spell the task's prompts.
    """
    made = make_task(task)
    if not model:
        assert isinstance(made, Task)
        return Environment(made, Characters(made.alphabet)), made.base_model
    if not Path(model).is_dir():  # and nothing is looked up on the hub
        raise ValueError(
            f"--model {model!r} is no folder: give one with a model and its tokenizer"
        )
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(model, padding_side="left")
    except Exception as error:
        said = first_line(error)
        raise ValueError(
            f"no tokenizer in {model!r} ({said}): --model needs one"
        ) from None
    if found.pad_token_id is None:
        found.pad_token = found.eos_token
    tokenizer = Tokenizer(found)
    prompt = made.problems(1, split="train", seed=0)[0].prompt
    ids, mask = tokenizer.encode([prompt])
    if tokenizer.decode(ids, mask) != [prompt]:
        raise ValueError(
            f"the tokenizer of {model!r} can't spell {prompt!r}: --model needs one that can"
        )
    return Environment(made, tokenizer), Path(model)


def rewards(
    environment: Environment,
    reward: str,
    problems: Sequence[Problem],
    rollout: Rollout,
    key: str,
) -> Tensor:
    """Of the first run's completions, (b,): the verifier's, or random ones."""
    if reward == "true":
        return environment.verdicts(problems, rollout)
    return torch.tensor(
        random_rewards(reward, rollout.mask.shape[1], f"{reward}/{key}")
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
    """A rollout of a model of one run: completions of `problems`, their rewards, and advantages within each group.

    `key` is that of random rewards, which are the same for the same key.
    """
    prompts = [problem.prompt for problem in problems]
    sampled = environment.sample(
        model, prompts, samples=samples, generators=[generator], temperature=temperature
    )
    found = rewards(environment, reward, problems, sampled, key)
    advantages = group_advantages(found, samples, scale=scale_rewards)
    return Graded(sampled, found, advantages.to(model.device))


def vocabulary_ceiling(model: Model) -> float:
    """The largest entropy that there can be, ln(vocabulary), nats."""
    return math.log(model.weights["model.embed_tokens.weight"].shape[1])
