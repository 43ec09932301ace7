"""PPO in TRL's trainer: rollouts against scalar Python, the critic against a plain loop, the loss against TRL's own."""

import math
import re

import pytest
import torch
from trl import GRPOTrainer

import reference
from entrostat import make_strategy
from entrostat.engines.ppo import CRITIC_FILE, CriticMixin, EntropyControlPPOTrainer
from entrostat.engines.trl import PREFIX
from independent_critic import IndependentCritic


class Recorded(EntropyControlPPOTrainer):
    """Keeps its rollouts, and all that its critic is trained on."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.rollouts, self.updates = [], []
        update = self.critic.update

        def keeping(batch, *tensors):
            self.updates.append((batch, *tensors))
            return update(batch, *tensors)

        self.critic.update = keeping

    def _generate_and_score_completions(self, inputs):
        self.rollouts.append(super()._generate_and_score_completions(inputs))
        return self.rollouts[-1]


class Plain(CriticMixin, GRPOTrainer):
    """TRL's own loss under its own thresholds, with the same advantages."""


def signs(completions, **_):
    """A reward that a critic can learn, of several values."""
    return [float(text.count("*") - text.count("-")) for text in completions]


def lines(trainer, key):
    return [line[PREFIX + key] for line in trainer.state.log_history if PREFIX + key in line]


@pytest.mark.parametrize("normalise", ["std", "mean", "none"])
def test_a_rollouts_advantages_are_the_references(lab, normalise):
    gamma, lam = 0.9, 0.7
    options = {"gae_gamma": gamma, "gae_lambda": lam, "normalise": normalise, "critic_learning_rate": 1e-3}
    trainer = lab.trainer(Recorded, args=lab.config(max_steps=8), reward=signs, strategy="grpo", **options)
    trainer.train()
    second = trainer.rollouts[1]
    mask = second["completion_mask"].bool()
    texts = trainer.processing_class.batch_decode(second["completion_ids"], skip_special_tokens=True)
    advantages, returns = [], []
    for reward, values, keep in zip(signs(texts), second["entrostat_values"], mask, strict=True):
        found = reference.gae(reward, values[keep].tolist(), gamma, lam)
        advantages += found[0]
        returns += found[1]
    if normalise != "none":
        advantages = reference.whiten(advantages, normalise == "std")
    assert (second["advantages"][~mask] == 0).all()
    assert second["advantages"][mask].tolist() == pytest.approx(advantages, rel=1e-4, abs=1e-5)
    assert second["entrostat_returns"][mask].tolist() == pytest.approx(returns, rel=1e-4, abs=1e-5)
    assert second["entrostat_values"][mask].std() > 0.01, "a critic that says one thing everywhere proves little"


def test_with_values_of_zero_every_token_has_the_completions_reward(lab):
    args = lab.config(max_steps=1)
    trainer = lab.trainer(Recorded, args=args, reward=signs, strategy="grpo", normalise="none")
    trainer.train()
    first = trainer.rollouts[0]
    texts = trainer.processing_class.batch_decode(first["completion_ids"], skip_special_tokens=True)
    assert (first["entrostat_values"] == 0).all()
    expected = torch.tensor(signs(texts))[:, None] * first["completion_mask"]
    assert torch.equal(first["advantages"], expected)


