"""The thermostat inside TRL: what it is told, what it does with one update a rollout, and its safety there."""

import math
from types import SimpleNamespace

import pytest
import torch
from trl import GRPOTrainer

import reference
from entrostat import RolloutSummary, make_strategy
from entrostat.engines.summary import summarise
from entrostat.engines.trl import EntropyControlGRPOTrainer, EntropyControlMixin
from entrostat.strategies.thermostat import Thermostat


class Seen(EntropyControlGRPOTrainer):
    """Keeps the rollouts as TRL made them, with what the strategy was told."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.__dict__.setdefault("seen", []).append((output, self.controller_state))
        return output

    def _summary(self, old, output):
        self.__dict__.setdefault("told", []).append(super()._summary(old, output))
        return self.told[-1]


def dense(trainer, output):
    """Scalar statistics of every trained token, from logits of a plain forward pass: [sequence][token]."""
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], 1)
    attention = torch.cat([output["prompt_mask"], output["completion_mask"]], 1)
    with torch.no_grad():
        logits = trainer.model(input_ids=ids, attention_mask=attention).logits.double()
    width = output["completion_ids"].size(1)
    logits = logits[:, -width - 1 : -1] / trainer.temperature
    mask = output["completion_mask"].bool()
    return [
        [reference.stats(logits[b, t].tolist(), int(output["completion_ids"][b, t])) for t in mask[b].nonzero()[:, 0]]
        for b in range(len(mask))
    ]


def test_the_pass_for_sums_takes_a_row_at_a_time_where_logits_are_many(lab, monkeypatch):
    args = {"max_steps": 4, "optim": "sgd", "learning_rate": 0.3}  # Adam blows rounding up to a step
    whole = lab.trainer(args=lab.config(**args), strategy=Thermostat(tilt="bracket"))
    whole.train()
    rows = lab.trainer(args=lab.config(**args), strategy=Thermostat(tilt="bracket"))
    passes = []
    rows.model.register_forward_pre_hook(
        lambda _model, _args, kwargs: passes.append(len(kwargs["input_ids"])) if "logits_to_keep" in kwargs else None,
        with_kwargs=True,
    )
    monkeypatch.setattr("entrostat.engines.lm_head.LOGITS", 1)
    rows.train()
    assert passes.count(1) >= 32
    mine, other = lab.parameters(rows), lab.parameters(whole)
    assert max(float((mine[k] - other[k]).abs().max()) for k in other) <= 2e-6


def test_sums_of_a_model_that_takes_images_are_refused(lab):
    class Images(GRPOTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self._is_vlm = True

    class Mine(EntropyControlMixin, Images):
        pass

    with pytest.raises(ValueError, match=r"'thermostat' needs sums over the vocabulary"):
        lab.trainer(Mine, args=lab.config(), strategy=Thermostat(tilt="bracket"))
    lab.trainer(Mine, args=lab.config(), strategy=Thermostat())


@pytest.mark.parametrize("tilt", ["surprisal", "bracket"])
def test_it_is_told_the_rollout_as_scalar_code_sees_it(lab, tilt):
    trainer = lab.trainer(Seen, args=lab.config(max_steps=4), strategy=Thermostat(tilt=tilt))
    found = SimpleNamespace()
    original = trainer._generate_and_score_completions

    def first(inputs):  # before any update has changed the model
        output = original(inputs)
        if not hasattr(found, "rows"):
            found.rows, found.output = dense(trainer, output), output
        return output

    trainer._generate_and_score_completions = first
    trainer.train()
    told = trainer.told[0]
    tokens = [stats for row in found.rows for stats in row]
    entropy = math.fsum(s[1] for s in tokens) / len(tokens)
    assert told.entropy == pytest.approx(entropy, rel=1e-5)
    sizes = [abs(lp + h) for lp, h, _, _ in tokens]
    if tilt == "bracket":
        sizes = [abs(math.exp(lp) * (lp + h) - (p2lp + h * p2)) for lp, h, p2, p2lp in tokens]
    size = told.bracket if tilt == "bracket" else told.excess_surprisal
    assert size == pytest.approx(math.fsum(sizes) / len(sizes), rel=1e-4)
    groups = [[s for row in found.rows[i : i + 4] for s in row] for i in range(0, len(found.rows), 4)]
    off = [math.fsum(s[1] for s in group) - entropy * len(group) for group in groups]
    n = len(groups)
    error = math.sqrt(n / (n - 1) * math.fsum(x * x for x in off)) / len(tokens)
    assert told.entropy_error == pytest.approx(error, rel=1e-4)
    advantages = found.output["advantages"].tolist()
    active = sum(len(row) for row, a in zip(found.rows, advantages, strict=True) if a != 0) / len(tokens)
    assert told.active == pytest.approx(active)
    assert told.updates == 4
    assert told.ceiling == pytest.approx(math.log(trainer.model.config.vocab_size))
    # and the window is made of the same numbers
    old = {k.removeprefix("entrostat_old_"): v for k, v in found.output.items() if k.startswith("entrostat_old_")}
    assert ("sum_p2" in old) == (tilt == "bracket")


def test_the_standard_error_is_that_of_draws_of_prompts():
    """Against the spread of the estimate itself, over many rollouts of prompts from one population."""
    generator = torch.Generator().manual_seed(0)
    estimates, errors = [], []
    for _ in range(400):
        level = 0.2 + 0.6 * torch.rand(16, 1, generator=generator)
        tokens = torch.randint(4, 12, (16, 8), generator=generator).float()
        entropy = tokens * (level + 0.1 * torch.randn(16, 8, generator=generator))
        sums = torch.stack([tokens, entropy, entropy, tokens], -1).reshape(-1, 4)
        one = summarise(sums, group=8, progress=0.0, updates=8, ceiling=3.0)
        estimates.append(one.entropy)
        errors.append(one.entropy_error)
    spread = torch.tensor(estimates).std().item()
    # 400 draws know a standard deviation to 3.5%
    assert torch.tensor(errors).square().mean().sqrt().item() == pytest.approx(spread, rel=0.12)


def test_one_group_has_no_error_and_no_token_is_nan_not_none():
    one = torch.tensor([[3.0, 1.2, 1.0, 3.0], [2.0, 0.8, 1.0, 2.0]])
    kwargs = {"group": 2, "progress": 0.0, "updates": 1, "ceiling": 3.0}
    assert summarise(one, **kwargs).entropy_error is None
    nothing = summarise(torch.zeros(4, 4), **kwargs)
    assert math.isnan(nothing.entropy)
    assert math.isnan(nothing.excess_surprisal)


def test_with_one_update_a_rollout_it_steers_where_static_thresholds_are_refused(lab):
    args = {"steps_per_generation": 1, "per_device_train_batch_size": 32, "max_steps": 10, "logging_steps": 1}
    with pytest.raises(ValueError, match="cannot act"):
        lab.trainer(args=lab.config(**args), strategy="clip-lower")
    ends = {}
    for target in (0.2, 0.9):
        made = lab.trainer(
            args=lab.config(**args), strategy=make_strategy("thermostat", target=target, hold="both", rate=0.3)
        )
        made.train()
        lines = [line for line in made.state.log_history if "entrostat/entropy" in line]
        assert max(line["entrostat/dropped"] for line in lines) > 0
        # every ratio is 1: what is clipped was dropped
        for line in lines:
            clipped = line["entrostat/clip_low"] + line["entrostat/clip_high"]
            assert clipped == pytest.approx(line["entrostat/dropped"], abs=1e-6)
        ends[target] = lines[-1]["entrostat/entropy"]
    assert ends[0.9] > ends[0.2] + 0.1


def test_a_target_that_the_vocabulary_cannot_reach_stops_the_run_before_an_update(lab):
    made = lab.trainer(args=lab.config(max_steps=4), strategy=make_strategy("thermostat", target=7.0))
    before = lab.parameters(made)
    with pytest.raises(ValueError, match=r"ln\(vocabulary\)"):
        made.train()
    assert all(torch.equal(before[k], v) for k, v in lab.parameters(made).items())


def test_rewards_that_are_all_equal_move_nothing_and_teach_nothing(lab):
    strategy = make_strategy("thermostat", target=0.2)
    made = lab.trainer(
        args=lab.config(max_steps=24), strategy=strategy, reward=lambda completions, **_: [1.0] * len(completions)
    )
    before = lab.parameters(made)
    made.train()
    assert all(torch.equal(before[k], v) for k, v in lab.parameters(made).items())
    state = made.controller_state
    assert (state.rollouts, state.measured, state.active) == (6, 6, 0)
    assert (state.past, state.drift, state.gain) == (0.0, 0.0, pytest.approx(0.15))


def test_a_resumed_run_may_have_another_target_and_moves_to_it_from_where_it_was(lab, tmp_path):
    args = {"max_steps": 8, "save_strategy": "steps", "save_steps": 4, "output_dir": str(tmp_path / "a")}
    made = lab.trainer(args=lab.config(**args), strategy=make_strategy("thermostat", target=0.4))
    made.train()
    other = make_strategy("thermostat", target=0.9)
    again = lab.trainer(Seen, args=lab.config(**args), strategy=other)
    again.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-4"))
    _, state = again.seen[0]
    assert state.target == 0.9
    assert state.rollouts == 2
    assert state.initial_entropy == made.controller_state.initial_entropy
    assert math.exp(state.reference) < 0.5


def test_the_summary_of_an_engine_that_knows_less_is_enough():
    state = Thermostat().init()
    for k in range(3):
        state = Thermostat().observe(state, RolloutSummary(k / 3, 0.4, excess_surprisal=0.3))
    assert state.measured == 3
