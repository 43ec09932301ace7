"""The registered policy loss in this process: against verl's vanilla, its metrics against the TRL engine's meter."""

import math
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoTokenizer
from verl.trainer.ppo.core_algos import (
    compute_policy_loss_dppo_tv,
    compute_policy_loss_gspo,
    compute_policy_loss_vanilla,
)
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPActorConfig, PolicyLossConfig

from entrostat import dump
from entrostat.clip import ClipBounds, clip_events, clip_loss
from entrostat.engines.meter import RegionMeter
from entrostat.engines.verl.config import EntrostatLossConfig
from entrostat.engines.verl.dump import GROUP, REWARD, SAMPLE, StepDump
from entrostat.engines.verl.loss import KEY, MicroBatch, With, policy_loss
from entrostat.engines.verl.metrics import step_means, token_sums
from entrostat.engines.window import shut
from entrostat.entropy import TokenStats
from entrostat.strategies import STRATEGIES, NoState, RolloutSummary, make_strategy
from entrostat.strategies.check import CheckedBounds
from own_strategy import Silent

MODES = ("token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm")


def tokens(b=6, t=9, seed=0):
    """Off-policy tokens, some of them masked, whose ratios pass every threshold, the dual clip's too."""
    draw = torch.Generator().manual_seed(seed)
    old = -torch.rand(b, t, generator=draw) * 4
    new = (old + torch.randn(b, t, generator=draw) * 0.8).clamp(max=-1e-3)
    mask = torch.rand(b, t, generator=draw) < 0.8
    mask[0] = False
    return SimpleNamespace(
        old=old,
        new=new.requires_grad_(),
        advantages=torch.randn(b, 1, generator=draw).expand(b, t) * mask,
        mask=mask,
        weights=torch.rand(b, t, generator=draw) + 0.5,
        old_entropy=torch.rand(b, t, generator=draw) * 3,
        entropy=torch.rand(b, t, generator=draw) * 3,
    )


def actor(policy_loss, **fields):
    batch = {"dp_size": 2, "batch_num_tokens": 40, "global_batch_size": 6, "loss_scale_factor": None}
    fields = {"strategy": "fsdp2", "rollout_n": 1, "ppo_micro_batch_size_per_gpu": 1} | fields
    return FSDPActorConfig(policy_loss=policy_loss, global_batch_info=batch, **fields)


def call(fn, x, config, mode="token-mean", weights=None):
    """Loss, gradient and metrics of one call."""
    x.new.grad = None
    loss, metrics = fn(
        old_log_prob=x.old,
        log_prob=x.new,
        advantages=x.advantages,
        response_mask=x.mask,
        loss_agg_mode=mode,
        config=config,
        rollout_is_weights=weights,
    )
    loss.backward()
    return loss.detach(), x.new.grad.clone(), metrics


def under(strategy, state, x, config):
    """Our loss's configuration on a rank, and the micro-batch that is written into."""
    micro = MicroBatch(CheckedBounds(strategy), state, x.old_entropy, x.entropy)
    return With(config, **{KEY: micro}), micro


def thermostat_state(strategy):
    state = strategy.init()
    for entropy in (1.0, 0.3):
        told = RolloutSummary(
            0.0, entropy, excess_surprisal=0.6, entropy_error=0.01, active=1.0, updates=4, ceiling=5.0
        )
        state = strategy.observe(state, told)
    assert state.pressure != 0
    return state


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("low, high, dual", [(0.2, 0.2, 3.0), (0.2, 0.28, 1.3), (1.0, float("inf"), 3.0)])
@pytest.mark.parametrize("corrected", [False, True])
def test_constant_bounds_are_vanilla_bit_by_bit(mode, low, high, dual, corrected):
    x = tokens()
    weights = x.weights if corrected else None
    stock = actor(PolicyLossConfig(), clip_ratio_low=low, clip_ratio_high=high, clip_ratio_c=dual)
    ours = actor(
        EntrostatLossConfig(strategy="grpo", options={"low": low, "high": high}), clip_ratio_c=dual, clip_ratio_low=9.0
    )
    expected = call(compute_policy_loss_vanilla, x, stock, mode, weights)
    strategy = ours.policy_loss.make()
    assert strategy.low == low
    for config in (ours, under(strategy, strategy.init(), x, ours)[0]):
        loss, gradient, metrics = call(policy_loss, x, config, mode, weights)
        assert torch.equal(loss, expected[0])
        assert torch.equal(gradient, expected[1])
        assert metrics == expected[2]
    assert low == 1.0 or expected[1].count_nonzero() < x.mask.sum()


