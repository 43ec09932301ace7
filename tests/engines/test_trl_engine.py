"""What the engine does beside the loss: observe once a rollout, refuse what cannot act, count, save and restore."""

import dataclasses
import json
import math
import sys
import types
from typing import NamedTuple

import pytest
import torch
from datasets import Dataset
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from entrostat import ClipBounds, make_strategy
from entrostat.engines.checkpoint import STATE_FILE
from entrostat.engines.reward_error import RewardError
from entrostat.engines.trl import PREFIX, EntropyControlGRPOTrainer, EntropyControlMixin
from entrostat.objectives.entropic import Entropic
from entrostat.strategies import NoState, Strategy


class SeenState(NamedTuple):
    observed: int
    last_progress: float
    last_entropy: float


@dataclasses.dataclass(frozen=True)
class Seen(Strategy):
    """Remembers what it was told, and drops every token of ratio 1 when asked to."""

    drop_fresh: bool = False

    @property
    def acts_on_fresh(self):
        return self.drop_fresh

    @property
    def per_token(self):
        return True

    def init(self):
        return SeenState(0, 0.0, 0.0)

    def observe(self, state, summary):
        return SeenState(state.observed + 1, summary.progress, summary.entropy)

    def bounds(self, state, old):
        assert old.entropy is not None
        half = torch.full_like(old.logprobs, -0.1 if self.drop_fresh else 0.2)
        return ClipBounds(half, half)


def test_observes_once_a_rollout_before_its_updates(lab):
    told = []

    @dataclasses.dataclass(frozen=True)
    class Spy(Seen):
        def observe(self, state, summary):
            told.append(summary)
            return super().observe(state, summary)

    trainer = lab.trainer(args=lab.config(max_steps=12), strategy=Spy())
    trainer.train()
    assert [s.progress for s in told] == pytest.approx([0.0, 1 / 3, 2 / 3])
    assert trainer.controller_state.observed == 3
    logged = [line[PREFIX + "entropy"] for line in trainer.state.log_history if PREFIX + "entropy" in line]
    assert logged == pytest.approx([s.entropy for s in told])


