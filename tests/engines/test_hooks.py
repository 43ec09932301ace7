"""prime-rl and slime: hooks with the signatures of their releases, and their own losses under our bounds.

Neither can be installed here (SkyRL's hook is tested on SkyRL itself, tests/with_skyrl). Each stand-in has the
parameters of the named release, and its loss in the few lines that matter: the ratio, a window around it, a sum.
"""

import dataclasses
import inspect
import math
from types import SimpleNamespace

import pytest
import torch

from entrostat import STRATEGIES, TokenStats, make_strategy
from entrostat.engines import prime_rl, slime
from entrostat.strategies import Reads, RolloutSummary
from own_strategy import Own

ABLE = ("grpo", "clip-higher", "clip-lower", "dynamic", "dcpo")
OBSERVING = ("id", "did", "od", "mai", "adapo")


@dataclasses.dataclass
class LossInputs:
    """Tag v0.8.0, src/prime_rl/trainer/rl/loss.py, LossInputs."""

    trainer_logprobs: torch.Tensor
    inference_logprobs: torch.Tensor
    ref_logprobs: torch.Tensor | None
    advantages: torch.Tensor
    loss_mask: torch.Tensor
    loss_weights: torch.Tensor | None = None


def policy_loss_function(args, batch, logits, sum_of_sample_mean):
    """Tag v0.3.1, slime/backends/megatron_utils/loss.py, policy_loss_function, on tokens in one row."""
    old = torch.cat(batch["rollout_log_probs"] if args.use_rollout_logprobs else batch["log_probs"])
    advantages, ratio = torch.cat(batch["advantages"]), (logits - old).exp()
    window = ratio.clamp(1 - args.eps_clip, 1 + args.eps_clip_high)
    return sum_of_sample_mean(torch.maximum(-ratio * advantages, -window * advantages)), {}


def world(seed=0, b=3, t=7):
    torch.manual_seed(seed)
    old = -torch.rand(b, t) * 3
    now = (old + 0.3 * torch.randn(b, t)).clamp(max=-1e-3).requires_grad_()
    advantages = torch.tensor([[1.0], [-1.5], [0.7]]).expand(b, t).clone()
    mask = torch.ones(b, t, dtype=torch.bool)
    mask[0, 5:] = mask[2, 2:] = False
    return old, now, advantages, mask


def wanted(strategy, state, old, now, advantages, mask):
    """The sum of the per-token losses by the scalar reference, and its gradient, over the trained tokens."""
    low, high = strategy.bounds(state, TokenStats(old))
    now = now.detach()
    total, slope = 0.0, torch.zeros_like(old)
    for at in mask.nonzero().tolist():
        i, j = at
        r, a = math.exp(float(now[i, j] - old[i, j])), float(advantages[i, j])
        floor, cap = 1 - float(low[i, j]), 1 + float(high[i, j])
        clipped = (a > 0 and r > cap) or (a < 0 and r < floor)
        total -= (min(r, cap) if a > 0 else max(r, floor)) * a
        slope[i, j] = 0.0 if clipped else -a * r
    return total, slope


def through_slime(strategy, state, old, now, advantages, mask):
    hook = slime.policy_loss(policy_loss_function, strategy, None if state is None else lambda: state)
    args = SimpleNamespace(use_rollout_logprobs=False, advantage_estimator="grpo", eps_clip=0.2, eps_clip_high=0.28)
    batch = {"log_probs": list(old), "advantages": list(advantages)}
    loss, _ = hook(args, batch, now.reshape(-1), lambda per_token: (per_token * mask.reshape(-1)).sum())
    assert (args.eps_clip, args.eps_clip_high) == (0.2, 0.28)
    return loss


@pytest.mark.parametrize("through", [through_slime])
@pytest.mark.parametrize("name", [*ABLE, *OBSERVING])
def test_their_loss_runs_under_the_strategys_bounds(through, name):
    strategy, given = make_strategy(name), world()
    state = strategy.init()
    if name in OBSERVING:
        state = strategy.observe(state, RolloutSummary(progress=0.7, entropy=0.5))
    loss = through(strategy, state if name in OBSERVING else None, *given)
    (slope,) = torch.autograd.grad(loss, given[1])
    total, expected = wanted(strategy, state, *given)
    assert float(loss.detach()) == pytest.approx(total, rel=1e-5)
    torch.testing.assert_close(slope, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ABLE)
