"""What stops a run of the TRL engine: a trainer around it that does not do what control
needs, and numbers that are none."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.distributed.tensor import DTensor

from entrostat.engines.diverged import diverged
from entrostat.engines.passes import THRESHOLDS
from entrostat.strategies import strategy_name


def check_sampled_once(trainer: Any, observed_at: int | None) -> None:
    """Raises RuntimeError where the rollout before this micro-batch was observed
    already."""
    if observed_at == trainer._step:
        raise RuntimeError(
            f"{type(trainer).__name__} samples twice for one rollout, above entropy "
            f"control, which would count two: {_below(trainer)}"
        )


def check_same_completions(
    trainer: Any,
    batch: Mapping[str, Any],
    seen: Int[Tensor, "b t"] | None,
    mask: Bool[Tensor, "b t"],
) -> None:
    """Raises RuntimeError where a trained token is not one that was observed."""
    ids = batch["completion_ids"]
    if seen is None or seen.shape != ids.shape or bool(((seen != ids) & mask).any()):
        raise RuntimeError(
            f"{type(trainer).__name__} replaces completions above entropy control, which "
            f"has taken its statistics of others: {_below(trainer)}"
        )


def check_reached(trainer: Any, reached: bool, *, loss: str = "_compute_loss") -> None:
    """Raises RuntimeError where a training step went past entropy control's loss, which
    is the trainer's method `loss`."""
    if not reached:
        raise RuntimeError(
            f"{type(trainer).__name__} computes its loss above entropy control, which "
            f"neither controls nor measures anything then: call super().{loss}, or "
            f"{_below(trainer)}"
        )


def check_read(
    trainer: Any, read: set[str], controlled: bool, *, loss: str = "_compute_loss"
) -> None:
    """Raises RuntimeError where bounds are set, and the trainer's method `loss` has not
    read them all."""
    unread = [name for name in THRESHOLDS if name not in read]
    if controlled and unread:
        raise RuntimeError(
            f"{type(trainer).__name__}.{loss} does not read self."
            f"{' or self.'.join(unread)}, so strategy "
            f"{strategy_name(trainer.strategy)!r} controls nothing: call "
            f"super().{loss} or clamp the ratio with both, or pass strategy=None to "
            "measure only"
        )


def check_finite(
    trainer: Any, loss: Float[Tensor, ""], entropy: Float[Tensor, "b t"]
) -> None:
    """Raises RuntimeError for a loss, or entropies of trained tokens, that are no
    numbers. A loss in fp16 may overflow: its update is then left out by the scaler."""
    both = torch.stack([loss.detach().float(), entropy.detach().sum().float()])
    of_loss, of_entropy = both.tolist()
    update = f"update {trainer.state.global_step}"
    if not math.isfinite(of_loss) and not trainer.args.fp16:
        raise diverged("the loss", of_loss, update)
    if math.isfinite(of_loss) and not math.isfinite(of_entropy):
        raise RuntimeError(
            f"at {update} the policy's entropy is {of_entropy}, though its "
            "log-probabilities are numbers: a logit is -inf, and the LM head is sharded "
            "or scales its logits; replace -inf in it by -1e4, which is as impossible"
        )


@contextlib.contextmanager
def explaining(trainer: Any) -> Iterator[None]:
    """Says what an error of the sampler means where the weights are no numbers."""
    try:
        yield
    except RuntimeError as error:
        if all(_is_sound(weight) for weight in trainer.model.parameters()):
            raise
        update = f"update {trainer.state.global_step}"
        raise diverged("a weight", math.nan, update) from error


def _is_sound(weight: Tensor) -> bool:
    """Whether a parameter, or this rank's part of it, is free of NaN and inf. A bias of
    -inf bars a token."""
    local = weight.to_local() if isinstance(weight, DTensor) else weight
    return bool((local < math.inf).all())


def _below(trainer: Any) -> str:
    """Where something belongs that stands above entropy control."""
    names = [base.__name__ for base in type(trainer).__mro__]
    mixin = next(name for name in names if name.endswith("EntropyControlMixin"))
    return f"put it into the trainer below, class Mine({mixin}, YourTrainer)"
