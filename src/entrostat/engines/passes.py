"""The policy's forward passes in TRL's trainer, and which of them its loss is made of.

TRL makes all of them by one method, which is overridden here. A subclass of somebody's
own may make more: a term of its own, a pass to log. The loss's own pass is the one over
the micro-batch's sequences that came before the loss read its thresholds. Who reads them
is known since they are descriptors here.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from entrostat.engines.lm_head import HeadSums
from entrostat.engines.trl_surface import Base

THRESHOLDS = ("epsilon_low", "epsilon_high")
"""TRL's attributes that hold the bounds."""


class Pass(NamedTuple):
    """One forward pass over prompts and completions."""

    ids: Int[Tensor, "b s"]
    logprobs: Float[Tensor, "b t"]
    """Of the completions' tokens."""
    entropy: Float[Tensor, "b t"]
    states: Float[Tensor, "b n d"] | None
    """The last hidden states, which are alive for the backward pass anyway; None for a
    pass without gradient."""


class Passes:
    """What was done with the policy within one rollout, or within one loss."""

    def __init__(self):
        self.made: list[Pass] = []
        self.read: set[str] = set()
        """The thresholds that somebody has read."""
        self.masks: list[Tensor] = []
        """By which TRL takes tokens out of its loss: 0 for a token that it leaves
        out."""
        self._before_read: int | None = None

    def note_read(self, threshold: str) -> None:
        self.read.add(threshold)
        if self._before_read is None and self.made:
            self._before_read = len(self.made)

    def of_loss(self, ids: Int[Tensor, "b s"], trainer: str) -> Pass:
        """The pass that the loss over these sequences was made of.

        Raises:
            RuntimeError: there is none, or several may be it.
        """
        fit = self.made[: self._before_read]
        if len(fit) > 1:
            fit = [made for made in fit if torch.equal(made.ids, ids)]
            fit = [made for made in fit if made.logprobs.requires_grad] or fit
        if not fit:
            raise RuntimeError(
                f"{trainer}._compute_loss makes no pass over its batch that entrostat "
                "can see: call super()._compute_loss, or take log-probabilities from "
                "self._get_per_token_logps_and_entropies"
            )
        if len(fit) > 1 and fit[0].logprobs.requires_grad:
            raise RuntimeError(
                f"{trainer}._compute_loss makes {len(fit)} passes with gradient before "
                "it reads epsilon_low, and entrostat cannot tell which of them the "
                "ratio is made of: make the others after the clipped loss, or under "
                "torch.no_grad()"
            )
        return fit[-1]


class Threshold:
    """An attribute of the trainer that tells the pass record who reads it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, trainer: Any, owner: type | None = None) -> Any:
        if trainer is None:
            return self
        if self.name not in vars(trainer):
            raise AttributeError(self.name)
        if trainer._passes is not None:
            trainer._passes.note_read(self.name)
        return vars(trainer)[self.name]

    def __set__(self, trainer: Any, value: Any) -> None:
        vars(trainer)[self.name] = value


class PassMixin(Base):
    """Records the policy's passes, and makes their entropies finite."""

    epsilon_low: Any = Threshold()
    epsilon_high: Any = Threshold()
    _passes: Passes | None = None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._head = HeadSums()

    @contextlib.contextmanager
    def _recording(self) -> Iterator[Passes]:
        """Gives the record of the policy's passes that are made inside."""
        self._passes = Passes()
        try:
            yield self._passes
        finally:
            self._passes = None

    def _get_per_token_logps_and_entropies(
        self, model: nn.Module, input_ids: Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        passes, method = self._passes, super()._get_per_token_logps_and_entropies
        if passes is None or model is self.ref_model:
            return method(model, input_ids, *args, **kwargs)
        wanted = kwargs.pop("compute_entropy", False)
        # TRL's fused head computes the entropy in every pass of the policy: asking for
        # it costs nothing.
        with self._watching(model) as states:
            logprobs, entropy, aux_loss = method(
                model, input_ids, *args, compute_entropy=True, **kwargs
            )
        kept = states[-1] if states and logprobs.requires_grad else None
        passes.made.append(Pass(input_ids, logprobs, entropy, kept))
        return logprobs, entropy if wanted else None, aux_loss

    def get_high_entropy_mask(self, *args: Any, **kwargs: Any) -> Tensor:
        return self._noted(super().get_high_entropy_mask(*args, **kwargs))

    def get_off_policy_mask(self, *args: Any, **kwargs: Any) -> Tensor:
        return self._noted(super().get_off_policy_mask(*args, **kwargs))

    def _noted(self, mask: Tensor) -> Tensor:
        if self._passes is not None:
            self._passes.masks.append(mask)
        return mask

    @contextlib.contextmanager
    def _watching(self, model: nn.Module) -> Iterator[list[Tensor]]:
        """Inside, the model's entropies come out finite. Gives a list that holds the
        last hidden states of its latest call."""
        inner = self._inner(model)
        states: list[Tensor] = []

        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            states[:] = [output.last_hidden_state.detach()]

        def mend(_module: nn.Module, _args: Any, given: Any, output: Any) -> None:
            self._mend_entropy(inner, given.get("labels"), output, states)

        hooks = [
            inner.base_model.register_forward_hook(keep),
            model.register_forward_hook(mend, with_kwargs=True),
        ]
        try:
            yield states
        finally:
            for hook in hooks:
                hook.remove()

    def _mend_entropy(
        self, inner: Any, labels: Tensor | None, output: Any, states: list[Tensor]
    ) -> None:
        """Takes anew the entropies of the fused head's output that are not finite.

        It computes ln sum e^z - sum p z, which is NaN where one logit is -inf. What
        cannot be taken anew stays, and stops the run where it is used.
        """
        entropy = getattr(output, "entropy", None)
        if entropy is None or bool(entropy.isfinite().all()):
            return
        self._check_no_bonus(entropy)
        if not states or labels is None or labels[:, 1:].shape != entropy.shape:
            return
        bad = ~entropy.isfinite()
        stats_at = self._head.at_tokens(
            inner.get_output_embeddings(),
            states[-1],
            labels[:, 1:].clamp(min=0),
            output.log_probs.detach(),
            bad,
            float(self.temperature),
        )
        if stats_at is None:
            return
        taken = stats_at(bad.reshape(-1).nonzero().squeeze(-1)).entropy
        assert taken is not None
        output.entropy = entropy.masked_scatter(bad, taken[0].to(entropy.dtype))

    def _check_no_bonus(self, entropy: Tensor) -> None:
        """Raises RuntimeError where TRL's loss needs the gradient of an entropy that is
        not finite: it is NaN, whatever the entropy is replaced by."""
        bonus = self.args.entropy_coef != 0 or self.args.use_adaptive_entropy
        if bonus and entropy.requires_grad:
            raise RuntimeError(
                "TRL's entropy bonus has a gradient of NaN where a logit is -inf: "
                "replace -inf in the LM head by a finite number such as -1e4, which is "
                "as impossible, or leave out entropy_coef and use_adaptive_entropy"
            )

    def _inner(self, model: nn.Module) -> Any:
        """The language model, out of the wrappers of accelerate and PEFT."""
        inner = self.accelerator.unwrap_model(model)
        return inner.get_base_model() if hasattr(inner, "get_base_model") else inner
