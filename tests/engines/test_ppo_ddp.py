"""PPO in two real processes under DDP: one critic, whose gradients and counts are those of both ranks."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import reference
from entrostat.engines.trl import PREFIX
from entrostat.lab.tasks import make_task
from independent_critic import IndependentCritic


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder, worker = tmp_path_factory.mktemp("ddp"), Path(__file__).parent / "ddp_ppo_worker.py"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(worker)]
    done = subprocess.run([*launch, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_the_critic_of_two_ranks_is_that_of_a_plain_loop_over_both(ranks):
    first, second = (rank["critic"] for rank in ranks)
    assert all(torch.equal(first[k], second[k]) for k in first)
    plain = IndependentCritic(make_task("countdown").base_model, learning_rate=1e-3, clip=0.2, max_grad_norm=1.0)
    for i in range(0, 8, 2):
        tokens = sum(int(rank["rollouts"][i // 4]["completion_mask"].sum()) for rank in ranks)
        window = [(*given, tokens / 2) for rank in ranks for given in rank["updates"][i : i + 2]]
        plain.update(window)
    for name, p in plain.named().items():
        torch.testing.assert_close(first[name], p, rtol=1e-4, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_advantages_are_whitened_over_the_tokens_of_both_ranks(ranks):
    for i in (0, 1):
        advantages, found, aims, missed = [], [], [], []
        for rank in ranks:
            rollout = rank["rollouts"][i]
            mask = rollout["completion_mask"].bool()
            rewards = rollout["rewards"].tolist()
            for reward, values, given, keep in zip(
                rewards, rollout["entrostat_values"], rollout["advantages"], mask, strict=True
            ):
                advantages += reference.gae(reward, values[keep].tolist(), 1.0, 0.9)[0]
                found += given[keep].tolist()
                aims += [reward] * int(keep.sum())
                missed += [reward - v for v in values[keep].tolist()]
        assert found == pytest.approx(reference.whiten(advantages, True), rel=1e-4, abs=1e-5)
        left, total = (sum(x * x for x in reference.whiten(part, False)) for part in (missed, aims))
        for rank in ranks:
            assert rank["log"][i][PREFIX + "explained_variance"] == pytest.approx(1 - left / total, abs=1e-5)


def test_both_ranks_log_one_number(ranks):
    assert ranks[0]["log"] == ranks[1]["log"]
    assert ranks[0]["log"][0][PREFIX + "value_loss"] > 0
