"""Where a run's problems come from: a task of the lab, or a data set with a verifier in processes of its own."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, final

from entrostat.data.columns import Item
from entrostat.data.dedup import normalised
from entrostat.data.gym import PREFIX, gym_items, parse_tasks
from entrostat.data.load import load_problems
from entrostat.data.prompts import WORDING_OF, rendered, unspelt, worded
from entrostat.data.sources import find_source
from entrostat.engines.rewards import RewardError, shown
from entrostat.lab.tasks import (
    Problem,
    ProblemSource,
    Split,
    check_draw,
    make_task,
    split_of,
)
from entrostat.verify import VerifierPool

if TYPE_CHECKING:
    from entrostat.lab.config import TrainConfig

OnError = Literal["stop", "skip"]
TIMEOUT = 5.0
"""Seconds that a verifier may take over one completion."""


class Judged(ProblemSource):
    """Scores by verifiers, one pool for each, started when first asked."""

    on_error: OnError
    resume: str
    """The command that goes on with the run, for a message; empty where there is none yet."""
    note: Callable[[str], None]
    """Is told of each completion that no verdict was reached on, where the run goes on."""
    record: dict[str, Any]
    """What config.json says of the problems."""
    identity: str
    """The key of what is the same there as long as the problems are."""
    notes: list[str]
    """What the user is to know before the run."""

    def _start(self, on_error: OnError) -> None:
        self.on_error, self.resume, self.note, self._pools = (
            on_error,
            "",
            lambda _: None,
            {},
        )

    def differences(self, began: dict[str, Any]) -> str:
        """How these problems differ from those of a record; empty where they are the same.

        Counts may: of what was dropped they count by the benchmarks that could be had on that day.
        """
        if began.get(self.identity) == self.record[self.identity]:
            return ""
        keys = [key for key in self.record if began.get(key) != self.record[key]]
        return "; ".join(
            f"{key}: {began.get(key)} then, {self.record[key]} now" for key in keys
        )

    def score(self, problem: Problem, completion: str) -> float:
        """As `judge`, for one. RewardError where there is no verdict, whatever the run was told."""
        return self._scored(
            problem, completion, self._verdicts([problem], [completion])[0]
        )

    def judge(
        self, problems: Sequence[Problem], completions: Sequence[str]
    ) -> list[float | None]:
        """RewardError, naming the first sample, for a verifier that times out, dies or throws, where told to stop."""
        scores: list[float | None] = []
        verdicts = self._verdicts(problems, completions)
        for problem, completion, verdict in zip(
            problems, completions, verdicts, strict=True
        ):
            if verdict.score is not None or self.on_error == "stop":
                scores.append(self._scored(problem, completion, verdict))
            else:
                self.note(
                    f"not scored ({verdict.error}): {shown(completion, 80)} on {shown(problem.prompt, 80)}"
                )
                scores.append(None)
        return scores

    def _scored(self, problem: Problem, completion: str, verdict: Any) -> float:
        if verdict.score is None:
            cure = f"{self.resume} --on-verifier-error skip".strip()
            raise RewardError(
                f"the verifier of {self.name!r} gave no verdict ({verdict.error}) on prompt {shown(problem.prompt)}, "
                f"completion {shown(completion)}: to go on without such samples, {cure}"
            )
        return verdict.score

    def _verdicts(
        self, problems: Sequence[Problem], completions: Sequence[str]
    ) -> list[Any]:
        verdicts: list[Any] = [None] * len(problems)
        for verifier in sorted({problem.data["verifier"] for problem in problems}):
            if verifier not in self._pools:
                self._pools[verifier] = VerifierPool(verifier, timeout=TIMEOUT)
            mine = [
                i
                for i, problem in enumerate(problems)
                if problem.data["verifier"] == verifier
            ]
            found = self._pools[verifier].score(
                [(problems[i].data["answer"], completions[i]) for i in mine]
            )
            for i, verdict in zip(mine, found, strict=True):
                verdicts[i] = verdict
        return verdicts


@final
class DatasetSource(Judged):
    """The problems of a data set. One without a test split is split by `split_of`, on the normalised text.

    Raises:
        ValueError: what can't be read, judged or spelt, with the option to change.
    """

    def __init__(self, config: "TrainConfig", tokenizer: Any):
        self._start(config.on_verifier_error)
        source = find_source(config.dataset, config.columns, config.verifier)
        self.name, self.max_completion = config.dataset, config.max_completion
        self._tokenizer = tokenizer
        found = load_problems(source, config.drop_benchmarks)
        self.record, self.identity = (
            {"fingerprint": found.fingerprint, "counts": found.counts},
            "fingerprint",
        )
        self.notes = found.notes
        held_out = found.test
        train = found.train
        if held_out is None:
            train, held_out = _halves(found.train)
        self._items: dict[str, tuple[list[Item], str]] = {
            "train": (train, source.verifier),
            "test": (held_out, source.test_verifier),
        }
        for items, verifier in self._items.values():
            _check_spelling(
                tokenizer,
                (_prompt(tokenizer, item, verifier) for item in items),
                config,
            )

    def problems(self, n: int, *, split: Split, seed: int) -> list[Problem]:
        check_draw(n, split)
        items, verifier = self._items[split]
        if not items or (split == "test" and n > len(items)):
            raise ValueError(
                f"{self.name} has {len(items)} {split} problems, {n} are asked for: lower --eval-problems, "
                "or give more data"
            )
        rng = random.Random(f"{split}/{seed}")
        drawn: list[Item] = []
        while len(drawn) < n:
            drawn += rng.sample(items, len(items))
        return [_problem(self._tokenizer, item, verifier) for item in drawn[:n]]


@final
class GymSource(Judged):
    """Problems of reasoning-gym's tasks in turn, as many as are asked for; split by `split_of`."""

    def __init__(self, config: "TrainConfig", tokenizer: Any):
        self._start(config.on_verifier_error)
        self.name, self.max_completion = config.dataset, config.max_completion
        self._tasks, self._tokenizer = parse_tasks(config.dataset), tokenizer
        self.record, self.identity, self.notes = {"tasks": self._tasks}, "tasks", []
        first = itertools.islice(gym_items(self._tasks, seed=0), 16 * len(self._tasks))
        _check_spelling(
            tokenizer, (_prompt(tokenizer, item, "gym") for item in first), config
        )

    def problems(self, n: int, *, split: Split, seed: int) -> list[Problem]:
        check_draw(n, split)
        drawn: dict[str, Item] = {}
        for tried, item in enumerate(gym_items(self._tasks, seed)):
            if split_of(key := normalised(item.problem)) == split:
                drawn.setdefault(key, item)
            if len(drawn) == n or tried > 1000 + 20 * n:
                break
        items = list(drawn.values())
        if not items or (split == "test" and len(items) < n):
            raise ValueError(
                f"{self.name} has {len(items)} {split} problems, {n} are asked for: add tasks"
            )
        # a task with few problems comes round again
        return [
            _problem(self._tokenizer, item, "gym")
            for item in itertools.islice(itertools.cycle(items), n)
        ]


def make_source(config: "TrainConfig", tokenizer: Any) -> ProblemSource:
    """Where the problems of a run come from."""
    if not config.dataset:
        return make_task(config.task)
    kind = GymSource if config.dataset.startswith(PREFIX) else DatasetSource
    return kind(config, tokenizer)


def _halves(items: list[Item]) -> tuple[list[Item], list[Item]]:
    test = {item for item in items if split_of(normalised(item.problem)) == "test"}
    return [item for item in items if item not in test], [
        item for item in items if item in test
    ]


def _prompt(tokenizer: Any, item: Item, verifier: str) -> str:
    return rendered(tokenizer, worded(WORDING_OF[verifier], item.problem))


def _problem(tokenizer: Any, item: Item, verifier: str) -> Problem:
    data = {"answer": item.answer, "verifier": verifier}
    return Problem(_prompt(tokenizer, item, verifier), normalised(item.problem), data)


def _check_spelling(
    tokenizer: Any, prompts: Iterator[str], config: "TrainConfig"
) -> None:
    if lost := unspelt(tokenizer, prompts):
        raise ValueError(
            f"the tokenizer of --model {config.model} can't spell {lost[0]!a} of the prompt {shown(lost[1], 80)}: "
            "choose another model or data set"
        )
