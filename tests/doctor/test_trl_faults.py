"""Each finding in a GRPOConfig is a fact of the installed TRL: its own trainer and its own loss show it."""

import sys
import types
from types import SimpleNamespace

import pytest
import torch
from trl import GRPOTrainer

import engines.conftest
from entrostat import TokenStats, make_strategy
from entrostat.doctor import Finding, Source, findings, settings
from entrostat.strategies import STRATEGIES, RolloutSummary
from entrostat.trainers import TRL_LOSSES, thresholds

# the tiny model in TRL's trainer
lab = engines.conftest.lab
# every side of every window, twice over; rows by advantage
LOGRATIO = torch.tensor([[-1.5, -0.6, -0.1, 0.0, 0.1, 0.25, 0.6, 1.5]] * 2)
ADVANTAGES = torch.tensor([[1.0], [-1.0]]).expand(2, 8)


def found(strategy=None, **fields):
    return {f.finding: f for f in findings(settings(Source("test", fields)), strategy)}


class Probe(GRPOTrainer):
    """TRL's own `_compute_loss`, with log-probabilities that are given in place of a model's."""

    def _get_per_token_logps_and_entropies(self, model, input_ids, *args, **kwargs):
        return self.given, torch.full_like(self.given, 0.5).detach(), None


@pytest.fixture
def loss(lab):
    """Per-token gradient, loss and metrics of TRL's loss, by log-ratio and advantage (b t), under GRPOConfig fields.

    `high` stands for epsilon_high, as the engine sets it.
    """

    def run(logratio, advantages, high=None, **fields):
        # a batch as large as the rollout: its parts have no meaning here
        trainer = lab.trainer(Probe, args=lab.config(**fields))
        if high is not None:
            trainer.epsilon_low, trainer.epsilon_high = torch.full_like(high, 0.2), high
        trainer.given = torch.full_like(logratio, -1.0).requires_grad_()
        b, t = logratio.shape
        ids, mask = torch.zeros(b, t, dtype=torch.long), torch.ones(b, t)
        inputs = {
            "prompt_ids": ids,
            "prompt_mask": mask,
            "completion_ids": ids,
            "completion_mask": mask,
            "advantages": advantages,
            "old_per_token_logps": -1.0 - logratio,
            "num_items_in_batch": mask.sum(),
        }
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        value = trainer._compute_loss(trainer.model, inputs)
        (gradient,) = torch.autograd.grad(value, trainer.given)
        metrics = {name: seen[0] for name, seen in trainer._metrics["train"].items()}
        return SimpleNamespace(value=value.item(), gradient=gradient, metrics=metrics)

    return run


# Ratio always 1


@pytest.mark.parametrize(
    ("steps", "iterations", "accumulated"),
    [(1, 1, 1), (4, 1, 4), (2, 1, 4), (4, 1, 1), (1, 2, 1), (4, 1, 2), (2, 2, 4), (3, 1, 2), (2, 2, 1)],
)
def test_ratio_is_always_1_exactly_where_it_is_found(lab, steps, iterations, accumulated):
    """A window too narrow for float32 clips every token whose ratio is not 1 on its advantage's side."""
    batching = dict(steps_per_generation=steps, num_iterations=iterations, gradient_accumulation_steps=accumulated)
    args = lab.config(**batching, per_device_train_batch_size=8, epsilon=1e-9, max_steps=4, logging_steps=1)
    trainer = lab.trainer(lab.stock, args=args)
    trainer.train()
    clipped = [line["clip_ratio/region_mean"] for line in trainer.state.log_history if "clip_ratio/region_mean" in line]
    assert len(clipped) == 4
    assert (max(clipped) == 0) == (Finding.RATIO_ALWAYS_ONE in found(**batching))


def test_at_one_update_a_rollout_no_threshold_changes_a_bit_of_the_model(lab):
    def trained(**fields):
        trainer = lab.trainer(lab.stock, args=lab.config(steps_per_generation=1, max_steps=3, **fields))
        trainer.train()
        return lab.parameters(trainer)

    usual, other = trained(), trained(epsilon=1e-9, epsilon_high=1e-9)
    assert all(torch.equal(usual[name], other[name]) for name in usual)


