"""What the doctor says of asynchronous runs and corrections is a fact of the installed verl.

Skipped where verl is not installed.
"""

import importlib.util
import math
from pathlib import Path

import pytest
import torch
import yaml

from entrostat.doctor import Finding, findings, read, settings
from entrostat.doctor.checks import outside_band
from entrostat.doctor.verl import BYPASS, CORRECTION, FULLY_ASYNC, MAINS, ONE_STEP_OFF
from entrostat.doctor.verl_async import _bands

core = pytest.importorskip("verl.trainer.ppo.core_algos")

import verl  # noqa: E402
from hydra import compose, initialize_config_module  # noqa: E402
from verl.trainer.ppo import rollout_corr_helper as helper  # noqa: E402
from verl.workers.config import FSDPActorConfig, PolicyLossConfig  # noqa: E402

ROOT = Path(__file__).parents[2]
LOW, HIGH = 3e-4, 4e-4
"""The window of the GSPO paper, and of verl issue 7356."""


@pytest.mark.parametrize(
    ("main", "folder", "names"),
    [
        (FULLY_ASYNC, "fully_async_policy", ("fully_async_ppo_trainer", "fully_async_ppo_megatron_trainer")),
        (ONE_STEP_OFF, "one_step_off_policy", ("one_step_off_ppo_trainer", "one_step_off_ppo_megatron_trainer")),
    ],
)
def test_the_mains_own_values_are_verls(main, folder, names):
    if verl.__version__ != "0.9.1":
        pytest.skip(f"the values are those of 0.9.1, installed is {verl.__version__}")
    shipped = yaml.safe_load(MAINS.read_text())
    for name in names:
        path = Path(verl.__file__).parent / "experimental" / folder / "config" / f"{name}.yaml"
        own = yaml.safe_load(path.read_text())
        assert shipped[main] == {key: own[key] for key in own if key not in ("hydra", "defaults")}


# Bounds of corrections


