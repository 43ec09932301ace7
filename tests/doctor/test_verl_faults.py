"""Each finding in a verl configuration is a fact of the installed verl: its own losses and aggregation show it.

Skipped where verl is not installed.
"""

import math
from pathlib import Path

import pytest
import torch
import yaml

from entrostat import make_strategy
from entrostat.doctor import Finding, Source, findings, read, settings
from entrostat.doctor.read import Override
from entrostat.doctor.verl import ACTOR, DEFAULTS, LOSS, ROLLOUT
from entrostat.doctor.verl_checks import ENTROPY_IS, OWN_AGGREGATION
from entrostat.strategies import STRATEGIES
from entrostat.trainers import VERL_LOSSES, VERL_NEEDED, VERL_PLUGIN, thresholds

core = pytest.importorskip("verl.trainer.ppo.core_algos")

import verl  # noqa: E402
from hydra import compose, initialize_config_module  # noqa: E402
from tensordict import TensorDict  # noqa: E402
from verl.utils.tensordict_utils import make_iterator  # noqa: E402
from verl.utils.torch_functional import entropy_from_logits  # noqa: E402
from verl.workers.config import FSDPActorConfig, PolicyLossConfig  # noqa: E402
from verl.workers.utils.losses import ppo_loss  # noqa: E402

from entrostat.engines.verl.checks import check_can_act  # noqa: E402
from entrostat.engines.verl.config import EntrostatLossConfig  # noqa: E402

LOGRATIO = torch.tensor([[-1.5, -0.6, -0.1, 0.0, 0.1, 0.25, 0.6, 1.5]] * 2)
ADVANTAGES = torch.tensor([[1.0], [-1.0]]).expand(2, 8)


def found(strategy=None, **fields):
    actor = {name: value for name, value in fields.items() if "." not in name}
    overrides = {f"{ACTOR}.{name}": value for name, value in actor.items()}
    overrides |= {name: value for name, value in fields.items() if "." in name}
    if fields.get(f"{LOSS}.loss_mode") == VERL_PLUGIN:
        overrides = {**VERL_NEEDED, **overrides}
    added = (f"{LOSS}.strategy", f"{LOSS}.options")
    source = Source("test", {"actor_rollout_ref": {}}, tuple(Override(k, v, k in added) for k, v in overrides.items()))
    return {f.finding: f for f in findings(settings(source), strategy)}


def actor_config(**fields):
    policy = {name.partition(".")[2]: value for name, value in fields.items() if "." in name}
    plain = {name: value for name, value in fields.items() if "." not in name}
    kind = EntrostatLossConfig if "strategy" in policy else PolicyLossConfig
    return FSDPActorConfig(rollout_n=1, ppo_micro_batch_size_per_gpu=1, policy_loss=kind(**policy), **plain)


def loss(mode, logratio=LOGRATIO, advantages=ADVANTAGES, old=-1.0, **fields):
    """Value, gradient per token and metrics of verl's own loss."""
    torch.manual_seed(0)
    old = torch.zeros_like(logratio) + old
    now = (old + logratio).requires_grad_()
    value, metrics = core.get_policy_loss_fn(mode)(
        old_log_prob=old,
        log_prob=now,
        advantages=advantages.clone(),
        response_mask=torch.ones_like(logratio),
        loss_agg_mode="token-mean",
        config=actor_config(**fields),
    )
    return value.item(), torch.autograd.grad(value, now)[0], metrics


def same(one, other):
    return one[0] == other[0] and torch.equal(one[1], other[1])


def test_the_shipped_defaults_are_verls():
    if verl.__version__ != "0.9.1":
        pytest.skip(f"the defaults are those of 0.9.1, installed is {verl.__version__}")
    folder = Path(verl.__file__).parent / "trainer" / "config"
    files = sorted(
        folder.glob("_generated_ppo_*trainer.yaml"), key=lambda path: path.name != "_generated_ppo_trainer.yaml"
    )
    trees = [yaml.safe_load(path.read_text()) for path in files]

    def agree(ours, theirs):
        assert set(ours) == {name for tree in theirs for name in tree}
        for name, value in ours.items():
            there = [tree[name] for tree in theirs if name in tree]
            if isinstance(there[0], dict):
                if value:
                    agree(value, there)
            elif not isinstance(there[0], list):
                assert value == there[0], name

    assert len(trees) == 4
    agree(yaml.safe_load(DEFAULTS.read_text()), trees)


