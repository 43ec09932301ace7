"""What a run is made of, in two steps: its groundwork before it has a folder, and its
context while TRL trains it. Both are built once, handed down and never changed."""

from typing import Any, NamedTuple

import datasets

from entrostat.lab.config import TrainConfig
from entrostat.lab.evaluate import BATCH, drawing
from entrostat.lab.load import load_tokenizer
from entrostat.lab.methods import Method, Recipe
from entrostat.lab.ranks import Ranks
from entrostat.lab.run import Run
from entrostat.lab.scoring import scored
from entrostat.lab.source import make_source
from entrostat.lab.tasks import ProblemSource
from entrostat.lab.trackers import check_trackers
from entrostat.lab.watch import Stop


class Groundwork(NamedTuple):
    """What is known of a run before it has a folder."""

    config: TrainConfig
    method: Method
    tokenizer: Any
    task: ProblemSource


class Context(NamedTuple):
    """One run in training on TRL's engine."""

    run: Run
    config: TrainConfig
    method: Recipe
    """What of the method goes where."""
    tokenizer: Any
    task: ProblemSource
    dataset: datasets.Dataset
    """The problems that it trains on, in their order."""
    ranks: Ranks
    stop: Stop
    """Who may stop it, with the watcher that is told of it."""

    @property
    def pass_size(self) -> int:
        """Completions that pass through the model together, on this rank."""
        return self.ranks.share(self.config)

    @property
    def sampled_at_once(self) -> int:
        """Completions that are sampled together for a score: a user's model may be large,
        the lab's own ones are small."""
        if self.config.model:
            return self.pass_size
        return max(self.config.completions_per_update, BATCH)

    def rollout_of(self, step: int) -> tuple[int, int]:
        """The rollout that an optimizer step belongs to, and its number in that rollout."""
        return divmod(step, self.config.updates_per_rollout)


def lay_groundwork(config: TrainConfig, method: Method) -> Groundwork:
    """Loads tokenizer and problems. ValueError, one line, for what cannot be had."""
    check_trackers(config.report_to)
    tokenizer = load_tokenizer(config)
    return Groundwork(config, method, tokenizer, make_source(config, tokenizer))


def training_set(task: ProblemSource, config: TrainConfig) -> datasets.Dataset:
    """The run's problems for one epoch: each rollout has prompts of its own, and their
    order is the seed's."""
    count = config.steps * config.prompts
    problems = task.problems(count, split="train", seed=config.seed)
    rows = [{"prompt": p.prompt, "key": p.key, "data": p.data} for p in problems]
    return datasets.Dataset.from_list(rows)


def score(context: Context, when: str, model: Any) -> dict[str, Any]:
    """The model's scores at that time of the run; rank 0 makes them, all ranks call."""
    run, config, task = context.run, context.config, context.task
    draw = drawing(model, context.tokenizer, task, context.sampled_at_once)
    return context.ranks.first(
        lambda: scored(run, when, config, task, draw, context.stop.watcher)
    )
