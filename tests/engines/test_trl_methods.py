"""TRL's own methods and objectives inside the engine: stock losses stay stock, a term is added as its formula says."""

import dataclasses
import json
import math
from typing import NamedTuple

import pytest
import torch
from trl import GRPOTrainer

from entrostat import make_strategy
from entrostat.engines.checkpoint import STATE_FILE
from entrostat.engines.trl import PREFIX, EntropyControlMixin
from entrostat.lab.methods import make_method, recipe
from entrostat.objectives import Objective
from entrostat.objectives.covariance import KlCov
from entrostat.objectives.entropic import Entropic
from entrostat.objectives.gppo import CeGppo

TRL = {
    # a target over the model's entropy, so that the bonus acts from the second update on
    "trl:adaptive-entropy": {"target": 3.0, "delta": 0.05},
    "trl:entropy-bonus": {"coef": 0.05},
    "trl:gspo": {"low": 0.003, "high": 0.004},
    "trl:sapo": {"temperature_pos": 2.0, "temperature_neg": 5.0},
    "trl:cispo": {"epsilon_high": 1.01},
}
"""Options under which each differs from GRPO within two updates."""


def trained(lab, kind=None, *, args, **extra):
    made = lab.trainer(args=args, **extra) if kind is None else lab.trainer(kind, args=args, **extra)
    made.train()
    return made


def gap(mine, theirs, lab):
    a, b = lab.parameters(mine), lab.parameters(theirs)
    return float(torch.stack([(a[k] - b[k]).abs().max() for k in b]).max())  # NaN where one is


def stock_fields(name):
    """The options as TRL's documentation has them."""
    o = TRL[name]
    return {
        "trl:adaptive-entropy": {
            "use_adaptive_entropy": True,
            "entropy_target": o.get("target"),
            "entropy_coef_delta": o.get("delta"),
        },
        "trl:entropy-bonus": {"entropy_coef": o.get("coef")},
        "trl:gspo": {
            "importance_sampling_level": "sequence",
            "loss_type": "grpo",
            "epsilon": o.get("low"),
            "epsilon_high": o.get("high"),
        },
        "trl:sapo": {
            "loss_type": "sapo",
            "sapo_temperature_pos": o.get("temperature_pos"),
            "sapo_temperature_neg": o.get("temperature_neg"),
        },
        "trl:cispo": {"loss_type": "cispo", "epsilon_high": o.get("epsilon_high")},
    }[name]


@pytest.mark.parametrize("name", sorted(TRL))
def test_two_steps_of_trls_method_are_stock_trls(lab, name):
    how = recipe(make_method(name, **TRL[name]))
    stock = trained(lab, lab.stock, args=lab.config(max_steps=2, **stock_fields(name)))
    mine = trained(lab, args=lab.config(max_steps=2, **how.trl), strategy=how.strategy, objective=how.objective)
    plain = trained(lab, lab.stock, args=lab.config(max_steps=2))
    assert gap(stock, plain, lab) > 1e-5, "this method did nothing in two steps"
    assert gap(mine, stock, lab) <= 1e-6


def test_without_a_strategy_the_clip_events_are_trls_own(lab):
    reward = lambda completions, **_: [float(i % 2) for i in range(len(completions))]  # noqa: E731
    shares = {
        "dapo": ("clip_ratio/low_mean", "clip_ratio/high_mean"),
        "cispo": (None, "cispo_clip_ratio"),
        "sapo": (None, None),
    }
    for loss_type, keys in shares.items():
        high = 1.05 if loss_type == "cispo" else 0.1
        config = lab.config(max_steps=8, logging_steps=1, loss_type=loss_type, epsilon=0.05, epsilon_high=high)
        lines = trained(lab, args=config, strategy=None, reward=reward).state.log_history
        lines = [line for line in lines if PREFIX + "clip_low" in line]
        assert len(lines) == 8
        for side, key in zip(("clip_low", "clip_high"), keys, strict=True):
            ours = [line[PREFIX + side] for line in lines]
            assert ours == pytest.approx([line[key] if key else 0.0 for line in lines], abs=1e-7)
            assert (sum(ours) > 0) == (key is not None), (loss_type, side)
        assert all(line[PREFIX + "entropy"] > 0 for line in lines[::4])


def test_without_a_strategy_one_update_a_rollout_is_fine(lab):
    args = {"max_steps": 2, "steps_per_generation": 2, "gradient_accumulation_steps": 2}
    stock = trained(lab, lab.stock, args=lab.config(**args))
    mine = trained(lab, args=lab.config(**args), strategy=None)
    assert gap(mine, stock, lab) <= 1e-6
    lines = [line for line in mine.state.log_history if PREFIX + "entropy" in line]
    assert lines
    assert all(line[PREFIX + "entropy"] > 0 for line in lines)