def test_trl_s_defaults_are_such_a_run():
    assert set(found(epsilon=0.2)) == {Finding.RATIO_ALWAYS_ONE}


def test_a_strategy_that_acts_on_fresh_tokens_cures_it():
    assert found(make_strategy("clip-lower"), learning_rate=1e-6)
    assert not found(make_strategy("thermostat"), learning_rate=1e-6)


def test_generation_batch_size_counts_for_steps_per_generation():
    source = Source("test", {"generation_batch_size": 64, "per_device_train_batch_size": 8})
    at = {p: [f.finding for f in findings(settings(source), processes=p)] for p in (1, 4, 8)}
    assert at == {1: [], 4: [], 8: [Finding.RATIO_ALWAYS_ONE]}


# Dual clip


@pytest.mark.parametrize(("delta", "hit"), [(1.3, True), (1.5, True), (2.0, False), (None, False)])
def test_delta_takes_the_gradient_inside_the_loosened_window(loss, delta, hit):
    fields = {"epsilon_high": 0.5, "delta": delta, "steps_per_generation": 4}
    # ratios 1.1, 1.284, 1.4, 1.6
    logratio = torch.tensor([[1.1, 1.284, 1.4, 1.6]]).log()
    out = loss(logratio, torch.ones(1, 4), **fields)
    kept = (out.gradient != 0)[0].tolist()
    assert kept == [True, True, delta is None or delta > 1.4, False]
    # the metric counts the clip at the window's edge; under delta it never does
    assert (out.metrics["clip_ratio/high_mean"] == 0) == hit
    assert (Finding.DUAL_CLIP in found(**fields)) == hit


@pytest.mark.parametrize("name", STRATEGIES)
def test_delta_is_found_where_it_takes_the_gradient_inside_a_strategys_window(loss, name):
    """The widest bounds over states and tokens, in TRL's own loss, and a ratio just inside each of them."""
    strategy = make_strategy(name)
    old = TokenStats(torch.tensor([[-0.01, -1.0, -9.0, -40.0]]), torch.full((1, 4), 0.4))
    highs, state = [], strategy.init()
    # long enough for a threshold that moves by steps to come to its end
    history = [1.0, *[0.1] * 19]
    for i, entropy in enumerate(history):
        state = strategy.observe(state, RolloutSummary(i / len(history), entropy, 0.1, 0.5))
        highs.append(strategy.bounds(state, old).high)
    high = torch.stack(highs).amax(0)
    logratio = (0.999 * (1 + high.clamp(max=1e4))).log()
    for delta in (1.1, 1.6, 4.0, 20.0):
        out = loss(logratio, torch.ones(1, 4), high=high, delta=delta)
        cut = (out.gradient == 0).any().item()
        assert cut == (Finding.DUAL_CLIP in found(strategy, delta=delta)), delta
    assert (loss(logratio, torch.ones(1, 4), high=high).gradient != 0).all()


def test_the_end_of_the_window_is_named():
    seen = found(make_strategy("dcpo"), delta=1.6)[Finding.DUAL_CLIP]
    assert seen.said == "delta 1.6 caps the ratio where the window goes up to 1 + 9 (highest of dcpo)"
    assert seen.settings == {"delta": 1.6, "highest of dcpo": 9.0}


# Threshold ignored

OTHER = {
    "epsilon": 0.5,
    "epsilon_high": 0.5,
    "delta": 1.1,
    "sapo_temperature_pos": 2.0,
    "sapo_temperature_neg": 2.0,
    "vespo_k_pos": 1.0,
    "vespo_k_neg": 1.0,
    "vespo_lambda_pos": 1.0,
    "vespo_lambda_neg": 1.0,
}


@pytest.mark.parametrize("kind", TRL_LOSSES)
@pytest.mark.filterwarnings("ignore")
def test_a_threshold_is_found_exactly_where_it_changes_nothing(loss, kind):
    assert set(OTHER) == set(thresholds(TRL_LOSSES))
    advantages = ADVANTAGES if kind != "vespo" else ADVANTAGES[:, :1]
    usual = loss(LOGRATIO, advantages, loss_type=kind)
    for name, value in OTHER.items():
        out = loss(LOGRATIO, advantages, loss_type=kind, **{name: value})
        changes = out.value != usual.value or not torch.equal(out.gradient, usual.gradient)
        assert changes != (Finding.THRESHOLD_IGNORED in found(loss_type=kind, **{name: value})), name