@pytest.mark.parametrize("mode", ("token-mean", "seq-mean-token-mean"))
@pytest.mark.parametrize(("low", "high"), [(3e-4, 4e-4), (0.1, 0.3), (0.2, math.inf)])
@pytest.mark.parametrize("corrected", [False, True])
def test_constant_bounds_by_sequence_are_gspo_bit_by_bit(mode, low, high, corrected):
    x = tokens()
    weights = x.weights if corrected else None
    theirs = actor(PolicyLossConfig(), clip_ratio_low=low, clip_ratio_high=high)
    options = EntrostatLossConfig(
        strategy="grpo", options={"low": low, "high": high}, importance_sampling_level="sequence"
    )
    config, micro = under(options.make(), NoState(), x, actor(options))
    wanted = call(compute_policy_loss_gspo, x, theirs, mode, weights)
    found = call(policy_loss, x, config, mode, weights)
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1])
    assert found[2] == wanted[2]
    shares = step_means(micro.sums)
    clipped = shares["entrostat/clip_low"] + shares["entrostat/clip_high"]
    assert clipped == pytest.approx(wanted[2]["actor/pg_clipfrac"], abs=1e-6)
    assert shares["entrostat/clip_dual"] == 0


def test_bounds_per_token_are_refused_by_sequence():
    for name in STRATEGIES:
        fields = {"strategy": name, "importance_sampling_level": "sequence"}
        if make_strategy(name).per_token:
            with pytest.raises(ValueError, match="sets bounds per token, but"):
                EntrostatLossConfig(**fields)
        else:
            EntrostatLossConfig(**fields)
    with pytest.raises(ValueError, match="must be token or sequence, got 'sentence'"):
        EntrostatLossConfig(strategy="grpo", importance_sampling_level="sentence")


def test_the_dppo_strategy_has_the_gradient_of_verls_own_dppo():
    x = tokens(seed=3)
    # verl's caps the weight of a token at clip_ratio_c, ours cuts A < 0 there
    stock = actor(PolicyLossConfig(), clip_ratio_low=0.05, clip_ratio_high=0.1, clip_ratio_c=1e6)
    ours = actor(EntrostatLossConfig(strategy="dppo", options={"low": 0.05, "high": 0.1}), clip_ratio_c=1e6)
    _, expected, theirs = call(compute_policy_loss_dppo_tv, x, stock)
    _, gradient, metrics = call(policy_loss, x, ours)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)
    assert (
        metrics["actor/pg_clipfrac"] == pytest.approx(theirs["actor/pg_clipfrac"])
        and 0 < metrics["actor/pg_clipfrac"] < 1
    )


def test_the_window_of_each_token_is_the_strategys():
    """Against the project's own one-sided loss, with bounds of both signs."""
    x = tokens()
    for name, low, high in [("thermostat", None, None), ("dcpo", None, None), ("regions", -0.1, 0.3)]:
        options = {"e1": low, "e2": 0.1, "e3": high, "e4": low} if name == "regions" else {}
        strategy = make_strategy(name, **options)
        state = thermostat_state(strategy) if name == "thermostat" else strategy.init()
        config, _ = under(strategy, state, x, actor(EntrostatLossConfig(strategy=name), clip_ratio_c=1e9))
        _, gradient, _ = call(policy_loss, x, config)
        bounds = strategy.bounds(state, TokenStats(x.old, x.old_entropy))
        new = x.new.detach().requires_grad_()
        plain = clip_loss(new - x.old, x.advantages, low=bounds.low, high=bounds.high)
        (torch.where(x.mask, plain, 0.0).sum() / 40 * 2).backward()
        assert torch.allclose(gradient, new.grad, atol=0, rtol=1e-6)
        assert ((gradient == 0) == (new.grad == 0)).all()