def entropic_by_hand(threshold):
    """Stock GRPO plus alpha = 1 times the term, from the model's own logits; the tokens counted by this class."""

    class ByHand(GRPOTrainer):
        tokens: float

        def _generate_and_score_completions(self, inputs):
            out = super()._generate_and_score_completions(inputs)
            updates = self.args.steps_per_generation // self.args.gradient_accumulation_steps
            ByHand.tokens = float(out["completion_mask"].sum()) / updates
            return out

        def _compute_loss(self, model, inputs):
            whole = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
            attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
            logits = model(input_ids=whole, attention_mask=attention).logits[
                :, -inputs["completion_ids"].size(1) - 1 : -1
            ]
            logp = logits.log_softmax(-1).gather(-1, inputs["completion_ids"][..., None])[..., 0]
            old = inputs.get("old_per_token_logps")
            ratio = (logp - (logp.detach() if old is None else old)).exp()
            trained_on = inputs["completion_mask"].bool()
            likely = trained_on & (logp > math.log(threshold))
            mean = -(ratio * inputs["advantages"].abs()[:, None])[likely].mean()
            # a micro-batch weighs by its tokens, as in loss type dapo
            return super()._compute_loss(model, inputs) + mean * trained_on.sum() / ByHand.tokens

    return ByHand


@pytest.mark.parametrize(
    "changes",
    [{}, {"gradient_accumulation_steps": 2}, {"gradient_accumulation_steps": 4}, {"loss_type": "grpo"}],
    ids=["four updates", "two updates", "one update", "loss type grpo"],
)
def test_a_term_is_added_as_its_formula_says(lab, changes):
    """A gain so large that alpha is 1: entropy is over the target. SGD, since Adam blows rounding up to a step."""
    args = {"max_steps": 2, "optim": "sgd", "learning_rate": 0.3, **changes}
    objective = Entropic(target=0.01, kp=1e4, threshold=0.9)
    want = trained(lab, entropic_by_hand(0.9), args=lab.config(**args))
    mine = trained(lab, args=lab.config(**args), strategy=None, objective=objective)
    assert mine.objective_state.alpha == 1.0
    assert gap(want, trained(lab, lab.stock, args=lab.config(**args)), lab) > 1e-4
    assert gap(mine, want, lab) <= 2e-6


@pytest.mark.parametrize("changes", [{}, {"gradient_accumulation_steps": 2}], ids=["four updates", "two updates"])
def test_a_term_that_takes_the_clip_away_leaves_stock_trl_without_it(lab, changes):
    """KL-Cov without its penalty is -r A; CE-GPPO of weight zero is the clip itself."""
    args = {"max_steps": 8, "optim": "sgd", "learning_rate": 0.3, "epsilon": 0.05, "epsilon_high": 0.05, **changes}
    clipped = trained(lab, lab.stock, args=lab.config(**args))
    unclipped = trained(lab, lab.stock, args=lab.config(**args | {"epsilon": 1.0, "epsilon_high": 1e9}))
    assert gap(clipped, unclipped, lab) > 1e-4
    bare = KlCov(coef=0.0, low=0.05, high=0.05)
    assert gap(trained(lab, args=lab.config(**args), strategy=None, objective=bare), unclipped, lab) <= 2e-6
    none = CeGppo(beta_low=0.0, beta_high=0.0, low=0.05, high=0.05)
    assert gap(trained(lab, args=lab.config(**args), strategy=None, objective=none), clipped, lab) <= 2e-6
    kept = trained(lab, args=lab.config(**args), strategy=None, objective=dataclasses.replace(none, beta_low=1.0))
    assert gap(kept, clipped, lab) > 1e-5


