"""What a task of the lab is: problems from a seed, a verifier, and demonstrations for
the warm start."""

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from entrostat.engines.reward_error import RewardError, shown

Split = Literal["train", "test"]
T = TypeVar("T")

TEST_SHARE = 4
"""One problem in this many is held out."""


@dataclass(frozen=True)
class ModelSize:
    """The size of a task's base model."""

    hidden: int = 128
    layers: int = 3
    heads: int = 4
    mlp: int = 384


class Problem(NamedTuple):
    """One problem."""

    prompt: str
    """The whole text that the model continues."""
    key: str
    """Equal for two problems exactly when they are the same problem, however their
    prompts are written."""
    data: dict[str, Any]
    """What the verifier needs: JSON-able values with the same types in every problem of
    a task, so that they fit a column of `datasets`."""


class ProblemSource(ABC):
    """Where problems come from, and their verifier: what a run needs of a task or a
    data set. Subclasses are final.

    The same arguments give the same result in every process and on every platform.
    """

    name: str
    """What it is called in messages."""
    max_completion: int
    """The most tokens that a completion may take, its end-of-sequence token
    included."""

    @abstractmethod
    def problems(self, n: int, *, split: Split, seed: int) -> list[Problem]:
        """`n` random problems; a smaller `n` with the same seed gives a prefix.

        The two splits share no problem (`split_of`). Test problems are distinct; train
        problems are distinct until `n` exceeds the pool, then every problem comes up
        once before any comes up again.

        Raises:
            ValueError: `n` < 1, an unknown split, or more test problems than there are.
        """

    @abstractmethod
    def score(self, problem: Problem, completion: str) -> float:
        """1.0 if `completion`, as a whole and with nothing around it, is a right
        answer, else 0.0.

        `completion` may be any text: it is parsed in bounded time and space, never
        evaluated, and never raises.
        """

    def judge(
        self, problems: Sequence[Problem], completions: Sequence[str]
    ) -> list[float | None]:
        """The score of each completion; None where there is none and the run is to go
        on without it.

        RewardError, with the sample, for a scorer that throws.
        """
        scores: list[float | None] = []
        for problem, completion in zip(problems, completions, strict=True):
            try:
                scores.append(self.score(problem, completion))
            except Exception as error:
                raise RewardError(
                    f"the scorer of {self.name!r} threw {type(error).__name__} "
                    f"({shown(str(error))}) on prompt {shown(problem.prompt)}, "
                    f"completion {shown(completion)}"
                ) from error
        return scores


class Task(ProblemSource):
    """A procedural task with a verifier. Subclasses are final. Every method is pure."""

    name: str
    """The name in the registry."""
    alphabet: str
    """The characters of its prompts and right answers, each once."""
    held_out_means: str = "No test problem occurs in training."
    """What the split keeps apart and what it does not, for the model card."""
    demonstrations: str = "random right answers"
    """What `demonstrate` draws, for the model card."""
    model_size: ModelSize = ModelSize()
    """Of its base model."""

    @property
    def base_model(self) -> Path:
        """The folder of the base model that ships with the package (Hugging Face
        format)."""
        return Path(__file__).parent.parent / "models" / self.name

    @abstractmethod
    def solve(self, problem: Problem, rng: random.Random) -> str:
        """One right answer drawn at random, each right answer within reach."""

    def demonstrate(self, problem: Problem, rng: random.Random) -> str:
        """One answer for the warm start to imitate: a right one, unless the task says
        otherwise.

        A task with wrong demonstrations gives its base model habits that only the
        reward can correct.
        """
        return self.solve(problem, rng)


def split_of(key: str) -> Split:
    """The split that a problem belongs to, by a hash of its key: stable across
    processes, platforms and versions."""
    digest = hashlib.sha256(key.encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    return "test" if number % TEST_SHARE == 0 else "train"


def drawn_from(pool: Sequence[T], n: int, rng: random.Random) -> list[T]:
    """`n` of the pool in a random order. Beyond its size all come up once before any
    comes up again."""
    drawn: list[T] = []
    while len(drawn) < n:
        drawn += rng.sample(pool, len(pool))
    return drawn[:n]


def check_pool(task: str, n: int, split: str, pool: Sequence[Any]) -> None:
    """Raise ValueError unless the pool holds `n` distinct test problems. Train problems
    may come up again."""
    if split == "test" and n > len(pool):
        raise ValueError(
            f"n is {n}, but {task} has {len(pool)} test problems; ask for at most that "
            "many"
        )


def check_draw(n: int, split: str) -> None:
    """Raise ValueError unless `n` problems of `split` can be asked for."""
    if n < 1:
        raise ValueError(f"n is {n}; ask for at least 1 problem")
    if split not in get_args(Split):
        raise ValueError(f'split is {split!r}; use "train" or "test"')