@pytest.mark.parametrize("with_entropy", [True, False])
def test_metrics_are_those_of_the_trl_engines_meter(with_entropy):
    """Over two micro-batches of unequal numbers of tokens, with thresholds that shut some tokens at ratio 1."""
    strategy = make_strategy("thermostat")
    state = thermostat_state(strategy)._replace(pressure=1.4)
    meter, totals = RegionMeter(), {}
    for seed, b in ((1, 3), (2, 7)):
        x = tokens(b, seed=seed)
        if not with_entropy:
            x.entropy = None
        config, micro = under(strategy, state, x, actor(EntrostatLossConfig(strategy="thermostat"), clip_ratio_c=1e9))
        policy_loss(x.old, x.new, x.advantages, x.mask, config=config)
        for name, value in micro.sums.items():
            # verl averages over ranks and mini-batches: any common factor
            totals[name] = totals.get(name, 0.0) + value / 6
        logratio = x.new.detach() - x.old
        bounds = ClipBounds(*micro.bounds)
        events = clip_events(logratio, x.advantages, low=bounds.low, high=bounds.high)
        entropy = x.old_entropy if x.entropy is None else x.entropy
        dropped = shut(bounds, x.advantages, x.mask)
        assert (dropped & x.mask).any()
        meter.add(TokenStats(x.new.detach(), entropy), logratio, x.advantages, events, x.mask, dropped=dropped)
    found, expected = step_means(totals), meter.read()
    assert not totals
    assert found.pop("entrostat/clip_dual") == 0
    if not with_entropy:
        expected = {name: expected[name] for name in ("clip_low", "clip_high", "dropped")}
    assert found.keys() == {f"entrostat/{name}" for name in expected}
    for name, value in expected.items():
        assert found[f"entrostat/{name}"] == pytest.approx(value, rel=1e-5, abs=1e-9), name


def test_masked_tokens_may_hold_anything_and_an_impossible_token_has_no_term():
    x = tokens()
    new, old = x.new.detach().clone(), x.old.clone()
    new[1, 0], x.mask[1, 0] = -torch.inf, True
    known = {"low": 0.2, "high": 0.2, "dual": 3.0}
    clean = token_sums(TokenStats(new, x.entropy), old, x.advantages, x.mask, **known)
    assert all(map(math.isfinite, clean.values()))
    for junk in (torch.nan, torch.inf, -torch.inf):
        spoilt = [torch.where(x.mask, values, junk) for values in (new, x.entropy, old)]
        found = token_sums(TokenStats(*spoilt[:2]), spoilt[2], x.advantages, x.mask, **known)
        assert found == pytest.approx(clean, rel=1e-5)


def test_a_constant_window_can_shut_out_fresh_tokens():
    x = tokens()
    known = {"low": -0.1, "high": 0.3, "dual": 3.0}
    sums = token_sums(TokenStats(x.old), x.old, x.advantages, x.mask, **known)
    found = step_means(sums)
    wanted = ((x.advantages < 0) & x.mask).sum().item() / x.mask.sum().item()
    assert found["entrostat/dropped"] == found["entrostat/clip_low"] == pytest.approx(wanted)


def test_the_dual_clip_is_counted_by_itself_and_its_change_as_held_back():
    x = tokens()
    strategy = make_strategy("grpo", low=1.0, high=float("inf"))
    config, micro = under(strategy, strategy.init(), x, actor(EntrostatLossConfig(strategy="grpo"), clip_ratio_c=1.2))
    gradient = call(policy_loss, x, config)[1]
    found = step_means(dict(micro.sums))
    held = (gradient == 0) & x.mask & (x.advantages != 0)
    assert found["entrostat/clip_dual"] == pytest.approx(held.sum().item() / x.mask.sum().item())
    assert found["entrostat/clip_low"] == found["entrostat/clip_high"] == 0
    assert found["entrostat/E4/own_term_clipped"] != 0


