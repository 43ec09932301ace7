"""Subclasses of TRL's trainer with losses, passes and samples of their own: acted on, or refused in one line."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
import torch
from trl import GRPOTrainer

from entrostat import dump, make_strategy
from entrostat.engines.ppo import CriticMixin, EntropyControlPPOTrainer
from entrostat.engines.trl import PREFIX, EntropyControlGRPOTrainer, EntropyControlMixin


def mixed(theirs, *more):
    return type("Mine", (EntropyControlMixin, *more, theirs), {})


def ours(trainer):
    lines = [{k: v for k, v in line.items() if k.startswith(PREFIX)} for line in trainer.state.log_history]
    return [line for line in lines if line]


def given(inputs):
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    return ids, attention, inputs["completion_ids"].size(1)


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


# Losses of their own


class Reinforce(GRPOTrainer):
    """No ratio, no threshold."""

    def _compute_loss(self, model, inputs):
        logprobs, _, _ = self._get_per_token_logps_and_entropies(model, *given(inputs))
        mask = inputs["completion_mask"]
        return -(logprobs * inputs["advantages"][:, None] * mask).sum() / mask.sum()


class OneSided(Reinforce):
    def _compute_loss(self, model, inputs):
        return super()._compute_loss(model, inputs) + 0 * (1 + torch.as_tensor(self.epsilon_high)).sum().clamp(max=1)


@pytest.mark.parametrize(
    ("loss", "unread"),
    [(Reinforce, "self.epsilon_low or self.epsilon_high"), (OneSided, "self.epsilon_low")],
)
def test_a_loss_that_never_reads_the_bounds_is_refused(lab, loss, unread):
    trainer = lab.trainer(mixed(loss), args=lab.config(max_steps=4), strategy="clip-lower")
    with pytest.raises(RuntimeError) as error:
        trainer.train()
    said = f"Mine._compute_loss does not read {unread}, so strategy 'clip-lower' controls nothing: "
    assert one_line(error).startswith(said)
    assert trainer.state.global_step == 0


def test_a_loss_above_entropy_control_is_refused(lab):
    mine = type("Mine", (EntropyControlGRPOTrainer,), {"_compute_loss": Reinforce._compute_loss})
    for strategy in ("clip-lower", None):
        trainer = lab.trainer(mine, args=lab.config(max_steps=4), strategy=strategy)
        with pytest.raises(
            RuntimeError, match=r"^Mine computes its loss above entropy control, .* call super"
        ) as error:
            trainer.train()
        one_line(error)
        assert trainer.state.global_step == 0


def test_without_a_strategy_a_loss_without_thresholds_is_measured_and_clips_nothing(lab, tmp_path):
    extra = {"dump_every": 1, "dump_dir": tmp_path / "d"}
    trainer = lab.trainer(mixed(Reinforce), args=lab.config(max_steps=4, epsilon=0.01), strategy=None, **extra)
    trainer.train()
    (line,) = ours(trainer)
    assert line[PREFIX + "clip_low"] == line[PREFIX + "clip_high"] == 0
    assert sum(line[f"{PREFIX}E{i}/share"] for i in range(1, 5)) > 0
    assert dump.notes(tmp_path / "d")["loss_type"] == "Mine"
    assert "low" not in pa.Table.from_batches(list(dump.read(tmp_path / "d"))).schema.names


# Passes of their own


class Before(GRPOTrainer):
    """A pass with gradient over other tokens, before TRL's loss."""

    def _compute_loss(self, model, inputs):
        ids, attention, width = given(inputs)
        other, _, _ = self._get_per_token_logps_and_entropies(model, ids.roll(1, 0), attention, width)
        return super()._compute_loss(model, inputs) + 0 * other.sum()


class After(GRPOTrainer):
    """Passes over the same tokens with gradient, and over others, after TRL's loss."""

    def _compute_loss(self, model, inputs):
        loss = super()._compute_loss(model, inputs)
        ids, attention, width = given(inputs)
        again, _, _ = self._get_per_token_logps_and_entropies(model, ids, attention, width)
        with torch.no_grad():
            self._get_per_token_logps_and_entropies(model, ids.roll(1, 0), attention, width)
            model(input_ids=ids.flip(0), attention_mask=attention.flip(0))
        return loss + 0 * again.sum()


@pytest.mark.parametrize("theirs", [Before, After])
def test_a_second_pass_does_not_replace_the_one_that_was_trained_on(lab, theirs):
    tight = {"strategy": make_strategy("grpo", low=0.02, high=0.02), "attribution_share": 1.0}
    plain = lab.trainer(args=lab.config(max_steps=8), **tight)
    plain.train()
    more = lab.trainer(mixed(theirs), args=lab.config(max_steps=8), **tight)
    more.train()
    assert sum(line[f"{PREFIX}clip_{side}"] for line in ours(plain) for side in ("low", "high")) > 0
    for mine, want in zip(ours(more), ours(plain), strict=True):
        assert mine == pytest.approx(want, rel=1e-4, abs=1e-6)