@pytest.mark.parametrize(
    ("batch", "mini", "epochs"), [(64, 64, 1), (64, 32, 1), (64, 64, 2), (64, 16, 3), (1024, 1024, 1)]
)
def test_one_mini_batch_is_one_update(batch, mini, epochs):
    data = TensorDict({"x": torch.zeros(batch)}, batch_size=[batch])
    updates = len(list(make_iterator(data, mini_batch_size=mini, epochs=epochs)))
    fields = {"data.train_batch_size": batch, "ppo_mini_batch_size": mini, "ppo_epochs": epochs}
    assert (updates == 1) == (Finding.RATIO_ALWAYS_ONE in found(**fields))
    assert Finding.RATIO_ALWAYS_ONE not in found(make_strategy("thermostat"), **fields)


@pytest.mark.parametrize("mode", ["vanilla", "gspo", "geo_mean", "cispo"])
def test_at_ratio_1_no_threshold_does_anything(mode):
    fresh = torch.zeros_like(LOGRATIO)
    narrow = {"clip_ratio_low": 1e-6, "clip_ratio_high": 1e-6, "clip_ratio_c": 1.001}
    usual, other = loss(mode, fresh), loss(mode, fresh, **narrow)
    assert same(usual, other)
    assert other[2]["actor/pg_clipfrac"] == 0


@pytest.mark.parametrize("mode", VERL_LOSSES)
def test_one_update_is_found_exactly_where_a_loss_has_a_ratio_and_nothing_that_acts_at_1(mode):
    fresh, old = torch.zeros_like(LOGRATIO), torch.linspace(-3, -0.1, 8)
    base = NEEDED.get(mode, {})
    usual = loss(mode, fresh, old=old, **base)[1]
    acts = any(
        not torch.equal(usual, loss(mode, fresh, old=old, **base | {n: OTHER[n]})[1]) for n in VERL_LOSSES[mode].reads
    )
    ratio = not torch.equal(usual, loss(mode, old=old, **base)[1])
    assert (acts, ratio) == (mode == "clip_cov", mode != "gpg")
    given = {f"{ACTOR}.{name}": value for name, value in base.items()}
    fields = {"data.train_batch_size": 256, f"{LOSS}.loss_mode": mode} | given
    assert (Finding.RATIO_ALWAYS_ONE in found(**fields)) == (ratio and not acts)


@pytest.mark.parametrize("mode", [mode for mode, loss in VERL_LOSSES.items() if "clip_ratio" in loss.reads])
def test_clip_ratio_alone_changes_nothing(mode):
    """With a null side, or beside sides that were chosen, it is no finding."""
    assert same(loss(mode), loss(mode, clip_ratio=0.01))
    chosen = {LOSS + ".loss_mode": mode}
    assert Finding.CLIP_RATIO_ALONE in found(clip_ratio=0.01, **chosen)
    assert Finding.CLIP_RATIO_ALONE in found(clip_ratio=0.01, clip_ratio_high=0.28, **chosen)
    assert Finding.CLIP_RATIO_ALONE not in found(clip_ratio=0.01, clip_ratio_low=0.1, clip_ratio_high=0.28, **chosen)
    nulls = {"clip_ratio_low": None, "clip_ratio_high": None}
    assert not same(loss(mode, **nulls), loss(mode, **nulls, clip_ratio=0.01))
    assert Finding.CLIP_RATIO_ALONE not in found(clip_ratio=0.01, **nulls, **chosen)


@pytest.mark.parametrize(
    ("high", "cap", "hit"), [(10.0, 3.0, True), (2.5, 3.0, True), (1.9, 3.0, False), (10.0, 20.0, False)]
)
def test_the_dual_clip_takes_the_gradient_inside_the_loosened_window(high, cap, hit):
    # the last ratio but one is inside every window, the last one outside of all
    logratio = torch.tensor([[1.0, 2.8, min(1 + high, 3.4), 50.0]]).log()
    fields = {"clip_ratio_high": high, "clip_ratio_c": cap}
    _, gradient, metrics = loss("vanilla", logratio, -torch.ones(1, 4), **fields)
    assert ((gradient[0, :3] == 0).any().item()) == hit
    assert metrics["actor/pg_clipfrac"] == 0
    assert (Finding.DUAL_CLIP in found(**fields)) == hit
    # with A > 0 there is no dual clip
    assert (loss("vanilla", logratio, torch.ones(1, 4), **fields)[1][0, :3] != 0).all()