@pytest.fixture
def alone():
    """A process group of one."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield torch.distributed.group.WORLD
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "low, high, dual, level",
    [
        (0.2, 0.28, 1.5, "token"),
        (0.2, 2.0, 1.5, "token"),
        (1.0, math.inf, 3.0, "token"),
        (0.05, 0.05, 1.01, "sequence"),
    ],
)
def test_a_dump_has_as_clipped_the_tokens_without_gradient(tmp_path, tiny_model, alone, low, high, dual, level):
    """The dual clip's too, inside the window and beyond it; by sequence there is none."""
    x = tokens(seed=1)
    strategy = make_strategy("grpo", low=low, high=high)
    options = EntrostatLossConfig(strategy="grpo", importance_sampling_level=level)
    config, micro = under(strategy, strategy.init(), x, actor(options, clip_ratio_c=dual))
    gradient = call(policy_loss, x, config)[1]
    b, t = x.mask.shape
    columns = {"response_mask": x.mask.long(), "old_log_probs": x.old, "advantages": x.advantages}
    columns |= {"responses": torch.ones(b, t).long(), "prompts": torch.ones(b, 2).long()}
    columns |= {SAMPLE: torch.arange(b), GROUP: torch.arange(b), REWARD: torch.zeros(b)}
    data = tu.get_tensordict(columns, {"global_batch_size": b})
    settings = {"loss_agg_mode": "token-mean", "clip_ratio_c": dual}
    settings["policy_loss"] = {"importance_sampling_level": level}
    model = {"actor": settings, "rollout": {"temperature": 1.0}}
    run = OmegaConf.create({"actor_rollout_ref": model, "algorithm": {}})
    step = StepDump(tmp_path, AutoTokenizer.from_pretrained(tiny_model), run)
    step.add({"step": 0, "dump": b}, data, alone, x.new.detach(), x.entropy, x.old_entropy, micro.bounds)
    found = dump.per_token(next(dump.read(tmp_path)))
    held = (gradient == 0)[x.mask] & (x.advantages != 0)[x.mask]
    assert ((torch.tensor(found["clipped"]) != 0) == held).all()
    past = (torch.tensor(found["clipped"]) == 1) & (x.advantages < 0)[x.mask]
    assert past.any() == (level == "token")
    assert held.any() and not held.all()


def test_without_the_trainer_a_strategy_without_state_runs_and_others_are_refused():
    x = tokens()
    refused = []
    for name in STRATEGIES:
        config = actor(EntrostatLossConfig(strategy=name))
        try:
            call(policy_loss, x, config)
        except ValueError as error:
            assert "trainer.v1.trainer_mode=entrostat" in str(error)
            refused.append(name)
    assert {"thermostat", "regions", "id"} <= set(refused)
    assert {"grpo", "clip-higher", "clip-lower", "dcpo"}.isdisjoint(refused)
    with pytest.raises(ValueError, match=r"_target_=entrostat.engines.verl.config.EntrostatLossConfig"):
        call(policy_loss, x, actor(PolicyLossConfig(loss_mode="entrostat")))
    with pytest.raises(ValueError, match="dump_every is not read by this trainer"):
        call(policy_loss, x, actor(EntrostatLossConfig(strategy="grpo", dump_every=1)))


class NotConstant(Silent):
    """It says that its bounds are all alike, and verl would read the first token's alone."""

    def bounds(self, state, old):
        return ClipBounds(old.logprobs.exp(), old.logprobs.exp())


def test_a_strategy_of_ones_own_is_looked_at_at_its_first_use():
    x = tokens()
    options = EntrostatLossConfig(strategy="grpo")
    config, _ = under(NotConstant(), NoState(), x, actor(options))
    with pytest.raises(ValueError, match=r"NotConstant.bounds\(\) gives a low from .* per_token is False"):
        call(policy_loss, x, config)
    config, micro = under(Silent(), NoState(), x, actor(options))
    call(policy_loss, x, config)
    assert micro.bounds == pytest.approx((0.1, 0.3))


def test_other_trainers_of_v1_are_refused(monkeypatch):
    monkeypatch.setattr("verl.utils.transferqueue_utils.TQ_INITIALIZED", True)
    with pytest.raises(ValueError, match=r"own v1 trainers.* entrostat_colocate_async for colocate_async"):
        call(policy_loss, tokens(), actor(EntrostatLossConfig(strategy="grpo")))


@pytest.mark.parametrize(
    "fields, word",
    [
        ({}, "policy_loss.strategy is not set"),
        ({"strategy": "thermstat"}, "did you mean thermostat"),
        ({"strategy": "thermostat", "options": {"aim": 1}}, "has no option 'aim'"),
        ({"strategy": "grpo", "loss_mode": "vanilla"}, "loss_mode is 'vanilla', so verl would train on that loss"),
        ({"strategy": "grpo", "dump_every": -1}, "dump_every must be a whole number"),
    ],
)
def test_bad_options_are_refused(fields, word):
    with pytest.raises(ValueError, match=word):
        EntrostatLossConfig(**fields)
