"""Where a run's problems come from: a task of the lab, or a data set with a verifier in
processes of its own."""

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, final

from entrostat.data.columns import Item
from entrostat.data.dedup import normalised
from entrostat.data.gym import PREFIX, gym_items, parse_tasks
from entrostat.data.load import load_problems
from entrostat.data.prompts import WORDING_OF, rendered, unspelt, worded
from entrostat.data.sources import find_source
from entrostat.engines.reward_error import RewardError, shown
from entrostat.lab.config import TrainConfig
from entrostat.lab.tasks import (
    Problem,
    ProblemSource,
    Split,
    check_draw,
    drawn_from,
    make_task,
    split_of,
)
from entrostat.verify import VerifierPool

TIMEOUT = 5.0
"""Seconds that a verifier may take over one completion."""


def _tell_nobody(text: str) -> None:
    """Until a run begins, nobody listens."""


class Judged(ProblemSource):
    """Problems whose answers verifiers judge: one pool of processes per verifier, started
    when it is first asked. Subclasses are final."""

    identity: ClassVar[str]
    """The key of `record` that is the same as long as the problems are."""
    record: dict[str, Any]
    """What config.json says of the problems."""
    notes: tuple[str, ...] = ()
    """What the user is to know before the run."""

    def __init__(self, config: TrainConfig, tokenizer: Any):
        self.name = config.dataset
        self.max_completion = config.max_completion
        self.on_error = config.on_verifier_error
        self.resume = ""
        self.note: Callable[[str], None] = _tell_nobody
        self._model = config.model
        self._tokenizer = tokenizer
        self._pools: dict[str, VerifierPool] = {}

    def serve(self, note: Callable[[str], None], resume: str) -> None:
        """Takes up a run's work.

        Args:
            note: is told of each completion without a verdict, where the run goes on.
            resume: the command that goes on with the run, for a message.
        """
        self.note = note
        self.resume = resume

    def differences(self, began: dict[str, Any]) -> str:
        """How these problems differ from those of a record; empty where they are the same.

        Counts may differ: dropped problems are counted by the benchmarks that could be had
        on that day.
        """
        if began.get(self.identity) == self.record[self.identity]:
            return ""
        changes = []
        for key, now in self.record.items():
            if began.get(key) != now:
                changes.append(f"{key}: {began.get(key)} then, {now} now")
        return "; ".join(changes)

    def score(self, problem: Problem, completion: str) -> float:
        """As `judge`, for one. RewardError where there is no verdict, whatever the run was
        told."""
        verdict = self._verdicts([problem], [completion])[0]
        if verdict.score is None:
            raise self._no_verdict(problem, completion, verdict)
        return verdict.score

    def judge(
        self, problems: Sequence[Problem], completions: Sequence[str]
    ) -> list[float | None]:
        """The score of each completion; None where there is no verdict and the run was
        told to go on.

        RewardError, naming the first sample, for a verifier that times out, dies or
        throws, where the run was told to stop.
        """
        scores: list[float | None] = []
        for row, verdict in enumerate(self._verdicts(problems, completions)):
            problem, completion = problems[row], completions[row]
            if verdict.score is None and self.on_error == "stop":
                raise self._no_verdict(problem, completion, verdict)
            if verdict.score is None:
                self.note(
                    f"not scored ({verdict.error}): {shown(completion, 80)} "
                    f"on {shown(problem.prompt, 80)}"
                )
            scores.append(verdict.score)
        return scores

    def _no_verdict(
        self, problem: Problem, completion: str, verdict: Any
    ) -> RewardError:
        cure = f"{self.resume} --on-verifier-error skip".strip()
        return RewardError(
            f"the verifier of {self.name!r} gave no verdict ({verdict.error}) "
            f"on prompt {shown(problem.prompt)}, completion {shown(completion)}: "
            f"to go on without such samples, {cure}"
        )

    def _verdicts(
        self, problems: Sequence[Problem], completions: Sequence[str]
    ) -> list[Any]:
        """Each completion's verdict, by the verifier of its problem."""
        rows_of: dict[str, list[int]] = {}
        for row, problem in enumerate(problems):
            rows_of.setdefault(problem.data["verifier"], []).append(row)
        verdicts: list[Any] = [None] * len(problems)
        for verifier in sorted(rows_of):
            rows = rows_of[verifier]
            pairs = [(problems[row].data["answer"], completions[row]) for row in rows]
            judged = self._pool(verifier).score(pairs)
            for row, verdict in zip(rows, judged, strict=True):
                verdicts[row] = verdict
        return verdicts

    def _pool(self, verifier: str) -> VerifierPool:
        if verifier not in self._pools:
            self._pools[verifier] = VerifierPool(verifier, timeout=TIMEOUT)
        return self._pools[verifier]

    def _prompt(self, item: Item, verifier: str) -> str:
        """The text that the model continues: worded for the verifier, in the model's chat
        template."""
        return rendered(self._tokenizer, worded(WORDING_OF[verifier], item.problem))

    def _problem(self, item: Item, verifier: str) -> Problem:
        data = {"answer": item.answer, "verifier": verifier}
        return Problem(self._prompt(item, verifier), normalised(item.problem), data)

    def _check_spelling(self, items: Iterable[Item], verifier: str) -> None:
        """Raises ValueError for a prompt that the model's tokenizer would change."""
        prompts = (self._prompt(item, verifier) for item in items)
        lost = unspelt(self._tokenizer, prompts)
        if lost is not None:
            character, prompt = lost
            raise ValueError(
                f"the tokenizer of --model {self._model} can't spell {character!a} "
                f"of the prompt {shown(prompt, 80)}: choose another model or data set"
            )


