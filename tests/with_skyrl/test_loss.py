"""Per-token bounds inside SkyRL's own policy loss and registry, of the release in constraints-skyrl.txt, on a CPU."""

import inspect
import math
from types import SimpleNamespace

import cloudpickle
import pytest
import torch
from skyrl.backends.skyrl_train.utils import ppo_utils
from skyrl.backends.skyrl_train.utils.ppo_utils import PolicyLossRegistry, dppo_policy_loss, ppo_policy_loss
from skyrl.train.config import AlgorithmConfig, TrainerConfig

from entrostat import RolloutSummary, TokenStats, clip_loss, make_strategy
from entrostat.engines import skyrl

ABLE = ("grpo", "clip-higher", "clip-lower", "dynamic", "dcpo")
OBSERVING = ("id", "did", "od", "mai", "adapo")


def run(fully_async=False, **dppo):
    """SkyRL's configuration of a run, in the part that this environment can build."""
    trainer = TrainerConfig()
    trainer.fully_async.enabled = fully_async
    for name, value in dppo.items():
        setattr(trainer.algorithm.dppo, name, value)
    return SimpleNamespace(trainer=trainer)


def policy_loss(theirs, strategy, state=None, cfg=None):
    return skyrl.policy_loss(theirs, strategy, cfg or run(), state)


def config(**changes):
    made = AlgorithmConfig(policy_loss_type="regular")
    for name, value in changes.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def micro_batch(seed=0, b=3, t=9):
    """Old and new log-probabilities, the new ones as a leaf; advantages; mask."""
    torch.manual_seed(seed)
    old = -torch.rand(b, t) * 3
    now = (old + torch.randn(b, t) * 0.4).clamp(max=-1e-3).requires_grad_()
    advantages = torch.randn(b, 1).expand(b, t)
    mask = torch.rand(b, t) < 0.8
    return old, now, advantages, mask.float()


def stepped(loss, given, settings, sampler=None):
    """Loss, metrics and gradient."""
    old, now, advantages, mask = given
    value, metrics = loss(now, old, advantages, settings, mask, sampler)
    (gradient,) = torch.autograd.grad(value, now)
    return value.detach(), metrics, gradient


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.2), (0.2, 0.28), (0.05, 0.4)])
def test_constant_bounds_are_skyrls_own_loss(low, high):
    given = micro_batch()
    ours = policy_loss(ppo_policy_loss, make_strategy("grpo", low=low, high=high))
    found = stepped(ours, given, config())
    wanted = stepped(ppo_policy_loss, given, config(eps_clip_low=low, eps_clip_high=high))
    assert torch.equal(found[0], wanted[0])
    assert found[1] == wanted[1]
    assert torch.equal(found[2], wanted[2])


@pytest.mark.parametrize("name", [*ABLE, *OBSERVING])
def test_per_token_bounds_reach_the_clamp(name):
    strategy, given = make_strategy(name), micro_batch(1)
    old, now, advantages, mask = given
    state = strategy.init()
    if name in OBSERVING:
        state = strategy.observe(state, RolloutSummary(progress=0.7, entropy=0.5))
    ours = policy_loss(ppo_policy_loss, strategy, lambda: state)
    _, _, gradient = stepped(ours, given, config())
    low, high = strategy.bounds(state, TokenStats(old))
    # SkyRL's reduction: a sum of what the trainer has normalised before
    loss = torch.where(mask != 0, clip_loss(now - old, advantages, low=low, high=high), 0.0).sum()
    (wanted,) = torch.autograd.grad(loss, now)
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-7)


def test_the_workers_configuration_is_not_changed():
    settings = config(policy_loss_type="entrostat")
    stepped(policy_loss(ppo_policy_loss, make_strategy("clip-lower", low=0.05)), micro_batch(), settings)
    assert settings.policy_loss_type == "entrostat"
    assert (settings.eps_clip_low, settings.eps_clip_high) == (0.2, 0.2)


def test_the_registry_takes_it_and_a_worker_gets_the_same_from_its_bytes():
    name = "entrostat-test"
    ours = policy_loss(ppo_policy_loss, make_strategy("dcpo"))
    PolicyLossRegistry.register(name, ours)
    try:
        registered = PolicyLossRegistry.get(name)
        # how the registry sends a loss to other processes
        sent = cloudpickle.loads(cloudpickle.dumps(registered))
        given = micro_batch(2)
        here, there = stepped(ours, given, config()), stepped(sent, given, config())
        assert torch.equal(here[2], there[2])
    finally:
        PolicyLossRegistry.unregister(name)