def test_cispo_reads_epsilon_only_without_epsilon_high(loss):
    both = {"loss_type": "cispo", "epsilon_high": 2.0}
    usual, other = loss(LOGRATIO, ADVANTAGES, **both), loss(LOGRATIO, ADVANTAGES, **both, epsilon=0.5)
    assert torch.equal(usual.gradient, other.gradient)
    assert found(**both, epsilon=0.5)[Finding.THRESHOLD_IGNORED].settings == {"loss_type": "cispo", "epsilon": 0.5}


def test_a_strategy_sets_the_window_itself(lab):
    """The engine puts the strategy's bounds over epsilon: with another one the same model comes out."""

    def trained(**fields):
        trainer = lab.trainer(args=lab.config(max_steps=8, **fields), strategy=make_strategy("clip-higher"))
        trainer.train()
        return lab.parameters(trainer)

    usual, other = trained(), trained(epsilon=0.01, epsilon_high=0.01)
    assert all(torch.equal(usual[name], other[name]) for name in usual)
    assert Finding.THRESHOLD_IGNORED in found(make_strategy("clip-higher"), epsilon=0.01)


# Cap under 1


@pytest.mark.parametrize(("fields", "hit"), [({}, True), ({"epsilon_high": 0.9}, True), ({"epsilon_high": 5.0}, False)])
def test_a_cap_under_1_gives_every_token_one_weight(loss, fields, hit):
    logratio = torch.tensor([[-0.1, 0.0, 0.1, 0.25, 1.5]])
    weights = loss(logratio, torch.ones(1, 5), loss_type="cispo", **fields).gradient[0]
    assert (weights.unique().numel() == 1) == hit
    assert (Finding.CAP_UNDER_ONE in found(loss_type="cispo", **fields)) == hit


# Temperature and a cut sampler


class Recorded(GRPOTrainer):
    """Keeps the first micro-batch, and the distributions under the model as it then is."""

    def _compute_loss(self, model, inputs):
        if not hasattr(self, "first"):
            whole = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
            attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
            with torch.no_grad():
                logits = model(input_ids=whole, attention_mask=attention).logits.double()
            width = inputs["completion_ids"].shape[1]
            self.first = logits[:, -width - 1 : -1], inputs["completion_ids"], inputs["completion_mask"].bool()
        return super()._compute_loss(model, inputs)


def first_step(lab, **fields):
    trainer = lab.trainer(Recorded, args=lab.config(max_steps=1, logging_steps=1, **fields))
    trainer.train()
    logits, ids, mask = trainer.first
    return trainer, logits[mask], ids[mask], trainer.state.log_history[0]["entropy"]


def entropy(logits, temperature):
    logps = torch.log_softmax(logits / temperature, -1)
    return -(logps.exp() * logps).sum(-1).mean().item()


def test_entropy_is_that_of_the_temperature(lab):
    _, logits, _, logged = first_step(lab, temperature=0.5)
    assert logged == pytest.approx(entropy(logits, 0.5), rel=1e-5)
    assert logged < 0.8 * entropy(logits, 1.0)
    assert Finding.TEMPERATURE in found(temperature=0.5)
    assert Finding.TEMPERATURE not in found(temperature=1)


def test_a_temperature_in_generation_kwargs_moves_the_sampler_alone(lab):
    fields = {"generation_kwargs": {"temperature": 0.01}}
    _, logits, ids, logged = first_step(lab, **fields)
    assert logged == pytest.approx(entropy(logits, 1.0), rel=1e-5)
    # at .01 the sampler is greedy
    assert (ids == logits.argmax(-1)).double().mean() > 0.98
    assert found(**fields)[Finding.TEMPERATURE].settings["generation_kwargs.temperature"] == 0.01
    assert Finding.TEMPERATURE in found(temperature=0.5, generation_kwargs={"temperature": 1.0})