def test_prime_rl_gets_the_clipped_loss_of_each_sequence(name, weighted):
    old, now, advantages, mask = world()
    weights = torch.tensor([0.5, 1.0, 2.0]) if weighted else torch.ones(3)
    for i in range(3):
        row = (old[i : i + 1], now[i : i + 1], advantages[i : i + 1], mask[i : i + 1])
        # what does not count may hold anything
        hidden = torch.where(mask[i], old[i], torch.nan)
        given = None if not weighted else weights[i].expand(7)
        found = prime_rl.policy_loss(LossInputs(now[i], hidden, None, advantages[i], mask[i], given), strategy=name)
        total, expected = wanted(make_strategy(name), make_strategy(name).init(), *row)
        assert float(found.loss.detach()) == pytest.approx(total * float(weights[i]), rel=1e-5)
        (slope,) = torch.autograd.grad(found.loss, now, retain_graph=True)
        torch.testing.assert_close(slope[i], expected[0] * weights[i], rtol=1e-5, atol=1e-6)
        zero = int(((expected[0] == 0) & mask[i]).sum())
        shares = sum(float(share) for share in found.metrics.values())
        assert shares == pytest.approx(zero / int(mask[i].sum()), abs=1e-6)


def test_prime_rls_kwargs_are_the_strategys_options():
    old, now, advantages, mask = world()
    inputs = LossInputs(now[1], old[1], None, advantages[1], mask[1])
    losses = {
        low: float(prime_rl.policy_loss(inputs, strategy="clip-lower", low=low).loss.detach()) for low in (0.01, 0.5)
    }
    assert losses[0.01] != losses[0.5]
    strategy, row = make_strategy("clip-lower", low=0.01), (x[1:2] for x in (old, now, advantages, mask))
    assert losses[0.01] == pytest.approx(wanted(strategy, strategy.init(), *row)[0], rel=1e-5)
    with pytest.raises((ValueError, TypeError), match="lo"):
        prime_rl.policy_loss(inputs, strategy="clip-lower", lo=0.1)


def test_what_a_hook_does_not_carry_is_refused():
    assert set(ABLE) | set(OBSERVING) | {"thermostat", "regions"} == set(STRATEGIES)
    inputs = LossInputs(*(torch.zeros(2) for _ in range(4)), torch.ones(2, dtype=torch.bool))
    for name in ("thermostat", "regions", *OBSERVING):
        strategy = make_strategy(name)
        said = "observes each rollout" if name in OBSERVING else "needs the old policy's entropy"
        with pytest.raises(ValueError, match=f"{name}.*{said}"):
            slime.policy_loss(policy_loss_function, strategy)
        with pytest.raises(ValueError, match=f"{name}.*{said}"):
            prime_rl.policy_loss(inputs, strategy=name)
    # a state of the caller's does not bring the entropy that the bounds read
    with pytest.raises(ValueError, match="entropy at each token"):
        slime.policy_loss(policy_loss_function, make_strategy("thermostat"), make_strategy("thermostat").init)


@pytest.mark.parametrize("through", [through_slime])
def test_a_strategy_of_ones_own_is_judged_by_what_it_reads(through):
    given = world()
    for able in (Own(), Own(needs=Reads.MEAN_ENTROPY)):
        loss = through(able, None, *given)
        assert float(loss.detach()) == pytest.approx(wanted(able, able.init(), *given)[0], rel=1e-5)
    for needs in (Reads.TOKEN_ENTROPY, Reads.VOCABULARY_SUMS):
        with pytest.raises(ValueError, match=r"'Own' needs the old policy's .*hook has none"):
            through(Own(needs=needs), None, *given)


@pytest.mark.parametrize(
    ("changes", "batch", "said"),
    [({"advantage_estimator": "gspo"}, {"log_probs": [torch.zeros(2)]}, "gspo"), ({}, {}, "no old log-prob")],
)
def test_slimes_settings_without_a_window_are_refused(changes, batch, said):
    hook = slime.policy_loss(policy_loss_function, make_strategy("grpo"))
    args = SimpleNamespace(**{"use_rollout_logprobs": False, "advantage_estimator": "grpo", **changes})
    with pytest.raises(ValueError, match=said):
        hook(args, batch, torch.zeros(2), torch.sum)


def test_the_signatures_are_those_of_the_releases():
    def names(function):
        return list(inspect.signature(function).parameters)

    strategy = make_strategy("grpo")
    assert names(slime.policy_loss(policy_loss_function, strategy)) == names(policy_loss_function)
    # prime-rl calls custom_fn(inputs, **kwargs) and reads .loss and .metrics (setup_rl_loss_fn, compute_loss)
    assert names(prime_rl.policy_loss)[0] == "inputs"
    assert prime_rl.LossOutputs._fields == ("loss", "metrics")