class Twice(GRPOTrainer):
    """Two passes with gradient over the batch, and no telling which of them is in the ratio."""

    def _compute_loss(self, model, inputs):
        self._get_per_token_logps_and_entropies(model, *given(inputs))
        return super()._compute_loss(model, inputs)


class Unseen(GRPOTrainer):
    def _compute_loss(self, model, inputs):
        ids, attention, _ = given(inputs)
        logits = model(input_ids=ids, attention_mask=attention).logits
        return logits.mean() * (1 + self.epsilon_low.mean() + self.epsilon_high.mean())


@pytest.mark.parametrize(
    ("theirs", "said"),
    [(Twice, "makes 2 passes with gradient before it reads epsilon_low"), (Unseen, "makes no pass over its batch")],
)
def test_a_loss_whose_pass_cannot_be_told_is_refused(lab, theirs, said):
    trainer = lab.trainer(mixed(theirs), args=lab.config(max_steps=4), strategy="grpo")
    with pytest.raises(RuntimeError) as error:
        trainer.train()
    assert one_line(error).startswith(f"Mine._compute_loss {said}")


# Samples of their own


def joined(a, b, pad):
    """The first half of one rollout's rows, the second half of another's, padded to one width."""
    out = {}
    for key, first in a.items():
        second = b[key]
        if first.dim() == 0:
            out[key] = first
            continue
        if first.dim() == 2 and first.size(1) != second.size(1):
            fill = pad if key.endswith("_ids") else 0
            left = key.startswith("prompt")
            width = max(first.size(1), second.size(1))

            def widened(x, width=width, left=left, fill=fill):
                gap = width - x.size(1)
                return torch.nn.functional.pad(x, (gap, 0) if left else (0, gap), value=fill)

            first, second = widened(first), widened(second)
        half = len(first) // 2
        out[key] = torch.cat([first[:half], second[half:]])
    return out


class Resampled(GRPOTrainer):
    """Dynamic sampling's form: a part of the rollout is sampled again, and takes the place of what was there."""

    def _generate_and_score_completions(self, inputs):
        first = super()._generate_and_score_completions(inputs)
        return joined(super()._generate_and_score_completions(inputs), first, self._tokenizer.pad_token_id)


def signs(completions, **_):
    return [float(len(text) + 3 * text.count("*")) for text in completions]


def test_a_dump_of_dynamic_sampling_has_each_completions_own_reward(lab, tmp_path):
    extra = {"reward": signs, "dump_every": 1, "dump_dir": tmp_path / "d"}
    trainer = lab.trainer(mixed(Resampled), args=lab.config(max_steps=8), strategy="thermostat", **extra)
    trainer.train()
    rows = pa.Table.from_batches(list(dump.read(tmp_path / "d"))).to_pylist()
    assert len(rows) == 64
    assert len({row["reward"] for row in rows}) > 3
    for row in rows:
        text = trainer.processing_class.decode(row["tokens"], skip_special_tokens=True)
        assert [row["reward"]] == signs([text])
    assert trainer.controller_state.rollouts == 2


def test_a_critic_learns_from_each_completions_own_reward(lab):
    seen = []

    class Kept(mixed(Resampled, CriticMixin)):
        def _generate_and_score_completions(self, inputs):
            output = super()._generate_and_score_completions(inputs)
            texts = self.processing_class.batch_decode(output["completion_ids"], skip_special_tokens=True)
            seen.append((self._rewards_of(output).tolist(), signs(texts)))
            return output

    lab.trainer(Kept, args=lab.config(max_steps=4), strategy="grpo", reward=signs).train()
    (found, want), *_ = seen
    assert found == want