@pytest.mark.parametrize(
    "fields", [{"top_p": 0.5}, {"top_k": 2}, {"min_p": 0.5}, {"generation_kwargs": {"top_k": 2}}], ids=str
)
def test_a_cut_sampler_draws_from_a_part_while_entropy_is_of_the_whole(lab, fields):
    _, logits, ids, logged = first_step(lab, **fields)
    assert logged == pytest.approx(entropy(logits, 1.0), rel=1e-5)
    probs = logits.softmax(-1)
    ordered, order = probs.sort(-1, descending=True)
    before = (ordered.cumsum(-1) - ordered).scatter(-1, order, ordered.cumsum(-1) - ordered)
    rank = order.argsort(-1)
    kept = {
        "top_p": before < 0.5 + 1e-4,
        "top_k": rank < 2,
        "min_p": probs >= (0.5 - 1e-4) * ordered[:, :1],
    }[next(iter(fields.get("generation_kwargs", fields)))]
    assert kept.gather(-1, ids[:, None]).all()
    drawn = probs * kept / (probs * kept).sum(-1, keepdim=True)
    assert torch.special.entr(drawn).sum(-1).mean() < 0.9 * logged
    assert Finding.SAMPLING_CUT in found(**fields)


def test_a_repetition_penalty_moves_the_sampler_alone(lab):
    fields = {"repetition_penalty": 2.0}
    trainer, logits, _, logged = first_step(lab, **fields)
    assert trainer.generation_config.repetition_penalty == 2.0
    assert logged == pytest.approx(entropy(logits, 1.0), rel=1e-5)
    assert Finding.SAMPLING_CUT in found(**fields)


@pytest.mark.parametrize("fields", [{"top_k": 0}, {"top_k": -1}, {"top_p": 1}, {"min_p": 0.0}, {"min_p": None}])
def test_a_whole_sampler_is_no_finding(fields):
    assert Finding.SAMPLING_CUT not in found(**fields)


