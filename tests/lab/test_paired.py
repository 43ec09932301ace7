"""Paired branches on the shipped model, against Hugging Face's, fresh samples and one another."""

import dataclasses
import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from entrostat import make_strategy
from entrostat.engines.fast import logits_on
from entrostat.engines.qwen2 import load_model
from entrostat.lab import paired
from entrostat.lab.effect import pair_of
from entrostat.lab.environment import lab_environment
from entrostat.lab.held_out import HeldOut, on_held_out
from entrostat.lab.paired import CALIBRATED, MATCHED, measure
from entrostat.lab.point import Point, check_methods
from entrostat.lab.tasks import make_task
from own_strategy import Dropping

TOY = Point(
    prompts=4,
    samples=4,
    updates_per_rollout=4,
    learning_rate=3e-4,
    length=2,
    warmup=1,
    held_out=8,
    held_out_samples=2,
)
NONE = make_strategy("grpo", low=1.0, high=math.inf)
LOW, HIGH = pair_of(0.02)
ONE_SIDE = Dropping(low=1.0, high=-0.9)
"""Drops every token of a good answer, so its KL is far from that without clipping."""


def rows(point, *methods, seed=0):
    return list(measure(point, methods, seed))


def test_a_branch_equal_to_the_base_has_no_effect():
    for row in rows(TOY, LOW, LOW, NONE):
        assert row.branches[1] == row.branches[0]
        assert row.branches[2].log_entropy != row.branches[0].log_entropy
        assert row.branches[2].clip_low == 0 < row.branches[0].clip_low


def test_a_seed_gives_the_same_rows_again_and_another_one_others():
    assert rows(TOY, NONE, LOW) == rows(TOY, NONE, LOW)
    assert rows(TOY, NONE, LOW)[0].before != rows(TOY, NONE, LOW, seed=1)[0].before


def test_an_arm_changes_nothing_in_the_others_numbers():
    alone, beside = rows(TOY, NONE, LOW), rows(TOY, NONE, LOW, HIGH)
    assert [(row.seed, row.rollout) for row in alone] == [(0, 0), (0, 1)]
    for one, other in zip(alone, beside, strict=True):
        assert other.before == pytest.approx(one.before, abs=1e-6)
        for mine, theirs in zip(one.branches, other.branches[:2], strict=True):
            assert theirs == pytest.approx(mine, abs=1e-6)


def test_an_arm_is_measured_from_where_the_base_has_come():
    """The base's numbers are those of a walk without arms, and the branches start where it stands."""
    by_low, by_none = rows(TOY, LOW, HIGH), rows(TOY, NONE, HIGH)
    walk = rows(TOY, LOW, LOW)
    for row, same in zip(by_low, walk, strict=True):
        assert row.branches[0] == pytest.approx(same.branches[0], abs=1e-6)
    assert abs(by_low[1].before - by_none[1].before) > 1e-5


def test_all_runs_stand_at_one_point_before_each_rollout(monkeypatch):
    seen = []

    def spy(model, adam, run):
        original(model, adam, run)
        seen.append({name: weight.detach().clone() for name, weight in model.weights.items()})

    original = paired.spread
    monkeypatch.setattr(paired, "spread", spy)
    found = rows(TOY, NONE, LOW, HIGH)
    assert len(seen) == TOY.warmup + TOY.length - 1 + (len(found) == TOY.length)
    for weights in seen:
        assert all(torch.equal(w[1], w[0]) and torch.equal(w[2], w[0]) for w in weights.values())


@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_the_rollout_trained_on_was_sampled_so_many_rollouts_before(monkeypatch, staleness):
    sampled, trained = [], []
    point = dataclasses.replace(TOY, staleness=staleness, warmup=2, updates_per_rollout=1, held_out=2)
    draw, train = paired._Walk._sampled, paired.update

    def drawn(self, rollout):
        sampled.append(draw(self, rollout))
        return sampled[-1]

    def updated(model, adam, rollout, advantages, *args, **options):
        trained.append((rollout, advantages))
        return train(model, adam, rollout, advantages, *args, **options)

    monkeypatch.setattr(paired._Walk, "_sampled", drawn)
    monkeypatch.setattr(paired, "update", updated)
    # one update on a fresh rollout: only no clipping may be measured, since nothing could act
    found = rows(point, NONE, NONE)
    assert len(sampled) == len(trained) == 4
    for i in range(2, 4):
        old, advantages = sampled[i - staleness]
        assert torch.equal(trained[i][0].completions[0], old.completions[0])
        assert torch.equal(trained[i][1][0], advantages[0])
    rms = [row.branches[0].rms for row in found]
    assert min(rms) > 1e-3 if staleness else max(rms) < 1e-4  # the sampler's rounding