class SampledByVllm(GRPOTrainer):
    """Stock TRL with the weights of its vLLM correction, which leaves some sequences out; sampled as ever."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        weights = torch.tensor([0.0, 1.0, 0.5, 2.0]).repeat(len(output["completion_ids"]) // 4)
        return output | {"importance_sampling_ratio": weights[:, None].to(output["completion_ids"].device)}

    def _compute_loss(self, model, inputs):
        self.use_vllm = True
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self.use_vllm = False


class Weighted(EntropyControlMixin, SampledByVllm):
    """The engine over it."""


def test_a_term_has_the_weights_of_vllms_correction(lab):
    """KL-Cov without its penalty is -r A, also where TRL weighs sequences or leaves them out."""
    args = {"max_steps": 8, "optim": "sgd", "learning_rate": 0.3, "epsilon": 0.05, "epsilon_high": 0.05}
    clipped = trained(lab, SampledByVllm, args=lab.config(**args))
    unclipped = trained(lab, SampledByVllm, args=lab.config(**args | {"epsilon": 1.0, "epsilon_high": 1e9}))
    assert gap(clipped, unclipped, lab) > 1e-4
    bare = KlCov(coef=0.0, low=0.05, high=0.05)
    assert gap(trained(lab, Weighted, args=lab.config(**args), strategy=None, objective=bare), unclipped, lab) <= 2e-6


def test_what_vllms_correction_leaves_out_is_neither_active_nor_kept(lab):
    class Nothing(SampledByVllm):
        def _generate_and_score_completions(self, inputs):
            output = super()._generate_and_score_completions(inputs)
            return output | {"importance_sampling_ratio": torch.zeros_like(output["importance_sampling_ratio"])}

    class Measured(EntropyControlMixin, Nothing):
        def _summary(self, old, output):
            self.told = super()._summary(old, output)
            return self.told

    made = trained(lab, Measured, args=lab.config(max_steps=4), strategy="thermostat", attribution_share=1.0)
    assert made.told.active == 0.0
    assert made.told.entropy > 0.1
    logged = [line for line in made.state.log_history if PREFIX + "clip_low" in line]
    assert logged
    for line in logged:
        kept = [line.get(f"{PREFIX}{region}/change_kept", 0.0) for region in ("E1", "E2", "E3", "E4")]
        assert kept == [0.0] * 4


SLOW = {"max_steps": 8, "optim": "sgd", "learning_rate": 0.3}
"""Two rollouts of four updates, without Adam, which blows rounding up to a step."""
SHUT = {"e1": -1.0, "e2": -1.0, "e3": -1.0, "e4": -1.0}
FLAT = {"upper_alpha": 0.0, "upper_beta": 0.05, "lower_alpha": 0.0, "lower_beta": 0.05}
ALL = {"ratio": 1.0, "lower": -1e9, "upper": 1e9}


@pytest.mark.parametrize(
    ("name", "options", "same"),
    [
        ("regions", dict.fromkeys(SHUT, 0.05), {"epsilon": 0.05, "epsilon_high": 0.05}),
        ("dynamic", FLAT, {"epsilon": 0.05, "epsilon_high": 0.05}),
        ("dcpo", {"low": 0.0, "high": 0.0}, {"epsilon": 0.0, "epsilon_high": 0.0}),
        ("regions", SHUT, None),
        ("objective:clip-cov", ALL, None),
    ],
    ids=["regions", "dynamic", "dcpo", "regions shut", "clip-cov of all"],
)
def test_where_a_method_is_a_constant_window_it_is_stock_trl(lab, name, options, same):
    """`same` are the stock trainer's fields; None: it learns nothing."""
    how = recipe(make_method(name, **options))
    mine = trained(lab, args=lab.config(**SLOW | dict(how.trl)), strategy=how.strategy, objective=how.objective)
    fresh = lab.trainer(lab.stock, args=lab.config(**SLOW))
    if same is None:
        assert gap(mine, fresh, lab) <= 2e-6
    else:
        stock = trained(lab, lab.stock, args=lab.config(**SLOW | same))
        assert gap(stock, fresh, lab) > 1e-4
        assert gap(mine, stock, lab) <= 2e-6


@pytest.mark.parametrize("name", ["dcpo", "dynamic", "objective:clip-cov", "objective:kl-cov", "objective:ce-gppo"])
def test_two_rollouts_of_a_method_are_not_those_of_its_window_alone(lab, name):
    how = recipe(make_method(name))
    window = {"epsilon": 0.2, "epsilon_high": 0.2, **how.trl}
    mine = trained(lab, args=lab.config(max_steps=8, **how.trl), strategy=how.strategy, objective=how.objective)
    plain = trained(lab, lab.stock, args=lab.config(max_steps=8, **window))
    assert gap(mine, plain, lab) > 1e-5
    assert all(p.isfinite().all() for p in lab.parameters(mine).values())


def test_clip_covs_draw_is_the_same_after_a_resume(lab, tmp_path):
    how = recipe(make_method("objective:clip-cov", ratio=0.02))
    args = {"max_steps": 16, "save_strategy": "steps", "save_steps": 8, **how.trl}
    whole = trained(lab, args=lab.config(**args), strategy=None, objective=how.objective)
    resumed = lab.trainer(args=lab.config(**args), strategy=None, objective=how.objective)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-8"))
    assert resumed.objective_state == whole.objective_state
    assert gap(resumed, whole, lab) == 0.0