@pytest.mark.parametrize(
    ("name", "options", "hit"),
    [("clip-lower", {}, True), ("dcpo", {}, True), ("dcpo", {"cap": 2.5}, False), ("clip-higher", {}, False)],
)
def test_the_dual_clip_takes_the_gradient_inside_a_strategys_window(name, options, hit):
    """In the plug-in's own loss: ratios over the cap, or just inside the widest window under it, at A < 0. Where the
    window has no end above, the cap is a guard."""
    logratio = torch.tensor([[1.0, min(3.4, 1 + make_strategy(name, **options).highest) - 0.01]]).log()
    fields = {"policy_loss.strategy": name, "policy_loss.options": options}
    _, gradient, metrics = loss(VERL_PLUGIN, logratio, -torch.ones(1, 2), old=-40.0, **fields)
    assert (gradient[0, 1] == 0).item() == hit
    assert metrics["actor/pg_clipfrac"] == 0
    given = {f"{ACTOR}.{name}": value for name, value in fields.items()} | {f"{LOSS}.loss_mode": VERL_PLUGIN}
    ends = math.isfinite(make_strategy(name, **options).highest)
    assert (Finding.DUAL_CLIP in found(**given)) == (hit and ends)


@pytest.mark.parametrize("name", STRATEGIES)
def test_one_update_is_found_exactly_where_the_plug_in_refuses_it(name):
    needed = [f"{key}={value}" for key, value in VERL_NEEDED.items()]
    words = [*needed, f"+{LOSS}.strategy={name}", "data.train_batch_size=256"]
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=words)
    try:
        check_can_act(config, make_strategy(name))
        refused = False
    except ValueError as error:
        refused = "one update" in str(error)
    assert (Finding.RATIO_ALWAYS_ONE in {one.finding for one in findings(settings(read(words)))}) == refused


OTHER = {
    "clip_ratio": 0.5,
    "clip_ratio_low": 0.5,
    "clip_ratio_high": 0.05,
    "clip_ratio_c": 1.5,
    "tau_pos": 2.0,
    "tau_neg": 2.0,
    "policy_loss.clip_cov_ratio": 0.5,
    "policy_loss.clip_cov_lb": -5.0,
    "policy_loss.clip_cov_ub": 0.01,
    "policy_loss.kl_cov_ratio": 0.5,
    "policy_loss.ppo_kl_coef": 1.0,
    "policy_loss.dro_beta": 2.0,
}
NEEDED = {"dro": {"policy_loss.dro_beta": 1.0}, VERL_PLUGIN: {"policy_loss.strategy": "clip-higher"}}
"""Without which a mode is refused."""


@pytest.mark.parametrize("mode", VERL_LOSSES)
def test_a_threshold_is_found_exactly_where_it_changes_nothing(mode):
    """clip_ratio is read by the losses that read low and high, where one of these is null: looked at there."""
    assert set(OTHER) == set(thresholds(VERL_LOSSES))
    assert set(VERL_LOSSES) | {"bypass_mode"} == set(core.POLICY_LOSS_REGISTRY) - {"spoken"}
    base = NEEDED.get(mode, {})
    # clip-cov needs covariances between its bounds for them to matter
    base |= {"policy_loss.clip_cov_lb": 0.001, "policy_loss.clip_cov_ratio": 0.07} if mode == "clip_cov" else {}
    # one ratio a sequence: each row leaves its window as a whole
    logratio = LOGRATIO + torch.tensor([[0.1], [-0.4]]) if mode == "gspo" else LOGRATIO
    for name, value in OTHER.items():
        fields = base | ({"clip_ratio_low": None, "clip_ratio_high": None} if name == "clip_ratio" else {})
        changes = not same(loss(mode, logratio, **fields), loss(mode, logratio, **{**fields, name: value}))
        given = {f"{ACTOR}.{n}": v for n, v in {**fields, name: value, "policy_loss.loss_mode": mode}.items()}
        seen = found(**given).get(Finding.THRESHOLD_IGNORED)
        ignored = seen is not None and f"{ACTOR}.{name}" in seen.settings
        assert changes != ignored, name