def test_on_a_stale_rollout_one_update_can_clip():
    point = dataclasses.replace(TOY, staleness=1, updates_per_rollout=1)
    low, high = pair_of(0.005)
    for row in rows(point, NONE, low, high):
        base, on_low, on_high = row.branches
        assert (base.clip_low, base.clip_high) == (0, 0)
        assert on_low.clip_low > 0 == on_low.clip_high
        assert on_high.clip_high > 0 == on_high.clip_low


def test_warm_up_covers_staleness():
    with pytest.raises(ValueError, match="--staleness 5 takes a --warmup of as many"):
        Point(staleness=5)


def test_match_kl_makes_the_arms_kl_the_bases():
    """In every rollout, to MATCHED, where without it the arm's is further off than CALIBRATED; the base's stays."""
    point = Point(prompts=8, samples=8, learning_rate=1e-4, length=2, warmup=2, held_out=32, held_out_samples=2)
    arms = [NONE, ONE_SIDE]
    plain, matched = (rows(dataclasses.replace(point, match_kl=match), *arms) for match in (False, True))
    for before, row in zip(plain, matched, strict=True):
        base, arm = row.branches
        assert base == pytest.approx(before.branches[0], abs=1e-6)
        assert abs(before.branches[1].kl / base.kl - 1) > CALIBRATED
        assert arm.kl == pytest.approx(base.kl, rel=MATCHED)
        assert before.branches[1].pace == base.pace == 1.0 != arm.pace


def test_a_kl_out_of_reach_is_left_where_it_is(monkeypatch):
    """Steps are stretched so far at most; the measurement then refuses the mismatch."""
    monkeypatch.setattr(paired, "PACE_RANGE", (0.999, 1.001))
    point = dataclasses.replace(TOY, match_kl=True, length=1)
    (row,) = rows(point, NONE, ONE_SIDE)
    assert row.branches[1].pace == pytest.approx(0.999) or row.branches[1].pace == pytest.approx(1.001)
    assert abs(row.branches[1].kl / row.branches[0].kl - 1) > CALIBRATED


class Kept:
    """What was measured, with the weights it was measured on."""

    def __init__(self, monkeypatch):
        self.calls = []
        original = paired.on_held_out

        def spy(model, held, temperature):
            found = original(model, held, temperature)
            weights = {name: weight.detach().clone() for name, weight in model.weights.items()}
            self.calls.append((weights, held, found))
            return found

        monkeypatch.setattr(paired, "on_held_out", spy)


def hugging_faces(weights, run, rollout, temperature):
    """Log-probabilities over the vocabulary at each completion token, (b t v) float64, by transformers."""
    model = AutoModelForCausalLM.from_pretrained(make_task("countdown").base_model, dtype=torch.float32)
    left = model.load_state_dict({name: weight[run] for name, weight in weights.items()}, strict=False)
    assert set(left.missing_keys) <= {"lm_head.weight"} and not left.unexpected_keys
    ids = torch.cat([rollout.prompts[0], rollout.completions[0]], dim=-1)
    attention = torch.cat([rollout.prompt_mask[0], rollout.mask[0]], dim=-1)
    positions = (attention.long().cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=attention.long(), position_ids=positions).logits
    width = rollout.completions.shape[-1]
    return (logits[:, -width - 1 : -1].double() / temperature).log_softmax(dim=-1)


