"""bypass_mode leaves the loss that was chosen: verl's main_ppo on a CPU, a minute or two for each of its trainers.

Skipped where verl is not installed.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from entrostat.doctor.verl import CORRECTION, LOSS

core = pytest.importorskip("verl.trainer.ppo.core_algos")

from verl.workers.config import FSDPActorConfig  # noqa: E402

RIG = Path(__file__).parents[1] / "with_verl" / "rig"


def metrics_of(loss):
    config = FSDPActorConfig(rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    one = torch.ones(1, 2)
    return loss(
        old_log_prob=-one,
        log_prob=-one,
        advantages=one,
        response_mask=one,
        loss_agg_mode="token-mean",
        config=config,
    )[1]


@pytest.mark.slow
@pytest.mark.parametrize("use_v1", [True, False])
def test_the_workers_keep_the_loss_of_their_configuration(tmp_path, monkeypatch, use_v1):
    """v0 sets loss_mode to bypass_mode on the driver, when the workers have theirs. Its loss logs a clip share, as
    vanilla does; gpg logs none."""
    assert "actor/pg_clipfrac" in metrics_of(core.compute_policy_loss_bypass_mode)
    assert metrics_of(core.compute_policy_loss_gpg) == {}
    monkeypatch.syspath_prepend(RIG)
    from settings import environment

    words = [
        f"{CORRECTION}.bypass_mode=true",
        "actor_rollout_ref.rollout.calculate_log_probs=True",
        f"trainer.use_v1={use_v1}",
    ]
    words += [f"{LOSS}.loss_mode=gpg", "trainer.total_training_steps=1"]
    command = [sys.executable, str(RIG / "main_ppo.py"), str(tmp_path), "1", *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-6000:]
    (logged,) = [json.loads(line)["data"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert logged["actor/grad_norm"] > 0
    assert "actor/pg_clipfrac" not in logged
