"""What a batch of TRL's AsyncGRPOTrainer says of its tokens, and what it has to say
besides: which update's weights sampled a token, and which prompt it belongs to.

TRL's queue gives samples with their policy's version and their prompt's group. TRL looks
at both and packs neither. So they are noted where a sample leaves the queue, and put into
the packed batch beside TRL's own tensors:

    queue -> RolloutQueueDataset -> batcher -> collator -> a row for each rank
         VersionedSamples                NotingCollator

All of it runs on the main process alone, which makes the batches of all ranks.
"""

from collections.abc import Callable, Iterator, Mapping
from numbers import Integral
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import IterableDataset

_VERSION = "entrostat_version"
# what we add to a batch, a row for each rank
_SAMPLED_AT = "entrostat_sampled_at"
_GROUP = "entrostat_group"
_PROGRESS = "entrostat_progress"


class Terms(NamedTuple):
    """The loss terms of one rank's micro-batch, in TRL's order: n trained tokens."""

    position: Int[Tensor, " n"]
    """In the packed row: whose prediction each is."""
    sampler_logprobs: Float[Tensor, "1 n"]
    advantages: Float[Tensor, "1 n"]
    ages: Int[Tensor, "1 n"]
    """Updates between the weights that sampled it, at the oldest, and those at hand."""
    groups: Int[Tensor, " n"]
    """Number of its prompt within the micro-batch of all ranks."""
    most_groups: int
    """No group number reaches it; equal on all ranks."""
    progress: float | None
    """Share of the run's prompts that are trained on, where that ends the run."""


def loss_terms(batch: Mapping[str, Tensor], update: int, trainer: str) -> Terms:
    """The terms of a micro-batch.

    Raises RuntimeError where the batch was not made by a loader of `note_versions`.

    Args:
        update: optimizer updates that have been made.
        trainer: the class that made the batch, for the error.
    """
    if _SAMPLED_AT not in batch:
        raise RuntimeError(
            f"a batch of {trainer} does not say which version of the policy sampled its "
            "tokens: call super().get_train_dataloader(), and keep the keys of its batches"
        )
    # padded to the longest row of all ranks
    selected = batch["token_index"] >= 0
    sample = batch["segment_id"][selected]
    sampled_at, group = batch[_SAMPLED_AT][0], batch[_GROUP][0]
    progress = batch.get(_PROGRESS)
    return Terms(
        position=batch["token_index"][selected],
        sampler_logprobs=batch["old_log_probs"][selected][None],
        advantages=batch["advantages"][selected][None],
        ages=update - sampled_at[sample][None],
        groups=group[sample],
        most_groups=len(group),
        progress=None if progress is None else float(progress[0]),
    )


def note_versions(
    loader: Any,
    published: Mapping[int, int],
    progress: Callable[[], float] | None,
) -> None:
    """Makes the batches of TRL's loader say what `loss_terms` reads.

    Args:
        loader: of AsyncGRPOTrainer.get_train_dataloader on the main process.
        published: the update after which each version of the policy was published. It
            grows while the loader runs.
        progress: share of the run's prompts that are trained on; None where the number
            of updates ends the run.
    """
    batcher = loader.dataset
    batcher.dataset = VersionedSamples(batcher.dataset)
    # accelerate's loader reads the collator of the one that it wraps
    inner = loader.base_dataloader
    inner.collate_fn = NotingCollator(inner.collate_fn, published, progress)


class _NotedQueue:
    """TRL's queue of samples, which remembers the version of the last one it gave."""

    def __init__(self, queue: Any):
        self._queue = queue
        self.version = 0

    def get(self, *args: Any, **kwargs: Any) -> Any:
        sample = self._queue.get(*args, **kwargs)
        version = getattr(sample, "model_version", None)
        if not isinstance(version, Integral):
            raise RuntimeError(
                f"the rollout worker gives a sample whose model_version is {version!r}: "
                "give it the version that update_model_version had said when its "
                "generation began"
            )
        self.version = int(version)
        return sample

    def qsize(self) -> int:
        return self._queue.qsize()


class VersionedSamples(IterableDataset):
    """TRL's RolloutQueueDataset, whose samples come with their version."""

    def __init__(self, samples: Any):
        self._samples = samples
        self._queue = samples.queue = _NotedQueue(samples.queue)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for sample in self._samples:
            # TRL drops stale ones; it gives each other one before it takes the next
            yield {**sample, _VERSION: self._queue.version}


class NotingCollator:
    """TRL's collator, whose batches say more. See `note_versions`."""

    def __init__(
        self,
        collator: Callable[[list[Any]], dict[str, Tensor]],
        published: Mapping[int, int],
        progress: Callable[[], float] | None,
    ):
        self._collator = collator
        self._published = published
        self._progress = progress

    def __call__(self, examples: list[Any]) -> dict[str, Tensor]:
        batch = self._collator(examples)
        # one micro-batch: TRL's TreeRow for each rank
        (rows,) = examples
        width = sum(len(row.samples) for row in rows)
        numbers: dict[Any, int] = {}
        sampled_at, groups = [], []
        for row in rows:
            updates = [self._update_of(sample[_VERSION]) for sample in row.samples]
            ids = [sample["group_id"] for sample in row.samples]
            padding = [0] * (width - len(ids))
            sampled_at.append(updates + padding)
            groups.append([numbers.setdefault(i, len(numbers)) for i in ids] + padding)
        batch[_SAMPLED_AT] = torch.tensor(sampled_at)
        batch[_GROUP] = torch.tensor(groups)
        if self._progress is not None:
            batch[_PROGRESS] = torch.full((len(rows),), self._progress())
        return batch

    def _update_of(self, version: int) -> int:
        update = self._published.get(version)
        if update is None:
            known = f"{min(self._published)} to {max(self._published)}"
            raise RuntimeError(
                f"a sample is of version {version} of the policy, and this run has "
                f"published {known}: give the worker's samples the version that "
                "update_model_version had said when their generation began"
            )
        return update