def test_entropy_and_kl_are_hugging_faces(monkeypatch):
    temperature = 0.8
    kept = Kept(monkeypatch)
    found = rows(dataclasses.replace(TOY, temperature=temperature, length=1), NONE, LOW, HIGH)
    (before, held, _), (after, again, _) = kept.calls[-2:]
    assert held is again, "both sides of the updates are measured on the same samples"
    rollout = held.samples
    mask = rollout.mask[0]
    old = hugging_faces(before, 0, rollout, temperature)
    mean = lambda values: float(values[mask].mean())  # noqa: E731
    entropy = lambda logp: mean(-(logp.exp() * logp).sum(-1))  # noqa: E731
    (row,) = found
    assert row.before == pytest.approx(math.log(entropy(old)), abs=1e-5)
    for run, branch in enumerate(row.branches):
        new = hugging_faces(after, run, rollout, temperature)
        assert branch.log_entropy == pytest.approx(math.log(entropy(new)), abs=1e-5)
        assert branch.kl == pytest.approx(mean((old.exp() * (old - new)).sum(-1)), rel=1e-3)
    assert len({branch.kl for branch in row.branches}) == 3


def test_reward_by_importance_weights_is_that_of_fresh_samples():
    """Of a policy moved by noise: weighted, the old samples' mean is the new policy's; unweighted it is not."""
    environment, folder = lab_environment("countdown")
    model = load_model(folder)
    problems = environment.task.problems(4, split="test", seed=3)
    prompts = [problem.prompt for problem in problems]
    draw = lambda seed: environment.sample(  # noqa: E731
        model, prompts, samples=384, generators=[torch.Generator().manual_seed(seed)]
    )
    old = draw(0)
    # a score that the noise moves: how many products are in it
    product = int(environment.spelling.encode(["*"])[0])
    score = lambda rollout: ((rollout.completions[0] == product) & rollout.mask[0]).sum(-1).double()  # noqa: E731
    with torch.no_grad():
        logp = logits_on(model, old).log_softmax(dim=-1)
        for weight in model.weights.values():
            weight += 0.012 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    ((_, weighted, kl),) = on_held_out(model, HeldOut(old, logp, score(old)), 1.0)
    fresh = score(draw(1))
    noise = float(fresh.std()) * math.sqrt(2 / len(fresh))  # of a difference of two means
    assert kl > 1e-3
    assert abs(float(score(old).mean() - fresh.mean())) > 4 * noise
    assert weighted == pytest.approx(float(fresh.mean()), abs=2 * noise)


def test_a_policy_far_off_has_a_finite_reward():
    environment, folder = lab_environment("countdown")
    model = load_model(folder)
    prompts = [problem.prompt for problem in environment.task.problems(2, split="test", seed=3)]
    old = environment.sample(model, prompts, samples=2, generators=[torch.Generator().manual_seed(0)])
    with torch.no_grad():
        logp = logits_on(model, old).log_softmax(dim=-1)
        stats = old.old._replace(logprobs=old.old.logprobs - 900)  # ratios beyond what a float holds
    ((_, reward, _),) = on_held_out(model, HeldOut(old._replace(old=stats), logp, torch.ones(4)), 1.0)
    assert reward == pytest.approx(1.0)


def test_a_destroyed_policy_is_said_by_rollout_and_method():
    with pytest.raises(ValueError, match=r"updates of rollout -1 of seed 0 have destroyed .* smaller --learning-rate"):
        rows(dataclasses.replace(TOY, learning_rate=1e30), NONE, LOW)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samples": 1}, "--samples must be at least 2, got 1"),
        ({"warmup": -1}, "--warmup must be at least 0, got -1"),
        ({"held_out": 0}, "--held-out must be at least 1, got 0"),
        ({"learning_rate": math.nan}, "--learning-rate must be over 0, got nan"),
        ({"updates_per_rollout": 7}, "--updates-per-rollout 7 must divide the 256 completions"),
        ({"reward": "bernoulli:2"}, "--reward is 'bernoulli:2'"),
        ({"reward": "bernoulli:1.0"}, "--reward bernoulli:1.0 is the same for all completions"),
        ({"reward": "bernoulli:0"}, "--reward bernoulli:0 is the same for all completions"),
    ],
)
def test_a_bad_point_dies_at_construction(options, said):
    with pytest.raises(ValueError, match=said):
        Point(**options)


def test_a_method_that_cannot_act_is_refused():
    once = dataclasses.replace(TOY, updates_per_rollout=1)
    with pytest.raises(ValueError, match="cannot act"):
        check_methods([NONE, LOW], once)
    check_methods([NONE, LOW], dataclasses.replace(once, staleness=1))
    check_methods([NONE, make_strategy("regions", e1=-0.1)], once)  # acts at ratio 1
    with pytest.raises(ValueError, match="at least one arm, got 1"):
        check_methods([NONE], TOY)