class Invented(GRPOTrainer):
    """Puts in completions that nobody has scored."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        output["completion_ids"] = output["completion_ids"].roll(1, 1)
        return output


@pytest.mark.parametrize("ppo", [False, True])
def test_completions_that_nobody_scored_are_refused(lab, tmp_path, ppo):
    kind = mixed(Invented, CriticMixin) if ppo else mixed(Invented)
    extra = {} if ppo else {"dump_every": 1, "dump_dir": tmp_path}
    trainer = lab.trainer(kind, args=lab.config(max_steps=4), strategy="grpo", **extra)
    with pytest.raises(
        ValueError, match=r"Mine trains on completions .* entrostat has seen no reward for one"
    ) as error:
        trainer.train()
    one_line(error)


def test_a_completion_with_two_rewards_has_none(lab, tmp_path):
    """The same tokens were scored twice by chance: nobody can say which sample was put in."""
    numbers = itertools.count()
    by_chance = lambda completions, **_: [float(next(numbers)) for _ in completions]  # noqa: E731
    extra = {"reward": by_chance, "dump_every": 1, "dump_dir": tmp_path / "d"}
    trainer = lab.trainer(mixed(Resampled), args=lab.config(max_steps=4), strategy="grpo", **extra)
    with pytest.raises(ValueError, match=r"entrostat has seen several rewards for one of them"):
        trainer.train()


class AboveTwice(EntropyControlGRPOTrainer):
    def _generate_and_score_completions(self, inputs):
        first = super()._generate_and_score_completions(inputs)
        return joined(super()._generate_and_score_completions(inputs), first, self._tokenizer.pad_token_id)


class AboveInPlace(EntropyControlGRPOTrainer):
    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        output["completion_ids"][:4] = output["completion_ids"][4:8].clone()
        return output


class AbovePpo(EntropyControlPPOTrainer):
    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        return {k: v for k, v in output.items() if not k.startswith("entrostat")}


@pytest.mark.parametrize(
    ("kind", "said"),
    [(AboveTwice, "samples twice for one rollout"), (AboveInPlace, "replaces completions"), (AbovePpo, "replaces")],
)
def test_resampling_above_entropy_control_is_refused(lab, kind, said):
    trainer = lab.trainer(kind, args=lab.config(max_steps=4), strategy="grpo")
    with pytest.raises(RuntimeError, match=rf"^{kind.__name__} {said}.*class Mine\(EntropyControlMixin, ") as error:
        trainer.train()
    one_line(error)


class BreaksOnce(EntropyControlGRPOTrainer):
    losses = 0

    def _compute_loss(self, model, inputs):
        self.losses += 1
        if self.losses == 5:  # the first of the second rollout, which was observed
            raise KeyboardInterrupt
        return super()._compute_loss(model, inputs)


def test_a_run_that_broke_off_may_be_started_again(lab):
    trainer = lab.trainer(BreaksOnce, args=lab.config(max_steps=8), strategy="id")
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.train()
    assert trainer.state.global_step == 8


# Tokens that TRL takes out of its loss


@pytest.mark.parametrize("option", [{"top_entropy_quantile": 0.4}, {"off_policy_mask_threshold": 1e-3}])
def test_tokens_that_trl_takes_out_count_in_no_change(lab, option):
    """From the model's logits in float64, with the mask of TRL's documentation."""
    sums = []

    class Recorded(EntropyControlGRPOTrainer):
        def _compute_loss(self, model, inputs):
            ids, attention, width = given(inputs)
            with torch.no_grad():
                logits = self.model(input_ids=ids, attention_mask=attention).logits.double()
            logp = logits[:, -width - 1 : -1].log_softmax(-1)
            p = logp.exp()
            entropy = -(p * logp).sum(-1)
            q = p * (logp + entropy[..., None])
            taken = inputs["completion_ids"][..., None]
            own = logp.gather(-1, taken)[..., 0]
            logratio = own - inputs["old_per_token_logps"]
            advantages = inputs["advantages"][:, None].expand_as(own)
            change = -advantages * logratio.exp() * (q.gather(-1, taken)[..., 0] - (p * q).sum(-1))
            mask = inputs["completion_mask"].bool()
            if "top_entropy_quantile" in option:
                kept = entropy >= np.quantile(entropy[mask].numpy(), 1 - option["top_entropy_quantile"])
            else:
                drift = (-logratio * mask).sum(1) / mask.sum(1)
                kept = (advantages >= 0) | (drift <= option["off_policy_mask_threshold"])[:, None]
            used = mask & kept
            sums.append((float(change[used].sum()), int((used & (advantages != 0)).sum()), int(mask.sum())))
            return super()._compute_loss(model, inputs)

    config = lab.config(max_steps=4, **option)
    trainer = lab.trainer(Recorded, args=config, strategy="grpo", attribution_share=1.0)
    trainer.train()
    (line,) = ours(trainer)
    change, used, tokens = (sum(column) for column in zip(*sums, strict=True))
    assert used < 0.8 * tokens
    found = sum(line[f"{PREFIX}E{i}/change_{kind}"] for i in range(1, 5) for kind in ("kept", "clipped"))
    assert found == pytest.approx(change / tokens, rel=1e-3, abs=1e-6)
    shares = sum(line[f"{PREFIX}E{i}/share"] for i in range(1, 5))
    assert shares == pytest.approx(used / tokens, abs=1.5 / tokens)


def test_the_thresholds_stay_plain_attributes(lab):
    trainer = lab.trainer(strategy="grpo", args=lab.config(epsilon=0.1, epsilon_high=0.3))
    assert (trainer.epsilon_low, trainer.epsilon_high) == (0.1, 0.3)
    trainer.epsilon_low = 0.2
    assert trainer.epsilon_low == 0.2
    del vars(trainer)["epsilon_low"]
    with pytest.raises(AttributeError, match="epsilon_low"):
        _ = trainer.epsilon_low