def test_the_observed_entropy_is_the_samplers_token_weighted_mean(lab):
    """Recomputed from the rollout with the plain model and float64, at a temperature other than 1."""
    kept = []

    class Recorded(EntropyControlGRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            out = super()._generate_and_score_completions(inputs)
            whole = torch.cat([out["prompt_ids"], out["completion_ids"]], 1)
            attention = torch.cat([out["prompt_mask"], out["completion_mask"]], 1)
            with torch.no_grad():
                logits = self.model(input_ids=whole, attention_mask=attention).logits.double()
            logits = logits[:, -out["completion_ids"].size(1) - 1 : -1] / self.temperature
            entropy = torch.distributions.Categorical(logits=logits).entropy()
            kept.append(float(entropy[out["completion_mask"].bool()].mean()))
            return out

    trainer = lab.trainer(Recorded, args=lab.config(max_steps=4, temperature=0.7), strategy=Seen())
    trainer.train()
    assert trainer.controller_state.last_entropy == pytest.approx(kept[0], rel=1e-4)


def test_evaluation_never_moves_the_controller(lab):
    problems = lab.task.problems(8, split="test", seed=0)
    rows = Dataset.from_list([{"prompt": p.prompt, "key": p.key, "data": p.data} for p in problems])
    trainer = lab.trainer(
        args=lab.config(max_steps=4, per_device_eval_batch_size=8), strategy=Seen(), eval_dataset=rows
    )
    trainer.train()
    before = trainer.controller_state
    metrics = trainer.evaluate()
    assert "eval_entropy" in metrics
    assert trainer.controller_state == before
    assert trainer.controller_state.observed == 1


def test_on_policy_the_engine_makes_the_old_pass_that_trl_spares_itself(lab):
    """Bounds that leave out ratio 1 drop every token: no gradient, so no parameter moves."""
    args = {"max_steps": 2, "steps_per_generation": 2, "gradient_accumulation_steps": 2}
    trainer = lab.trainer(args=lab.config(**args), strategy=Seen(drop_fresh=True))
    before = lab.parameters(trainer)
    trainer.train()
    assert trainer.controller_state.observed == 2
    assert trainer.controller_state.last_entropy > 0
    assert all(torch.equal(before[k], v) for k, v in lab.parameters(trainer).items())


@pytest.mark.parametrize(
    ("changes", "strategy", "message"),
    [
        ({"steps_per_generation": 2, "gradient_accumulation_steps": 2}, "id", "steps_per_generation.*num_iterations"),
        ({"steps_per_generation": 1, "gradient_accumulation_steps": 2}, "grpo", "steps_per_generation.*num_iterations"),
        ({"loss_type": "sapo"}, "grpo", "loss_type 'sapo' has no clip window"),
        ({"loss_type": "cispo"}, "clip-lower", "loss_type 'cispo' has no clip window"),
        ({"loss_type": "vespo"}, "clip-lower", "loss_type 'vespo' has no clip window"),
        ({"importance_sampling_level": "sequence", "loss_type": "grpo"}, "did", "importance_sampling_level"),
    ],
)
def test_what_cannot_act_is_refused_at_construction(lab, changes, strategy, message):
    with pytest.raises(ValueError, match=message) as caught:
        lab.trainer(args=lab.config(**changes), strategy=strategy)
    assert "\n" not in str(caught.value)


def test_the_cures_that_the_refusal_names_do_cure(lab):
    for changes in ({"steps_per_generation": 4, "gradient_accumulation_steps": 2}, {"num_iterations": 2}):
        args = lab.config(**({"steps_per_generation": 2, "gradient_accumulation_steps": 2, "max_steps": 4} | changes))
        trainer = lab.trainer(args=args, strategy=make_strategy("grpo", low=0.01, high=0.01))
        trainer.train()
        assert sum(line.get(PREFIX + "clip_low", 0) for line in trainer.state.log_history) > 0


SEVERAL = {"steps_per_generation": 1, "gradient_accumulation_steps": 4}


@pytest.mark.parametrize("control", [{"strategy": "thermostat"}, {"strategy": None, "objective": Entropic()}])
def test_a_controller_is_refused_where_an_update_takes_several_rollouts(lab, control):
    message = r"'(thermostat|entropic)' expects .* one update takes 4 rollouts: .*num_iterations \(1\).*steps \(4\)$"
    with pytest.raises(ValueError, match=message) as caught:
        lab.trainer(args=lab.config(**SEVERAL), **control)
    assert "\n" not in str(caught.value)
    for cure in ({"steps_per_generation": 4}, {"num_iterations": 4}):
        trainer = lab.trainer(args=lab.config(**SEVERAL | cure, max_steps=2), **control)
        trainer.train()
        state = trainer.controller_state if control["strategy"] else trainer.objective_state
        assert state.rollouts == 2


def test_what_has_no_state_goes_on_where_an_update_takes_several_rollouts(lab):
    """The refusal's reason is real in the installed trainer: rollouts are made within an update."""
    made = []

    class Counting(EntropyControlGRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            made.append(self.state.global_step)
            return super()._generate_and_score_completions(inputs)

    for strategy in (None, make_strategy("regions", e1=-1.0)):
        lab.trainer(Counting, args=lab.config(**SEVERAL, max_steps=2), strategy=strategy).train()
    assert made == [0, 0, 0, 0, 1, 1, 1, 1] * 2


def test_a_stock_trl_run_on_policy_clips_nothing(lab):
    """The refusal's reason is real in the installed trainer."""
    config = lab.config(steps_per_generation=2, gradient_accumulation_steps=2, max_steps=2, epsilon=1e-6)
    trainer = lab.trainer(lab.stock, args=config)
    trainer.train()
    assert [
        line["clip_ratio/region_mean"] for line in trainer.state.log_history if "clip_ratio/region_mean" in line
    ] == [0.0]


def test_unsloth_is_refused(lab, monkeypatch):
    monkeypatch.setitem(sys.modules, "unsloth", types.ModuleType("unsloth"))
    with pytest.raises(RuntimeError, match="unsloth"):
        lab.trainer(strategy="grpo")


def test_an_untested_trl_is_refused(lab, monkeypatch):
    monkeypatch.setattr("trl.__version__", "1.99.0")
    with pytest.raises(RuntimeError, match=r"tested with TRL 1.16.x, got 1.99.0"):
        lab.trainer(strategy="grpo")


def test_the_mixin_works_on_somebodys_own_subclass(lab):
    class Theirs(GRPOTrainer):
        calls = 0

        def _compute_loss(self, model, inputs):
            Theirs.calls += 1
            return super()._compute_loss(model, inputs)

    class Both(EntropyControlMixin, Theirs):
        pass

    trainer = lab.trainer(Both, args=lab.config(max_steps=4), strategy="id")
    trainer.train()
    assert Theirs.calls == 4
    assert trainer.epsilon_low == trainer.epsilon_high == 0.2  # put back


def test_state_travels_with_trls_checkpoints(lab, tmp_path):
    args = {"max_steps": 16, "save_strategy": "steps", "save_steps": 8}
    whole = lab.trainer(args=lab.config(**args), strategy="od")
    whole.train()
    checkpoint = tmp_path / "out" / "checkpoint-8"
    halfway = json.loads((checkpoint / STATE_FILE).read_text())["payload"]
    assert halfway["strategy"]["name"] == "od"
    assert halfway["state"]["rollouts"] == 2
    resumed = lab.trainer(args=lab.config(**args), strategy="od")
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.controller_state == whole.controller_state
    for name, value in lab.parameters(whole).items():
        assert torch.equal(value, lab.parameters(resumed)[name]), name


def break_nothing(path):
    pass


def truncate(path):
    path.write_text(path.read_text()[:60])


def edit(path):
    path.write_text(path.read_text().replace('"rollouts": 1', '"rollouts": 2'))


@pytest.mark.parametrize(
    ("damage", "strategy", "message"),
    [
        (truncate, "od", "not a whole state file"),
        (edit, "od", "edited or damaged"),
        (lambda path: path.unlink(), "od", "is missing"),
        (break_nothing, "id", "holds the state of strategy 'od'"),
    ],
)
def test_a_damaged_state_is_refused_by_name(lab, tmp_path, damage, strategy, message):
    args = {"max_steps": 4, "save_strategy": "steps", "save_steps": 4}
    lab.trainer(args=lab.config(**args), strategy="od").train()
    checkpoint = tmp_path / "out" / "checkpoint-4"
    damage(checkpoint / STATE_FILE)
    trainer = lab.trainer(args=lab.config(**args | {"max_steps": 8}), strategy=strategy)
    with pytest.raises(ValueError, match=message) as caught:
        trainer.train(resume_from_checkpoint=str(checkpoint))
    assert STATE_FILE in str(caught.value)


def throws(completions, **_):
    raise KeyError("no such column")


def throws_late(completions, **_):
    yield 1.0
    raise KeyError("no such column")


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (throws, r"'throws' threw KeyError: .*no such column.* the first being prompt '.*=', completion '"),
        (throws_late, r"'throws_late' threw KeyError: .*no such column.* the first being prompt '.*=', completion '"),
        (lambda completions, **_: map(float, ["nan"] * len(completions)), "returned nan for prompt '.*=', comp"),
        (lambda completions, **_: [math.nan] * len(completions), "returned nan for prompt '.*=', completion '"),
        (lambda completions, **_: [1.0] * (len(completions) - 1) + [math.inf], "returned inf for prompt '.*=', comp"),
    ],
)
def test_a_reward_that_is_no_number_stops_the_run_with_its_sample(lab, reward, message):
    trainer = lab.trainer(args=lab.config(max_steps=4), strategy="grpo", reward=reward)
    with pytest.raises(RewardError, match=message):
        trainer.train()
    assert trainer.state.global_step == 0