@pytest.mark.parametrize("mode", VERL_LOSSES)
def test_a_loss_clamps_exactly_where_its_gradient_is_that_of_r_a_but_for_the_clip(mode):
    """Ratios on both sides of the window of 0.8 to 1.2, under advantages of both signs."""
    logratio = LOGRATIO
    base = dict(NEEDED.get(mode, {}))
    if mode == VERL_PLUGIN:
        base["policy_loss.options"] = {"high": 0.2}
    if mode == "gspo":
        # the ratio of its sequence: one inside the window and one outside, for each sign
        logratio = torch.tensor([-0.6, -0.1, 0.1, 0.6, -0.6, -0.1, 0.1, 0.6])[:, None].expand(8, 3)
    advantages = torch.ones_like(logratio)
    advantages[len(advantages) // 2 :] = -1
    _, gradient, _ = loss(mode, logratio, advantages, **base)
    ratio = logratio.exp()
    clipped = torch.where(advantages > 0, ratio > 1.2, ratio < 0.8) | ((advantages < 0) & (ratio > 3))
    expected = torch.where(clipped, 0.0, -ratio * advantages) / logratio.numel()
    assert torch.allclose(gradient, expected, rtol=1e-5, atol=0) == VERL_LOSSES[mode].clamps


@pytest.mark.parametrize("mode", [mode for mode, loss in VERL_LOSSES.items() if "clip_ratio" in loss.reads])
def test_a_loss_with_a_window_keeps_a_gradient_beyond_it_as_the_table_says(mode):
    # far beyond as ratios, and as differences of probabilities
    far, old = torch.tensor([[3.0, 3.0], [-3.0, -3.0]]), torch.tensor([[-3.5, -3.5], [-0.1, -0.1]])
    kept = loss(mode, far, torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), old=old)[1] != 0
    assert kept.all().item() == kept.any().item() == VERL_LOSSES[mode].keeps_gradient


def test_entropy_is_a_mean_over_tokens_under_token_mean_only():
    """Two responses, of 1 and 8 tokens; every token of the first has entropy 2, of the second 1."""
    entropy = torch.tensor([[2.0] * 8, [1.0] * 8])
    mask = torch.zeros(2, 8)
    mask[0, :1], mask[1] = 1, 1
    true = 10 / 9
    modes = ["token-mean", *ENTROPY_IS]
    means = {mode: core.agg_loss(entropy, mask, mode).item() for mode in modes}
    assert means == pytest.approx(
        {
            "token-mean": true,
            "token-sum": 10.0,
            "seq-mean-token-sum": 5.0,
            "seq-mean-token-mean": 1.5,
            "seq-mean-token-sum-norm": 0.625,
        },
        rel=1e-6,
    )
    for mode in modes:
        assert (Finding.ENTROPY_AGGREGATION in found(loss_agg_mode=mode)) == (abs(means[mode] - true) > 1e-6)


def test_every_aggregation_that_verl_takes_is_known():
    for mode in ["token-mean", *ENTROPY_IS]:
        actor_config(loss_agg_mode=mode)
    with pytest.raises(ValueError, match="Invalid loss_agg_mode"):
        actor_config(loss_agg_mode="batch-mean")


def test_entropy_is_that_of_the_temperature():
    _scale_logits_by_temperature = pytest.importorskip(
        "verl.workers.engine.fsdp.transformer_impl"
    )._scale_logits_by_temperature
    logits = torch.tensor([[[2.0, 0.5, -1.0, 0.0]]])
    scaled = _scale_logits_by_temperature(logits, torch.tensor([0.5]), is_unit_temperature=False)
    expected = torch.distributions.Categorical(logits=logits.double() / 0.5).entropy()
    assert entropy_from_logits(scaled).item() == pytest.approx(expected.item(), rel=1e-6)
    assert entropy_from_logits(scaled).item() < 0.7 * entropy_from_logits(logits).item()
    assert Finding.TEMPERATURE in found(**{f"{ROLLOUT}.temperature": 0.5})
    assert Finding.TEMPERATURE not in found(**{f"{ROLLOUT}.temperature": 1})


