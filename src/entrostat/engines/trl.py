"""Per-token clip bounds inside TRL's GRPOTrainer.

TRL reads `self.epsilon_low` and `self.epsilon_high` at each micro-batch, in its clamp and in its clip metrics. This
engine sets them to (b t) tensors around TRL's own `_compute_loss` and puts them back after it: TRL's loss, aggregation
and metrics run unchanged, and nothing of them is copied. It overrides four private methods, each calling super:

    _generate_and_score_completions     once a rollout: takes the old policy's statistics, lets the controller observe
    _get_per_token_logps_and_entropies  keeps the per-token tensors that TRL computes anyway
    _compute_loss                       sets the bounds, calls TRL's, restores, counts clip events and regions
    _save_checkpoint, _load_optimizer_and_scheduler   the controller's state travels with TRL's checkpoints

Private methods move, so TRL is pinned to the versions on which the parity tests have run.
"""

import contextlib
import inspect
import math
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
import trl
from torch import Tensor, nn
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.grpo_trainer import GRPOTrainer

from entrostat.clip import ClipBounds, clip_events
from entrostat.engines.meter import RegionMeter, SumsOf
from entrostat.engines.rewards import guarded
from entrostat.entropy import TokenStats, bracket, excess_surprisal, token_stats
from entrostat.statefile import read_state, write_state
from entrostat.strategies import (
    RolloutSummary,
    Strategy,
    make_strategy,
    options,
    state_from_json,
    state_to_json,
    strategy_name,
)

TESTED_TRL = ("1.16.",)
CLAMPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
STATE_FILE = "entrostat_state.json"
PREFIX = "entrostat/"
# what we add to a rollout: TRL shuffles and splits it along with its own tensors
_OLD_LOGPS = "entrostat_old_logps"
_OLD = {name: f"entrostat_old_{name}" for name in ("entropy", "sum_p2", "sum_p2_logp")}