@final
class DatasetSource(Judged):
    """The problems of a data set. One without a test split is split by `split_of`, on the
    normalised text.

    Raises:
        ValueError: what can't be read, judged or spelt, with the option to change.
    """

    identity = "fingerprint"

    def __init__(self, config: TrainConfig, tokenizer: Any):
        super().__init__(config, tokenizer)
        source = find_source(config.dataset, config.columns, config.verifier)
        loaded = load_problems(source, config.drop_benchmarks)
        self.record = {"fingerprint": loaded.fingerprint, "counts": loaded.counts}
        self.notes = tuple(loaded.notes)
        train, test = loaded.train, loaded.test
        if test is None:
            train, test = _train_and_test(loaded.train)
        self._items = {"train": train, "test": test}
        self._verifiers = {"train": source.verifier, "test": source.test_verifier}
        for split, items in self._items.items():
            self._check_spelling(items, self._verifiers[split])

    def problems(self, n: int, *, split: Split, seed: int) -> list[Problem]:
        check_draw(n, split)
        items = self._items[split]
        if not items or (split == "test" and n > len(items)):
            raise ValueError(
                f"{self.name} has {len(items)} {split} problems, {n} are asked for: "
                "lower --eval-problems, or give more data"
            )
        rng = random.Random(f"{split}/{seed}")
        drawn = drawn_from(items, n, rng)
        return [self._problem(item, self._verifiers[split]) for item in drawn]


@final
class GymSource(Judged):
    """Problems of reasoning-gym's tasks in turn, as many as are asked for; split by
    `split_of`."""

    identity = "tasks"

    def __init__(self, config: TrainConfig, tokenizer: Any):
        super().__init__(config, tokenizer)
        self._tasks = parse_tasks(config.dataset)
        self.record = {"tasks": self._tasks}
        # the problems have no end: 16 of each task show its characters
        first = itertools.islice(gym_items(self._tasks, seed=0), 16 * len(self._tasks))
        self._check_spelling(first, "gym")

    def problems(self, n: int, *, split: Split, seed: int) -> list[Problem]:
        check_draw(n, split)
        # in the order drawn, each problem once
        drawn: dict[str, Item] = {}
        for tried, item in enumerate(gym_items(self._tasks, seed)):
            key = normalised(item.problem)
            if split_of(key) == split:
                drawn.setdefault(key, item)
            # a task with few problems would be drawn from for ever
            if len(drawn) == n or tried > 1000 + 20 * n:
                break
        items = list(drawn.values())
        if not items or (split == "test" and len(items) < n):
            raise ValueError(
                f"{self.name} has {len(items)} {split} problems, {n} are asked for: "
                "add tasks"
            )
        # a task with few problems comes round again
        repeated = itertools.islice(itertools.cycle(items), n)
        return [self._problem(item, "gym") for item in repeated]


def make_source(config: TrainConfig, tokenizer: Any) -> ProblemSource:
    """Where the problems of a run come from."""
    if not config.dataset:
        return make_task(config.task)
    kind = GymSource if config.dataset.startswith(PREFIX) else DatasetSource
    return kind(config, tokenizer)


def _train_and_test(items: list[Item]) -> tuple[list[Item], list[Item]]:
    """The two splits of problems that came without any."""
    train, test = [], []
    for item in items:
        held_out = split_of(normalised(item.problem)) == "test"
        (test if held_out else train).append(item)
    return train, test