def test_a_reward_that_does_not_apply_keeps_trls_meaning(lab):
    """None from one of two functions is a sample that it does not score."""
    some = lambda completions, **_: [None if i % 2 else 1.0 for i in range(len(completions))]  # noqa: E731
    other = lambda completions, **_: [float(len(c)) for c in completions]  # noqa: E731
    lab.trainer(args=lab.config(max_steps=4), strategy="grpo", reward=[some, other]).train()


def lengths(completions, **_):
    return map(len, completions)


async def lengths_later(completions, **_):
    return (float(len(text)) for text in completions)


@pytest.mark.parametrize("reward", [lengths, lengths_later])
def test_an_iterator_of_rewards_trains_as_in_trl(lab, reward):
    """Also its numbers: a guard that had used them up would leave TRL none."""
    rewards = []
    for kind, strategy in ((EntropyControlGRPOTrainer, {"strategy": "grpo"}), (lab.stock, {})):
        trainer = lab.trainer(kind, args=lab.config(max_steps=4), reward=reward, **strategy)
        trainer.train()
        rewards += [line["reward"] for line in trainer.state.log_history if "reward" in line]
    assert rewards[0] == rewards[1] > 0


async def later(completions, **_):
    return [math.nan for _ in completions]


def test_an_async_reward_is_guarded_too(lab):
    trainer = lab.trainer(args=lab.config(max_steps=4), strategy="grpo", reward=later)
    with pytest.raises(RewardError, match="'later' returned nan"):
        trainer.train()