@pytest.mark.parametrize(
    ("fields", "strategy", "message"),
    [
        ({}, "grpo", r"names its own clip window: leave out strategy 'grpo'"),
        ({"epsilon": 0.1, "epsilon_high": 0.2}, None, r"set epsilon=0\.2, got 0\.1"),
        ({"epsilon_high": 0.28}, None, r"set epsilon_high=0\.2, got 0\.28"),
        ({"delta": 10.0}, None, r"set delta=None, got 10\.0"),
        ({"loss_type": "grpo"}, None, r"set loss_type='dapo', got 'grpo'"),
        ({"importance_sampling_level": "sequence"}, None, r"set importance_sampling_level='token', got 'sequence'"),
        ({"top_entropy_quantile": 0.2}, None, r"set top_entropy_quantile=1\.0, got 0\.2"),
        ({"off_policy_mask_threshold": 0.1}, None, r"set off_policy_mask_threshold=None, got 0\.1"),
    ],
)
def test_a_loss_that_is_not_the_one_beneath_is_refused(lab, fields, strategy, message):
    with pytest.raises(ValueError, match=message) as caught:
        lab.trainer(args=lab.config(**fields), strategy=strategy, objective=KlCov())
    assert "\n" not in str(caught.value)


class SeenState(NamedTuple):
    observed: int = 0


@dataclasses.dataclass(frozen=True)
class NanBehind(Objective):
    """A term that is NaN at masked tokens and nothing elsewhere."""

    def init(self):
        return SeenState()

    def observe(self, state, summary):
        return SeenState(state.observed + 1)

    def correction(self, state, inputs):
        assert inputs.logprobs.requires_grad == inputs.logratio.requires_grad == inputs.entropy.requires_grad
        assert not inputs.old.logprobs.requires_grad
        return torch.where(inputs.mask, 0.0, torch.nan) + 0.0 * torch.where(inputs.mask, inputs.logratio, 0.0)


def test_masked_tokens_never_matter_and_a_strategy_may_stand_beside(lab):
    config = lab.config(max_steps=8, logging_nan_inf_filter=False)
    plain = trained(lab, args=config, strategy="clip-lower")
    beside = trained(lab, args=config, strategy="clip-lower", objective=NanBehind())
    assert gap(plain, beside, lab) == 0.0
    losses = [[line["loss"] for line in made.state.log_history if "loss" in line] for made in (plain, beside)]
    assert losses[0] == losses[1] != []
    assert beside.objective_state.observed == 2


def test_an_objective_acts_where_its_strategy_could_not(lab):
    args = {"max_steps": 1, "steps_per_generation": 2, "gradient_accumulation_steps": 2}
    trained(lab, args=lab.config(**args), strategy="grpo", objective=Entropic())


def test_the_objectives_state_travels_with_trls_checkpoints(lab, tmp_path):
    args = {"max_steps": 16, "save_strategy": "steps", "save_steps": 8}
    parts = {"strategy": None, "objective": Entropic(target=0.3, kp=2.0, ki=0.5)}
    whole = trained(lab, args=lab.config(**args), **parts)
    checkpoint = tmp_path / "out" / "checkpoint-8"
    halfway = json.loads((checkpoint / STATE_FILE).read_text())["payload"]
    assert halfway["strategy"] is None
    assert halfway["objective"]["name"] == "entropic"
    assert halfway["objective_state"]["rollouts"] == 2
    resumed = lab.trainer(args=lab.config(**args), **parts)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.objective_state == whole.objective_state
    assert gap(resumed, whole, lab) == 0.0
    for other in ({"strategy": None}, {"strategy": "grpo", "objective": Entropic()}):
        with pytest.raises(ValueError, match=r"holds the state of (objective 'entropic'|strategy None), this run has"):
            lab.trainer(args=lab.config(**args), **other).train(resume_from_checkpoint=str(checkpoint))


def test_a_payload_from_before_there_were_objectives_loads(lab):
    trainer = lab.trainer(strategy=make_strategy("od"))
    old = {"strategy": {"name": "od", "options": {}}, "state": dict(trainer.controller_state._asdict())}
    trainer.controller.load(old, "somewhere")
    assert trainer.controller_state == trainer.strategy.init()
    with pytest.raises(ValueError, match="somewhere holds the state of objective None, this run has 'entropic'"):
        lab.trainer(strategy="od", objective=Entropic()).controller.load(old, "somewhere")