@pytest.mark.parametrize(("window", "clip", "cut"), [(1, 0.01, 0.5), (2, 0.2, 2.5), (2, 0.2, 0.0)])
def test_the_critics_updates_are_those_of_a_plain_loop(lab, window, clip, cut):
    """With and without accumulation, across rollouts; the value clip and the cut of the gradient both at work, and
    none where max_grad_norm is 0, as of the policy's."""
    args = lab.config(max_steps=8 // window, gradient_accumulation_steps=window, max_grad_norm=cut)
    options = {"critic_learning_rate": 3e-3, "value_clip": clip, "gae_lambda": 0.9}
    trainer = lab.trainer(Recorded, args=args, reward=signs, strategy="grpo", **options)
    trainer.train()
    plain = IndependentCritic(lab.task.base_model, learning_rate=3e-3, clip=clip, max_grad_norm=cut or math.inf)
    assert len(trainer.updates) == 8
    norms = []
    for i in range(0, 8, window):
        if i % 4 == 0:
            batch, old, *_ = trainer.updates[i]
            mask = batch["completion_mask"].bool()
            values = torch.stack([plain.values(batch, row) for row in range(len(old))]).detach()
            torch.testing.assert_close(old[mask], values[mask], rtol=1e-4, atol=1e-5)
        per_update = int(trainer.rollouts[i // 4]["completion_mask"].sum()) * window / 4
        norms.append(plain.update([(*given[:4], per_update) for given in trainer.updates[i : i + window]]))
    assert not cut or max(norms) > cut > min(norms)
    mine = dict(trainer.critic.module.named_parameters())
    theirs = plain.named()
    assert mine.keys() == theirs.keys()
    for name, p in mine.items():
        torch.testing.assert_close(p.detach(), theirs[name], rtol=1e-4, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(
    "changes", [{}, {"loss_type": "grpo", "importance_sampling_level": "sequence"}], ids=["dapo", "sequence"]
)
def test_under_constant_bounds_the_loss_is_trls_own_with_the_same_advantages(lab, changes):
    args = {"max_steps": 8, "logging_steps": 1, **changes}
    low, high = (0.01, 0.02) if changes else (0.1, 0.15)
    stock = lab.trainer(Plain, args=lab.config(epsilon=low, epsilon_high=high, **args), critic_learning_rate=1e-3)
    stock.train()
    strategy = make_strategy("grpo", low=low, high=high)
    mine = lab.trainer(EntropyControlPPOTrainer, args=lab.config(**args), strategy=strategy, critic_learning_rate=1e-3)
    mine.train()
    theirs, ours = lab.parameters(stock), lab.parameters(mine)
    assert max(float((ours[k] - theirs[k]).abs().max()) for k in theirs) <= 1e-6
    logs = [line for line in mine.state.log_history if PREFIX + "clip_low" in line]
    assert len(logs) == 8
    assert sum(line[PREFIX + "clip_low"] for line in logs) > 0.01
    assert sum(line[PREFIX + "clip_high"] for line in logs) > 0.01
    for a, b in zip(logs, stock.state.log_history, strict=False):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5, abs=1e-7)
        assert a[PREFIX + "clip_low"] == pytest.approx(b["clip_ratio/low_mean"], abs=1e-7)
        assert a[PREFIX + "clip_high"] == pytest.approx(b["clip_ratio/high_mean"], abs=1e-7)


@pytest.mark.parametrize("strategy", ["thermostat", "did", "od"])
def test_strategies_and_the_meter_take_advantages_per_token(lab, strategy):
    trainer = lab.trainer(
        EntropyControlPPOTrainer,
        args=lab.config(max_steps=8),
        strategy=strategy,
        reward=signs,
        critic_learning_rate=1e-3,
        attribution_share=1.0,
    )
    trainer.train()
    last = trainer.state.log_history[-2]
    assert sum(last[f"{PREFIX}E{i}/share"] for i in range(1, 5)) == pytest.approx(1.0, abs=0.01)
    assert all(math.isfinite(v) for k, v in last.items() if k.startswith(PREFIX))


@pytest.mark.slow
def test_a_critic_learns_what_can_be_known(lab):
    args = lab.config(max_steps=48, learning_rate=1e-9)
    trainer = lab.trainer(EntropyControlPPOTrainer, args=args, strategy="grpo", reward=signs, critic_learning_rate=1e-3)
    trainer.train()
    explained, losses = lines(trainer, "explained_variance"), lines(trainer, "value_loss")
    assert len(explained) == len(losses) == 12
    assert explained[0] == 0.0
    assert min(explained[-3:]) > 0.3
    assert min(losses) > 0


def test_logged_numbers_are_the_rollouts_own(lab):
    options = {"critic_learning_rate": 1e-3, "value_clip": 1e9}
    trainer = lab.trainer(Recorded, args=lab.config(max_steps=8), reward=signs, strategy="grpo", **options)
    trainer.train()
    for rollout, explained in zip(trainer.rollouts, lines(trainer, "explained_variance"), strict=True):
        mask = rollout["completion_mask"].bool()
        returns, values = (rollout[f"entrostat_{name}"][mask].double() for name in ("returns", "values"))
        assert explained == pytest.approx(1 - float((returns - values).var() / returns.var()), abs=1e-5)


def test_a_completion_that_nobody_scored_trains_neither_policy_nor_critic(lab):
    def some(completions, **_):
        return [None if i == 2 else value for i, value in enumerate(signs(completions))]

    trainer = lab.trainer(Recorded, args=lab.config(max_steps=4, logging_steps=1), reward=some, strategy="grpo")
    trainer.train()
    rollout = trainer.rollouts[0]
    assert (rollout["advantages"][2] == 0).all()
    assert not rollout["entrostat_valued"][2].any()
    assert all(p.isfinite().all() for p in trainer.critic.module.parameters())
    assert [math.isfinite(loss) for loss in lines(trainer, "value_loss")] == [True] * 4


def test_the_critic_draws_no_random_number(lab):
    """The same samples as without one, up to the first update; torch's generator where it was."""
    states = []
    for kind, options in ((lab.stock, {}), (EntropyControlPPOTrainer, {"strategy": "grpo"})):
        lab.trainer(kind, args=lab.config(max_steps=4), **options).train()
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_evaluation_never_moves_the_critic(lab):
    trainer = lab.trainer(
        EntropyControlPPOTrainer,
        args=lab.config(max_steps=4, per_device_eval_batch_size=8),
        strategy="grpo",
        eval_dataset=lab.trainer(args=lab.config(max_steps=1), strategy="grpo").train_dataset.select(range(2)),
    )
    trainer.train()
    before = {k: v.clone() for k, v in trainer.critic.module.state_dict().items()}
    assert "eval_entropy" in trainer.evaluate()
    assert all(torch.equal(v, before[k]) for k, v in trainer.critic.module.state_dict().items())


def test_a_checkpoint_holds_the_critic_and_one_without_it_is_refused(lab, tmp_path):
    saving = {"max_steps": 8, "save_strategy": "steps", "save_steps": 4}
    trainer = lab.trainer(EntropyControlPPOTrainer, args=lab.config(**saving), strategy="grpo", reward=signs)
    trainer.train()
    checkpoint = tmp_path / "out" / "checkpoint-4"
    again = lab.trainer(EntropyControlPPOTrainer, args=lab.config(**saving), strategy="grpo", reward=signs)
    again.train(resume_from_checkpoint=str(checkpoint))
    for k, v in trainer.critic.module.state_dict().items():
        assert torch.equal(v, again.critic.module.state_dict()[k]), k
    (checkpoint / CRITIC_FILE).unlink()
    third = lab.trainer(EntropyControlPPOTrainer, args=lab.config(**saving), strategy="grpo", reward=signs)
    with pytest.raises(ValueError, match=r"entrostat_critic\.pt is missing, so there is no critic to go on with"):
        third.train(resume_from_checkpoint=str(checkpoint))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gae_gamma": 1.5}, "gae_gamma must be in [0, 1], got 1.5"),
        ({"gae_lambda": -0.5}, "gae_lambda must be in [0, 1], got -0.5"),
        ({"critic_learning_rate": 0.0}, "critic_learning_rate must be over 0, got 0.0"),
        ({"value_clip": 0.0}, "value_clip must be over 0, got 0.0"),
    ],
)
def test_options_out_of_range_are_refused(lab, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        lab.trainer(EntropyControlPPOTrainer, strategy="grpo", **options)


@pytest.mark.parametrize(("attribute", "name"), [("is_fsdp_enabled", "FSDP"), ("is_deepspeed_enabled", "DeepSpeed")])
def test_trainers_that_the_critic_was_not_made_for_are_refused(lab, monkeypatch, attribute, name):
    start = GRPOTrainer.__init__

    def sharded(self, *args, **kwargs):
        start(self, *args, **kwargs)
        setattr(self, attribute, True)

    monkeypatch.setattr(GRPOTrainer, "__init__", sharded)
    with pytest.raises(ValueError, match=f"the critic does not work with {name}: use one process or DDP"):
        lab.trainer(EntropyControlPPOTrainer, strategy="grpo")