@dataclasses.dataclass(frozen=True)
class NanBehind(Strategy):
    """Bounds that are NaN wherever the old entropy is exactly 0, which is what TRL leaves at masked tokens."""

    @property
    def per_token(self):
        return True

    def init(self):
        return NoState()

    def observe(self, state, summary):
        return state

    def bounds(self, state, old):
        half = torch.where(old.entropy == 0, torch.nan, 0.2)
        return ClipBounds(half, half)


@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
def test_bounds_of_masked_tokens_never_matter(lab, loss_type):
    args = {"max_steps": 8, "loss_type": loss_type}
    plain = lab.trainer(args=lab.config(**args), strategy="grpo")
    plain.train()
    masked = lab.trainer(args=lab.config(**args), strategy=NanBehind())
    masked.train()
    for name, value in lab.parameters(plain).items():
        assert torch.equal(value, lab.parameters(masked)[name]), name


def test_the_attribution_in_training_is_that_of_the_models_own_logits(lab):
    """Every micro-batch again, from the plain model's logits in float64."""
    sums = []

    class Recorded(EntropyControlGRPOTrainer):
        def _compute_loss(self, model, inputs):
            whole = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
            attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
            with torch.no_grad():
                logits = self.model(input_ids=whole, attention_mask=attention).logits.double() / self.temperature
            logp = logits[:, -inputs["completion_ids"].size(1) - 1 : -1].log_softmax(-1)
            p = logp.exp()
            entropy = -(p * logp).sum(-1)
            q = p * (logp + entropy[..., None])
            taken = inputs["completion_ids"][..., None]
            logratio = logp.gather(-1, taken)[..., 0] - inputs["old_per_token_logps"]
            change = -inputs["advantages"][:, None] * logratio.exp() * (q.gather(-1, taken)[..., 0] - (p * q).sum(-1))
            mask = inputs["completion_mask"].bool()
            sums.append((float(change[mask].sum()), int(mask.sum())))
            return super()._compute_loss(model, inputs)

    config = lab.config(max_steps=4, temperature=0.8, logging_steps=4)
    trainer = lab.trainer(Recorded, args=config, strategy="grpo", attribution_share=1.0)
    trainer.train()
    line = next(x for x in trainer.state.log_history if PREFIX + "clip_low" in x)
    found = sum(line[f"{PREFIX}E{i}/change_{kind}"] for i in range(1, 5) for kind in ("kept", "clipped"))
    total, tokens = (sum(x) for x in zip(*sums, strict=True))
    assert found == pytest.approx(total / tokens, rel=1e-3, abs=1e-6)


def test_without_a_share_the_own_term_is_logged_instead(lab):
    trainer = lab.trainer(args=lab.config(max_steps=4), strategy="grpo", attribution_share=0.0)
    trainer.train()
    line = next(x for x in trainer.state.log_history if PREFIX + "clip_low" in x)
    assert PREFIX + "E1/own_term_kept" in line
    assert PREFIX + "E1/change_kept" not in line


def test_logits_that_are_not_trls_are_not_used(lab):
    """A model whose config scales its logits: the plain product of hidden states and head is not its policy."""
    trainer = lab.trainer(args=lab.config(max_steps=4), strategy="grpo")
    trainer.model.config.logit_scale = 0.5
    add_fused_lm_head(trainer.model, temperature=1.0, outputs=("log_probs", "entropy"))
    trainer.train()
    line = next(x for x in trainer.state.log_history if PREFIX + "clip_low" in x)
    assert PREFIX + "E1/own_term_kept" in line