def test_a_bonus_stays_in_the_loss_beside_a_policy_loss_of_ones_own():
    """verl adds it whatever the loss mode is."""

    @core.register_policy_loss("spoken")
    def spoken(old_log_prob, log_prob, advantages, response_mask, **_):
        return (log_prob * response_mask).sum() * 0, {}

    def value(coefficient):
        config = actor_config(entropy_coeff=coefficient, **{"policy_loss.loss_mode": "spoken"})
        width = 3
        data = TensorDict(
            {
                "prompts": torch.zeros(1, 1, dtype=torch.long),
                "responses": torch.zeros(1, width, dtype=torch.long),
                "attention_mask": torch.ones(1, 1 + width, dtype=torch.long),
                "response_mask": torch.ones(1, width),
                "old_log_probs": torch.zeros(1, width),
                "advantages": torch.zeros(1, width),
            },
            batch_size=[1],
        )
        for name in ("batch_num_tokens", "global_batch_size"):
            data.set_non_tensor(name, None)
        data.set_non_tensor("dp_size", 1)
        output = {"log_probs": torch.zeros(1 + width), "entropy": torch.full((1 + width,), 0.7)}
        return ppo_loss(config, output, data)[0].item()

    assert value(0.0) == 0
    assert value(0.1) == pytest.approx(-0.07, rel=1e-6)
    assert Finding.BONUS_AND_CONTROLLER in found(make_strategy("thermostat"), entropy_coeff=0.1)
    assert Finding.BONUS_AND_CONTROLLER not in found(entropy_coeff=0.1)


# What the loss or its configuration refuses or leaves unread


def test_a_name_in_the_wrong_section_ends_the_run():
    with pytest.raises(TypeError, match="tau_pos"):
        PolicyLossConfig(loss_mode="sapo", tau_pos=1.0)
    assert loss("sapo", tau_pos=3.0) != loss("sapo", tau_pos=1.0)


@pytest.mark.parametrize("mode", VERL_LOSSES)
def test_the_losses_with_an_aggregation_of_their_own(mode):
    if mode == VERL_PLUGIN:
        pytest.skip("it is verl's vanilla")
    mask = torch.ones_like(LOGRATIO)
    mask[0, 3:] = 0
    fields = {"policy_loss.dro_beta": 0.1} if mode == "dro" else {}
    values = []
    for aggregation in ("token-mean", "seq-mean-token-sum"):
        torch.manual_seed(0)
        value, _ = core.get_policy_loss_fn(mode)(
            old_log_prob=torch.full_like(LOGRATIO, -1.0),
            log_prob=LOGRATIO - 1.0,
            advantages=ADVANTAGES.clone(),
            response_mask=mask,
            loss_agg_mode=aggregation,
            config=actor_config(**fields),
        )
        values.append(value.item())
    reads = values[0] != pytest.approx(values[1])
    assert reads == (mode not in OWN_AGGREGATION)
    seen = found(loss_agg_mode="seq-mean-token-sum", **{f"{LOSS}.loss_mode": mode})
    assert (Finding.AGGREGATION_IGNORED in seen) == (not reads)


def test_dppo_caps_the_weight_of_both_signs():
    old, wide = torch.full_like(LOGRATIO, -8.0), {"clip_ratio_low": 1.0, "clip_ratio_high": 1.0}
    logratio = torch.full_like(LOGRATIO, 2.0)
    capped = loss("dppo_tv", logratio, old=old, clip_ratio_c=3.0, **wide)[1]
    free = loss("dppo_tv", logratio, old=old, clip_ratio_c=20.0, **wide)[1]
    assert torch.allclose(free / capped, torch.full_like(free, math.exp(2.0) / 3.0))
    assert Finding.TRUNCATED_RATIO in found(**{f"{LOSS}.loss_mode": "dppo_tv"})
    assert Finding.TRUNCATED_RATIO not in found(clip_ratio_c=20.0, **{f"{LOSS}.loss_mode": "dppo_tv"})


def test_a_window_of_tokens_does_not_clip_a_sequence():
    """Token ratios leave 1 +- 0.2, and their mean does not."""
    kept = loss("gspo", clip_ratio_low=0.2, clip_ratio_high=0.2)[2]["actor/pg_clipfrac"]
    tight = loss("gspo", clip_ratio_low=3e-4, clip_ratio_high=4e-4)[2]["actor/pg_clipfrac"]
    assert kept == 0 and tight > 0
    token = loss("vanilla", clip_ratio_low=0.2, clip_ratio_high=0.2)[2]["actor/pg_clipfrac"]
    assert token > 0
    assert Finding.SEQUENCE_WINDOW in found(**{f"{LOSS}.loss_mode": "gspo"})
    assert Finding.SEQUENCE_WINDOW not in found(
        clip_ratio_low=3e-4, clip_ratio_high=4e-4, **{f"{LOSS}.loss_mode": "gspo"}
    )