def fresh(spread=0.05, rows=64, tokens=256, seed=0):
    """Log-probs (b t) of a sampler's tokens at two engines with the same weights: r = p / q has mean 1 under q."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, tokens, generator=generator, dtype=torch.float64)
    sampler = torch.full((rows, tokens), -1.0, dtype=torch.float64)
    return sampler + spread * noise - spread**2 / 2, sampler


WEIGHTS = ["2.0", 2.0, 0.8, "0.5_5.0", "1.1_5.0", "5.0_0.5", "0_2.0", "-1", "a_b", None]


@pytest.mark.parametrize("threshold", WEIGHTS)
def test_a_weights_bounds_are_read_as_verl_does(threshold):
    trained, sampler = fresh()
    mask = torch.ones_like(sampler)
    try:
        weights, _ = helper.compute_rollout_correction_weights(trained - sampler, mask, "token", threshold)
    except (ValueError, TypeError):
        with pytest.raises(ValueError):
            _bands("token", threshold, is_weight=True)
        return
    ((low, high),) = _bands("token", threshold, is_weight=True)
    ratio = (trained - sampler).exp()
    expected = ratio.clamp(max=high) if low is None else ratio * ((ratio >= low) & (ratio <= high))
    torch.testing.assert_close(weights, expected)
    # under a cap the weights are all alike, beyond a band they are gone
    useless = (weights == weights[0, 0]).double().mean() > 0.95
    assert useless == outside_band(low, high)


REJECTIONS = [
    ("token_k1", "0.6_1.6"),
    ("token_k1", 1.2),
    ("token_k1", 0.9),
    ("seq_mean_k1", "0.999_1.001"),
    ("seq_mean_k1", "1.01_1.1"),
    ("token_k1,seq_max_k2", "0.6_1.6,2.5"),
    ("seq_mean_k3", 0.01),
    ("seq_mean_k3", "0.1_0.2"),
    ("token_k1,seq_mean_k3", 1.5),
    ("token_k1,seq_mean_k3", "1,2,3"),
    ("geometric", 1.01),
    ("seq_sum_k1", None),
]


@pytest.mark.parametrize(("options", "threshold"), REJECTIONS)
def test_a_rejections_bounds_are_read_as_verl_does(options, threshold):
    trained, sampler = fresh(spread=0.01)
    mask = torch.ones_like(sampler)
    try:
        kept, _ = helper.compute_rollout_rejection_mask(trained - sampler, mask, options, threshold)
    except ValueError:
        with pytest.raises(ValueError):
            _bands(options, threshold, is_weight=False)
        return
    bands = _bands(options, threshold, is_weight=False)
    assert any(outside_band(*band) for band in bands) == (kept.mean() < 0.05)


@pytest.mark.parametrize("word", ["0.5_5", "0.5_5.0", "0.999_1.001", "2.0"])
def test_hydra_reads_a_band_as_the_doctor_does(word):
    name = f"{CORRECTION}.rollout_is_threshold"
    with initialize_config_module("verl.trainer.config", version_base=None):
        theirs = compose("ppo_trainer", [f"{name}={word}"]).algorithm.rollout_correction.rollout_is_threshold
    assert settings(read([f"{name}={word}"]))[name] == theirs


# The window of GSPO against the sampler


def gspo(trained, old, advantages):
    config = FSDPActorConfig(
        rollout_n=1,
        ppo_micro_batch_size_per_gpu=1,
        policy_loss=PolicyLossConfig(loss_mode="gspo"),
        clip_ratio_low=LOW,
        clip_ratio_high=HIGH,
    )
    _, metrics = core.get_policy_loss_fn("gspo")(
        old_log_prob=old,
        log_prob=trained,
        advantages=advantages,
        response_mask=torch.ones_like(old),
        loss_agg_mode="seq-mean-token-mean",
        config=config,
    )
    return metrics["actor/pg_clipfrac"]


def formula():
    spec = importlib.util.spec_from_file_location("sequence_clip", ROOT / "dev" / "sequence_clip.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.clipped


@pytest.mark.parametrize("spread", [0.01, 0.03, 0.05])
def test_mismatch_alone_clips_what_the_issue_sees(spread):
    """A policy that has not moved: against the sampler's log-probs 15 to 44% is clipped, against its own nothing."""
    trained, sampler = fresh(spread, rows=3000, tokens=1000)
    advantages = (torch.arange(3000, dtype=torch.float64)[:, None] % 2 * 2 - 1).expand(-1, 1000)
    share = gspo(trained, sampler, advantages)
    assert share == pytest.approx(formula()(spread, 1000, LOW, HIGH), abs=0.02)
    assert (share > 0.35) == (spread >= 0.03)
    assert gspo(trained, trained, advantages) == 0
    # the number to look at: the mean of |ln r| of sequences
    metrics = helper.compute_offpolicy_metrics(trained, sampler, torch.ones_like(sampler))
    sequences = (trained - sampler).mean(-1).abs().mean().item()
    assert metrics["log_ppl_abs_diff"] == pytest.approx(sequences)
    assert metrics["k3_kl"] == pytest.approx(spread**2 / 2, rel=0.05)
    words = ["actor_rollout_ref.actor.policy_loss.loss_mode=gspo"]
    words += [f"actor_rollout_ref.actor.clip_ratio_{side}={half}" for side, half in (("low", LOW), ("high", HIGH))]
    for bypass in (True, False):
        found = {one.finding for one in findings(settings(read([*words, f"{BYPASS}={bypass}"])))}
        assert (Finding.MISMATCH_WINDOW in found) == bypass


def test_the_wide_window_of_tokens_clips_little_of_the_same_mismatch():
    trained, sampler = fresh(0.05)
    outside = ((trained - sampler).exp() - 1).abs() > 0.2
    assert outside.double().mean() < 1e-3 < 1 - math.exp(-1)