def test_the_signature_is_skyrls():
    ours = policy_loss(ppo_policy_loss, make_strategy("grpo"))
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(ppo_policy_loss).parameters)


def test_what_the_hook_cannot_carry_is_refused():
    with pytest.raises(ValueError, match="entropy at each token"):
        policy_loss(ppo_policy_loss, make_strategy("thermostat"), make_strategy("thermostat").init)
    with pytest.raises(ValueError, match="SkyRL"):
        policy_loss(ppo_policy_loss, make_strategy("id"))


def test_an_open_side_clips_nothing():
    given = micro_batch(3)
    ours = policy_loss(ppo_policy_loss, make_strategy("clip-lower", low=1.0, high=math.inf))
    _, metrics, gradient = stepped(ours, given, config())
    assert metrics["clip_ratio"] == 0
    assert (gradient[given[3] != 0] != 0).all()


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.2), (0.05, 0.1)])
@pytest.mark.parametrize("from_sampler", [False, True])
def test_the_dppo_strategy_is_skyrls_own_dppo(low, high, from_sampler):
    given = micro_batch(4)
    sampler = (given[0] - 0.1).detach() if from_sampler else None
    own = config()
    own.dppo.delta_low, own.dppo.delta_high = low, high
    wanted = stepped(dppo_policy_loss, given, own, sampler)
    settings = config()
    found = stepped(policy_loss(dppo_policy_loss, make_strategy("dppo", low=low, high=high)), given, settings, sampler)
    assert torch.equal(found[0], wanted[0]) and torch.equal(found[2], wanted[2])
    assert found[1] == wanted[1]
    assert 0 < found[1]["clip_ratio"] < 1
    assert (settings.dppo.delta_low, settings.dppo.delta_high) == (0.2, 0.2)


@pytest.mark.parametrize("name", ["clip-lower", "dynamic", "dcpo"])
def test_a_window_on_the_ratio_is_the_same_tokens_of_skyrls_mask(name):
    """Fully asynchronous, from the sampler's log-probabilities: the old ones are those of the policy itself."""
    strategy, given = make_strategy(name), micro_batch(5)
    sampler, now, advantages, mask = given
    ours = policy_loss(dppo_policy_loss, strategy, cfg=run(fully_async=True))
    _, _, gradient = stepped(ours, (now.detach(), now, advantages, mask), config(), sampler)
    low, high = strategy.bounds(strategy.init(), TokenStats(sampler))
    loss = torch.where(mask != 0, clip_loss(now - sampler, advantages, low=low, high=high), 0.0).sum()
    (wanted,) = torch.autograd.grad(loss, now)
    assert ((wanted == 0) & (mask != 0)).any()
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-7)


def test_fully_asynchronous_training_takes_what_skyrl_takes_there():
    """SkyRL refuses by names, and ours is none of them: the rule is on the loss that is wrapped."""
    names = {ppo_policy_loss: "regular", dppo_policy_loss: "dppo"}
    for theirs, name in names.items():
        assert PolicyLossRegistry.get(name).__wrapped__ is theirs.__wrapped__
        if name in ppo_utils.LOSSES_WITH_OLD_LOGPROBS:
            with pytest.raises(ValueError, match=r"wrap dppo_policy_loss, or set trainer.fully_async.enabled=false"):
                policy_loss(theirs, make_strategy("grpo"), cfg=run(fully_async=True))
        else:
            policy_loss(theirs, make_strategy("grpo"), cfg=run(fully_async=True))
    assert "regular" in ppo_utils.LOSSES_WITH_OLD_LOGPROBS and "dppo" in ppo_utils.LOSSES_WITHOUT_OLD_LOGPROBS
    # and what makes it right is in the batch
    ours = policy_loss(dppo_policy_loss, make_strategy("grpo"), cfg=run(fully_async=True))
    with pytest.raises(ValueError, match=r"generator.sampling_params.logprobs=1"):
        stepped(ours, micro_batch(), config())


def test_other_losses_and_masks_are_refused():
    with pytest.raises(ValueError, match=r"rollout_is_policy_loss has no window per token"):
        policy_loss(ppo_utils.rollout_is_policy_loss, make_strategy("grpo"))
    with pytest.raises(ValueError, match=r"'binary_kl'.*set it to binary_tv"):
        policy_loss(dppo_policy_loss, make_strategy("grpo"), cfg=run(dppo_type="binary_kl"))