if TYPE_CHECKING:

    class _Base:
        """What the mixin stands on, of TRL's trainer and of transformers'."""

        args: Any
        state: Any
        model: Any
        ref_model: Any
        accelerator: Any
        reward_funcs: list[Any]
        temperature: float
        importance_sampling_level: str
        num_generations: int
        epsilon_low: Any
        epsilon_high: Any
        _metrics: Any
        _step: int

        def __init__(self, *args: Any, **kwargs: Any): ...
        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]: ...
        def _get_per_token_logps_and_entropies(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any: ...
        def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor: ...
        def _get_output_dir(self, trial: Any) -> str: ...
        def _save_checkpoint(self, model: nn.Module, trial: Any) -> None: ...
        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None: ...
        def log(self, logs: dict[str, float], start_time: float | None = None) -> None: ...

else:
    _Base = object


class Pass(NamedTuple):
    """What one forward pass of the trainer said of its completion tokens, (b t) each."""

    logprobs: Tensor
    entropy: Tensor | None


def check_environment(kind: type) -> None:
    """Raises RuntimeError where TRL is not the one that this engine was tested with, or has been rewritten."""
    if not trl.__version__.startswith(TESTED_TRL):
        raise RuntimeError(
            f"this entrostat is tested with TRL {TESTED_TRL[-1]}x, got {trl.__version__}: pip install 'trl==1.16.0'"
        )
    if "unsloth" in sys.modules or any("unsloth" in c.__module__.lower() for c in kind.__mro__):
        raise RuntimeError(
            "unsloth has rewritten TRL's trainer and would bypass the clip bounds without a word: "
            "run without importing unsloth"
        )


def is_on_policy(args: Any) -> bool:
    """TRL's own test (with its sign turned): generation falls on the end of an optimizer step, so old is current."""
    return args.gradient_accumulation_steps % (args.steps_per_generation * args.num_iterations) == 0


def updates_per_rollout(args: Any) -> int:
    """Optimizer updates between two generations."""
    return max(1, args.steps_per_generation * args.num_iterations // args.gradient_accumulation_steps)


def check_can_act(args: Any, strategy: Strategy) -> None:
    """Raises ValueError where `strategy` could not do what it says under these GRPOConfig fields."""
    name = strategy_name(strategy)
    if args.loss_type not in CLAMPED_LOSSES:
        raise ValueError(
            f"loss_type {args.loss_type!r} has no clip window to set: use one of {', '.join(CLAMPED_LOSSES)}"
        )
    if args.importance_sampling_level != "token" and strategy.per_token:
        raise ValueError(
            f"strategy {name!r} sets bounds per token, but importance_sampling_level is "
            f"{args.importance_sampling_level!r}, one ratio a sequence: set it to 'token', or use a static strategy"
        )
    if is_on_policy(args) and not strategy.acts_on_fresh:
        raise ValueError(
            f"strategy {name!r} cannot act: with one update a rollout every ratio is exactly 1 and no clip threshold "
            f"does anything; set steps_per_generation over gradient_accumulation_steps "
            f"({args.gradient_accumulation_steps}), or num_iterations over 1"
        )


def uncrossed(bounds: ClipBounds, advantages: Tensor, mask: Tensor) -> ClipBounds:
    """Bounds that TRL's clamp can take: its lower edge never over its upper one, which a negative half-width can do.

    Only one side matters to a token, the upper where A > 0 and the lower where A < 0; the other gives way. Half-widths
    that are not negative stay as they are. Masked tokens get an open window whatever their bounds hold: TRL masks by a
    product, and 0 x NaN is NaN.
    """
    low = torch.where(advantages < 0, bounds.low, torch.maximum(bounds.low, -bounds.high))
    high = torch.where(advantages > 0, bounds.high, torch.maximum(bounds.high, -bounds.low))
    return ClipBounds(torch.where(mask, low, torch.inf), torch.where(mask, high, torch.inf))


def _standard_error(tokens: Tensor, entropy: Tensor, group: int) -> float | None:
    """Of the token-weighted mean entropy, from per-sequence sums: a ratio estimator over groups of one prompt.

    Tokens of a prompt's samples are alike, so groups are what varies independently (Cochran, Sampling Techniques, ch. 6
    and 9). None with fewer than two groups that have tokens.
    """
    if len(tokens) % group == 0:
        tokens, entropy = tokens.view(-1, group).sum(1), entropy.view(-1, group).sum(1)
    m = int((tokens > 0).sum())
    if m < 2:
        return None
    off = entropy - entropy.sum() / tokens.sum() * tokens
    return float((m / (m - 1) * off.square().sum()).sqrt() / tokens.sum())


class EntropyControlMixin(_Base):
    """Mix into a subclass of GRPOTrainer, before it: `class Mine(EntropyControlMixin, MyTrainer)`.

    Args:
        strategy: a Strategy, or the name of one with its default options.
        attribution_share: share of trained tokens, drawn anew for each micro-batch, whose full-vocabulary sums enter
            the entropy change per region; an unbiased sample, since the sums cost a projection through the LM head.
            0 leaves them out: the token's own term is logged instead, under its own name.

    Logged beside TRL's metrics, token-weighted over all ranks: `entrostat/entropy` (mean token entropy of the sampler,
    nats, over the rollout before its updates) and the keys of `RegionMeter.read` under `entrostat/`.

    Raises ValueError at construction when the strategy cannot act in this configuration, and RuntimeError when TRL has
    been rewritten (unsloth) or is not a tested version.
    """

    def __init__(self, *args: Any, strategy: Strategy | str, attribution_share: float = 0.05, **kwargs: Any):
        check_environment(type(self))
        if not 0 <= attribution_share <= 1:
            raise ValueError(f"attribution_share must be in [0, 1], got {attribution_share}")
        super().__init__(*args, **kwargs)
        self.strategy = make_strategy(strategy) if isinstance(strategy, str) else strategy
        check_can_act(self.args, self.strategy)
        self.attribution_share = attribution_share
        self.controller_state = self.strategy.init()
        self.reward_funcs = [f if isinstance(f, nn.Module) else guarded(f) for f in self.reward_funcs]
        self._meter = RegionMeter()
        self._passes: list[Pass] | None = None
        self._logits_match: bool | None = None

    # The rollout

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        with self._recording() as passes:
            output = super()._generate_and_score_completions(inputs)
        old_logps = output.get("old_per_token_logps")
        # TRL may run the reference model too: the old pass is the one whose very tensor it hands on
        old = next((p for p in passes if p.logprobs is old_logps), None)
        if old is None:
            old = self._old_pass(output)
            output[_OLD_LOGPS] = old.logprobs
        stats = TokenStats(old.logprobs, old.entropy)
        if self.strategy.needs_sums:
            stats = self._sums_pass(output)._replace(logprobs=old.logprobs, entropy=old.entropy)
        output |= {key: value for name, key in _OLD.items() if (value := getattr(stats, name)) is not None}
        if self.model.training:
            self._observe(stats, output)
        return output

    def _old_pass(self, output: dict[str, Any]) -> Pass:
        """The pass over the rollout that TRL spares itself when updates are on-policy."""
        names = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters
        multimodal = {key: value for key, value in output.items() if key in names}
        mode_batch = "per_device_train_batch_size" if self.model.training else "per_device_eval_batch_size"
        with torch.no_grad(), disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs):
            logps, entropies, _ = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1),
                torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1),
                output["completion_ids"].size(1),
                batch_size=getattr(self.args, mode_batch),
                compute_entropy=True,
                **multimodal,
            )
        return Pass(logps, entropies)

    def _sums_pass(self, output: dict[str, Any]) -> TokenStats:
        """Full-vocabulary sums over the rollout, for strategies that need them: one more forward pass."""
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        width, size = output["completion_ids"].size(1), self.args.per_device_train_batch_size
        chunks = []
        with torch.no_grad(), disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs):
            for i in range(0, len(ids), size):
                rows = slice(i, i + size)
                logits = self.model(input_ids=ids[rows], attention_mask=mask[rows], logits_to_keep=width + 1).logits
                completions = output["completion_ids"][rows]
                chunks.append(token_stats(logits[:, -width - 1 : -1], completions, temperature=self.temperature))
        return TokenStats(*(torch.cat(parts) for parts in zip(*chunks, strict=True)))

    def _observe(self, old: TokenStats, output: dict[str, Any]) -> None:
        summary = self._summary(old, output)
        self.controller_state = self.strategy.observe(self.controller_state, summary)
        logged = {"entropy": summary.entropy, "entropy_error": summary.entropy_error}
        for name, value in (logged | self.strategy.signals(self.controller_state)).items():
            if value is not None and math.isfinite(value):
                self._metrics["train"][PREFIX + name].append(value)

    def _summary(self, old: TokenStats, output: dict[str, Any]) -> RolloutSummary:
        assert old.entropy is not None
        mask, advantages = self._trained_tokens(output), output["advantages"]
        advantages = advantages.unsqueeze(1) if advantages.dim() == 1 else advantages
        sizes = bracket(old).abs() if self.strategy.needs_sums else excess_surprisal(old).abs()
        columns = (torch.ones_like(old.entropy), old.entropy, sizes, (advantages != 0).expand_as(mask))
        # where, not a product: a masked token may hold NaN
        sums = torch.stack([torch.where(mask, x, 0).sum(1) for x in columns], dim=1)
        sums = self.accelerator.gather(sums.float()).cpu().double()
        tokens, entropy, size, active = sums.sum(0).tolist()
        # nan: the engine can measure, and there was nothing to
        mean = lambda total: total / tokens if tokens else math.nan  # noqa: E731
        return RolloutSummary(
            progress=self.state.global_step / self.state.max_steps,
            entropy=mean(entropy),
            bracket=mean(size) if self.strategy.needs_sums else None,
            excess_surprisal=None if self.strategy.needs_sums else mean(size),
            entropy_error=_standard_error(sums[:, 0], sums[:, 1], self.num_generations),
            active=mean(active),
            updates=updates_per_rollout(self.args),
            ceiling=math.log(self._inner(self.model).config.get_text_config().vocab_size),
        )

    # The loss

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        advantages = inputs["advantages"]
        advantages = advantages.unsqueeze(1) if advantages.dim() == 1 else advantages
        stored = inputs.get("old_per_token_logps")
        old_logps = stored if stored is not None else inputs[_OLD_LOGPS]
        old = TokenStats(old_logps, **{name: inputs.get(key) for name, key in _OLD.items()})
        bounds = self.strategy.bounds(self.controller_state, old)
        mask = self._trained_tokens(inputs)
        if self.importance_sampling_level == "sequence":  # one ratio a sequence, and bounds that are all alike
            bounds = ClipBounds(bounds.low[:, :1], bounds.high[:, :1])
            mask = mask.any(dim=1, keepdim=True)
        bounds = uncrossed(bounds, advantages, mask)
        scalars = self.epsilon_low, self.epsilon_high
        try:
            self.epsilon_low, self.epsilon_high = bounds
            with self._recording() as passes, self._hidden_states(model) as hidden:
                loss = super()._compute_loss(model, inputs)
        finally:
            self.epsilon_low, self.epsilon_high = scalars
        if self.model.training:
            logratio = torch.zeros_like(old_logps) if stored is None else passes[-1].logprobs - old_logps
            self._count(model, inputs, passes[-1], logratio, advantages, bounds, hidden)
        return loss

    @torch.no_grad()
    def _count(self, model, inputs, now: Pass, logratio, advantages, bounds, hidden) -> None:
        mask = self._trained_tokens(inputs)
        stats = TokenStats(now.logprobs, now.entropy)
        level = logratio
        if self.importance_sampling_level == "sequence":
            weights = mask.float()
            level = (
                (logratio * weights).sum(-1, keepdim=True) / weights.sum(-1, keepdim=True).clamp(min=1.0)
            ).expand_as(logratio)
        events = clip_events(level, advantages.expand_as(logratio), low=bounds.low, high=bounds.high)
        full_stats = self._full_stats(model, inputs, now, hidden) if hidden else None
        self._meter.add(
            stats,
            logratio,
            advantages,
            events,
            mask,
            dropped=(((bounds.low < 0) & (advantages < 0)) | ((bounds.high < 0) & (advantages > 0))).expand_as(mask),
            sample=self._draw(),
            share=self.attribution_share,
            full_stats=full_stats,
        )

    def _draw(self) -> Tensor:
        """A uniform number from a generator of our own, since TRL's sampler draws from torch's global one.

        Keyed by what a resumed run has too: TRL's `_step` starts again from 0 there.
        """
        micro = self._step % self.args.gradient_accumulation_steps
        words = (self.args.seed, self.state.global_step, micro, self.accelerator.process_index)
        return torch.tensor(random.Random(repr(words)).random())

    def _full_stats(self, model: nn.Module, inputs: dict[str, Any], now: Pass, hidden: list[Tensor]) -> SumsOf | None:
        """Full-vocabulary statistics at chosen tokens, from the hidden states of the pass that TRL has just made.

        None where the LM head is sharded (gathering it would cost a pass), or where its plain product does not give
        TRL's log-probabilities (a soft cap, a logit scale), found once, on the first micro-batch.
        """
        head = self._inner(model).get_output_embeddings()
        weight, states = head.weight, hidden[-1]
        if self._logits_match is False or type(weight) not in (nn.Parameter, Tensor) or weight.dim() != 2:
            return None
        if weight.shape[-1] != states.shape[-1]:
            return None
        ids = inputs["completion_ids"]
        states = states[:, -ids.size(1) - 1 : -1]  # position t predicts token t + 1

        def at(flat: Tensor) -> TokenStats:
            chosen = states.reshape(-1, states.size(-1))[flat].to(weight.dtype)
            logits = F.linear(chosen, weight, getattr(head, "bias", None))
            return token_stats(logits[None], ids.reshape(-1)[flat][None], temperature=self.temperature)

        if self._logits_match is None:
            probe = self._trained_tokens(inputs).reshape(-1).nonzero().squeeze(-1)[:64]
            if probe.numel():
                gap = (at(probe).logprobs[0] - now.logprobs.reshape(-1)[probe]).abs().median()
                self._logits_match = bool(gap < 0.02)
        return at if self._logits_match is not False else None

    def _inner(self, model: nn.Module) -> Any:
        inner = self.accelerator.unwrap_model(model)
        return inner.get_base_model() if hasattr(inner, "get_base_model") else inner

    @contextlib.contextmanager
    def _hidden_states(self, model: nn.Module) -> Iterator[list[Tensor]]:
        """Keeps the last hidden states of the passes inside. They are alive for the backward pass anyway."""
        kept: list[Tensor] = []
        if not self.model.training or self.attribution_share == 0:
            yield kept
            return
        backbone = self._inner(model).base_model
        handle = backbone.register_forward_hook(lambda _module, _args, out: kept.append(out.last_hidden_state.detach()))
        try:
            yield kept
        finally:
            handle.remove()

    # What both share

    def _get_per_token_logps_and_entropies(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if self._passes is None or model is self.ref_model:
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        asked = kwargs.pop("compute_entropy", False)
        # TRL's fused head computes the entropy in every pass of the policy; asking for it costs nothing
        logps, entropies, aux = super()._get_per_token_logps_and_entropies(model, *args, compute_entropy=True, **kwargs)
        self._passes.append(Pass(logps, entropies))
        return logps, entropies if asked else None, aux

    @contextlib.contextmanager
    def _recording(self) -> Iterator[list[Pass]]:
        self._passes = []
        try:
            yield self._passes
        finally:
            self._passes = None

    @staticmethod
    def _trained_tokens(batch: dict[str, Any]) -> Tensor:
        mask = batch["completion_mask"]
        return (mask if batch.get("tool_mask") is None else mask * batch["tool_mask"]).bool()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.model.training:
            for name, value in self._meter.read(lambda x: self.accelerator.reduce(x, reduction="sum")).items():
                self._metrics["train"][PREFIX + name].append(value)
        super().log(logs, start_time)

    # Checkpoints

    def controller_payload(self) -> dict[str, Any]:
        """The strategy and its state, as JSON."""
        # str for inf: it has no JSON
        chosen = {k: v if v not in (float("inf"), -float("inf")) else str(v) for k, v in options(self.strategy).items()}
        return {
            "strategy": {"name": strategy_name(self.strategy), "options": chosen},
            "state": state_to_json(self.controller_state),
        }

    def load_controller(self, payload: dict[str, Any], source: str) -> None:
        """Takes a state that `controller_payload` gave. Options may have changed; ValueError for another strategy."""
        saved, mine = payload["strategy"]["name"], strategy_name(self.strategy)
        if saved != mine:
            raise ValueError(
                f"{source} holds the state of strategy {saved!r}, this run has {mine!r}: resume with {saved!r}"
            )
        self.controller_state = state_from_json(self.strategy, payload["state"])

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.args.should_save:
            # before TRL writes: whoever finds its trainer_state.json, written last, finds ours too
            os.makedirs(folder, exist_ok=True)
            write_state(folder / STATE_FILE, self.controller_payload())
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = Path(checkpoint) / STATE_FILE
        if not path.exists():
            raise ValueError(
                f"{path} is missing, so the controller's state is unknown: resume from a checkpoint of an "
                "EntropyControlGRPOTrainer, or start from the model alone"
            )
        self.load_controller(read_state(path), str(path))


class EntropyControlGRPOTrainer(EntropyControlMixin, GRPOTrainer):
    """TRL's GRPOTrainer, plus `strategy=`: clip bounds per token, set by a strategy. See EntropyControlMixin."""