# vLLM's correction


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("correction", [False, True])
def test_without_the_correction_nothing_weighs_the_samplers_own_probabilities(lab, correction):
    """The samples come by TRL's rollout_func, as a vLLM server's would; `gap` is by how much it disagrees."""

    def trained(gap):
        def sample(prompts, trainer):
            ids = trainer.processing_class(list(prompts))["input_ids"]
            ends = [[5 + i % 4, 7, trainer.processing_class.eos_token_id] for i in range(len(ids))]
            return {"prompt_ids": ids, "completion_ids": ends, "logprobs": [[-1.0, -1.0 - gap, -1.0]] * len(ids)}

        fields = {"vllm_importance_sampling_mode": "token_truncate", "vllm_importance_sampling_clip_max": 1e9}
        args = lab.config(max_steps=1, vllm_importance_sampling_correction=correction, **fields)
        reward = lambda completions, **_: [float(i % 4) for i in range(len(completions))]  # noqa: E731
        trainer = lab.trainer(lab.stock, args=args, reward=reward, rollout_func=sample)
        # vLLM itself needs a GPU; its server's answers are what rollout_func gives
        trainer.use_vllm, trainer._last_loaded_step = True, 0
        trainer.train()
        return lab.parameters(trainer)

    right, wrong = trained(0.0), trained(1.0)
    unseen = all(torch.equal(right[name], wrong[name]) for name in right)
    assert unseen == (not correction)
    fields = {"use_vllm": True, "vllm_importance_sampling_correction": correction}
    assert (Finding.VLLM_CORRECTION_OFF in found(**fields)) == unseen
    assert Finding.VLLM_CORRECTION_OFF not in found(vllm_importance_sampling_correction=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cap", "expected"), [(3.0, 1.0), (0.5, 0.5)])
def test_a_cap_under_one_weighs_every_sample_alike(lab, cap, expected):
    """Samples whose log-probs are the trainer's own: the right weight is 1."""

    class Same(lab.stock):
        def _get_per_token_logps_and_entropies(self, *args, **kwargs):
            logps, *rest = super()._get_per_token_logps_and_entropies(*args, **kwargs)
            return logps * 0 - 1.0, *rest

    def sample(prompts, trainer):
        ids = trainer.processing_class(list(prompts))["input_ids"]
        ends = [[5, 7, trainer.processing_class.eos_token_id]] * len(ids)
        return {"prompt_ids": ids, "completion_ids": ends, "logprobs": [[-1.0, -1.0, -1.0]] * len(ids)}

    fields = {"vllm_importance_sampling_clip_max": cap, "vllm_importance_sampling_mode": "token_truncate"}
    args = lab.config(max_steps=1, logging_steps=1, **fields)
    trainer = lab.trainer(
        Same, args=args, reward=lambda completions, **_: [0.0] * len(completions), rollout_func=sample
    )
    trainer.use_vllm, trainer._last_loaded_step = True, 0
    trainer.train()
    (logged,) = [row for row in trainer.state.log_history if "sampling/importance_sampling_ratio/mean" in row]
    assert logged["sampling/importance_sampling_ratio/mean"] == pytest.approx(expected)
    assert (Finding.CORRECTION_BAND in found(use_vllm=True, **fields)) == (expected < 1)


@pytest.mark.parametrize("mode", ["sequence_mask", "token_mask"])
def test_vespo_refuses_sequences_weights(lab, mode):
    args = lab.config(loss_type="vespo", vllm_importance_sampling_mode=mode)
    args.use_vllm = True
    with pytest.raises(Exception) as caught:
        lab.trainer(lab.stock, args=args)
    # without a GPU no vLLM starts either
    refused = "VESPO loss requires" in str(caught.value)
    fields = {"use_vllm": True, "loss_type": "vespo", "vllm_importance_sampling_mode": mode}
    assert (Finding.CORRECTION_REFUSED in found(**fields)) == refused == (mode == "sequence_mask")


# Bonus and controller


def test_adaptive_control_takes_a_constant_bonus_away(lab):
    def trained(coefficient):
        fields = {"use_adaptive_entropy": True, "entropy_target": 1e-4, "entropy_coef": coefficient}
        trainer = lab.trainer(lab.stock, args=lab.config(max_steps=4, logging_steps=1, **fields))
        trainer.train()
        return [line["entropy_coef"] for line in trainer.state.log_history if "entropy_coef" in line]

    assert trained(0.01) == pytest.approx([0.005, 0, 0, 0])
    assert Finding.BONUS_AND_CONTROLLER in found(entropy_coef=0.01, use_adaptive_entropy=True)
    assert Finding.BONUS_AND_CONTROLLER not in found(entropy_coef=0.01)
    assert Finding.BONUS_AND_CONTROLLER not in found(use_adaptive_entropy=True)


@pytest.mark.slow
def test_a_bonus_stays_in_the_loss_beside_the_thermostat(lab):
    def trained(coefficient):
        args = lab.config(max_steps=4, entropy_coef=coefficient)
        trainer = lab.trainer(args=args, strategy=make_strategy("thermostat"))
        trainer.train()
        return lab.parameters(trainer)

    without, beside = trained(0.0), trained(0.05)
    assert not all(torch.equal(without[name], beside[name]) for name in without)
    for name in ("thermostat", "od"):
        assert Finding.BONUS_AND_CONTROLLER in found(make_strategy(name), entropy_coef=0.05)
    assert Finding.BONUS_AND_CONTROLLER not in found(make_strategy("clip-lower"), entropy_coef=0.05)


# unsloth


def test_unsloth_is_found_by_import_by_class_and_by_field(monkeypatch):
    assert Finding.UNSLOTH not in found(epsilon=0.2)
    assert Finding.UNSLOTH in found(epsilon=0.2, unsloth_num_chunks=-1)
    owner = type("UnslothGRPOConfig", (), {"__module__": "UnslothGRPOTrainer"})
    source = Source("test", {"epsilon": 0.2}, owner=owner)
    assert Finding.UNSLOTH in {f.finding for f in findings(settings(source))}
    monkeypatch.setitem(sys.modules, "unsloth", types.ModuleType("unsloth"))
    assert Finding.UNSLOTH in found(epsilon=0.2)
