"""prime-rl and slime: hooks with the signatures of their releases, and their own losses under our bounds.

Neither can be installed here (SkyRL's hook is tested on SkyRL itself, tests/with_skyrl). Each stand-in has the
parameters of the named release, and its loss in the few lines that matter: slime's window around the ratio, prime-rl's
mask on the change of p. The hook was also run once on prime-rl's own loss.py (dev/LOG.md).
"""

import dataclasses
import inspect
import math
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from entrostat import STRATEGIES, TokenStats, make_strategy
from entrostat.engines import prime_rl, slime
from entrostat.strategies import Reads, RolloutSummary
from own_strategy import Own

ABLE = ("grpo", "clip-higher", "clip-lower", "dynamic", "dcpo", "dppo")
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


@dataclasses.dataclass
class LossOutputs:
    """The same file, LossOutputs."""

    loss: torch.Tensor
    metrics: dict


class DefaultLossConfig:
    """Tag v0.8.0, prime_rl/configs/trainer.py: fields and defaults, and pydantic's two methods that are used."""

    def __init__(self, kl_tau=1e-3, adv_tau=1.0):
        self.dppo_mask_low, self.dppo_mask_high, self.kl_tau, self.adv_tau = 0.2, 0.2, kl_tau, adv_tau

    def model_copy(self, *, update):
        made = DefaultLossConfig(self.kl_tau, self.adv_tau)
        made.__dict__.update(update)
        return made


def default_loss_fn(inputs, loss_config):
    """Tag v0.8.0, src/prime_rl/trainer/rl/loss.py, default_loss_fn, without its metrics of mismatch."""
    logratio = inputs.trainer_logprobs - inputs.inference_logprobs
    change = inputs.trainer_logprobs.exp() - inputs.inference_logprobs.exp()
    high, low = change > loss_config.dppo_mask_high, change < -loss_config.dppo_mask_low
    dropped = inputs.loss_mask & torch.where(inputs.advantages > 0, high, low)
    gain = (inputs.loss_mask & ~dropped) * loss_config.adv_tau * inputs.advantages * logratio.exp()
    loss = loss_config.kl_tau * inputs.loss_mask * logratio**2 - gain
    if inputs.loss_weights is not None:
        loss = loss * inputs.loss_weights
    return LossOutputs(loss.sum(), {"is_masked": dropped.sum() / inputs.loss_mask.sum()})


@pytest.fixture
def prime_rl_installed(monkeypatch):
    for name, part in (("configs.trainer", DefaultLossConfig), ("trainer.rl.loss", default_loss_fn)):
        module = ModuleType(f"prime_rl.{name}")
        setattr(module, part.__name__, part)
        monkeypatch.setitem(sys.modules, module.__name__, module)


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


@pytest.mark.parametrize(("weighted", "taus"), [(False, {}), (True, {"kl_tau": 0.1, "adv_tau": 0.5})])
@pytest.mark.parametrize("name", ABLE)
@pytest.mark.usefixtures("prime_rl_installed")
def test_prime_rls_own_loss_drops_what_a_clip_would_and_keeps_its_kl_term(name, weighted, taus):
    old, now, advantages, mask = world()
    weights = torch.tensor([0.5, 1.0, 2.0]) if weighted else torch.ones(3)
    kl, scale = taus.get("kl_tau", 1e-3), taus.get("adv_tau", 1.0)
    for i in range(3):
        row = (old[i : i + 1], now[i : i + 1], advantages[i : i + 1], mask[i : i + 1])
        given = None if not weighted else weights[i].expand(7)
        inputs = LossInputs(now[i], old[i], None, advantages[i], mask[i], given)
        found = prime_rl.policy_loss(inputs, strategy=name, **taus)
        _, clipped = wanted(make_strategy(name), make_strategy(name).init(), *row)
        (slope,) = torch.autograd.grad(found.loss, now, retain_graph=True)
        expected = scale * clipped[0] + 2 * kl * mask[i] * (now[i] - old[i]).detach()
        torch.testing.assert_close(slope[i], expected * weights[i], rtol=1e-5, atol=1e-6)
        zero = int(((clipped[0] == 0) & mask[i]).sum())
        assert float(found.metrics["is_masked"]) == pytest.approx(zero / int(mask[i].sum()), abs=1e-6)


@pytest.mark.usefixtures("prime_rl_installed")
def test_prime_rls_kwargs_are_the_strategys_options():
    old, now, advantages, mask = world()
    inputs = LossInputs(now[1], old[1], None, advantages[1], mask[1])
    # under its own strategy prime-rl's loss is as it was
    own = DefaultLossConfig()
    own.dppo_mask_low, own.dppo_mask_high = 0.01, 0.03
    ours = prime_rl.policy_loss(inputs, strategy="dppo", low=0.01, high=0.03)
    assert torch.equal(ours.loss, default_loss_fn(inputs, own).loss)
    assert not torch.equal(ours.loss, prime_rl.policy_loss(inputs, strategy="dppo", low=0.5).loss)
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
    # prime-rl calls custom_fn(inputs, **kwargs) (setup_rl_loss_fn); what it reads of the result is its own LossOutputs
    assert names(prime_rl.policy_loss)[0] == "inputs"
