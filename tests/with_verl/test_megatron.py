"""verl's Megatron engine on four ranks of a CPU, tensor and pipeline parallel: who calls the loss, and what counts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from settings import HERE, environment, ours
from update_actor import ROWS, batch
from verl.utils.metric import reduce_metrics

from entrostat.engines.verl.metrics import step_means
from entrostat.engines.window import uncrossed
from entrostat.entropy import TokenStats
from entrostat.strategies import RolloutSummary, make_strategy, state_to_json

CORE = Path(sys.prefix) / "megatron-core"
# tensor x pipeline; the ranks that are left are data parallel
LAYOUTS = [(2, 2), (1, 2), (1, 1)]
RANKS = 4
pytestmark = pytest.mark.skipif(not CORE.exists(), reason="make test-verl installs Megatron-Core")


THERMOSTAT = {"hold": "both", "target": "0.6x"}


def steered():
    """A thermostat's state in which it presses."""
    strategy = make_strategy("thermostat", **THERMOSTAT)
    state = strategy.init()
    for progress, entropy in ((0.0, 4.0), (0.1, 1.2)):
        told = {"excess_surprisal": 1.0, "entropy_error": 0.01, "active": 1.0, "updates": 4, "ceiling": 5.6}
        state = strategy.observe(state, RolloutSummary(progress, entropy, **told))
    return strategy, state


@pytest.fixture(scope="module")
def ranks(tiny_model, tmp_path_factory):
    """What each rank made of each layout."""
    folder = tmp_path_factory.mktemp("megatron")
    job = {"model": tiny_model, "out": str(folder / "out"), "layouts": LAYOUTS}
    job |= {"overrides": ours("thermostat", **THERMOSTAT), "state": state_to_json(steered()[1])}
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, str(HERE / "cpu_megatron.py"), str(folder / "job.json")]
    env = environment(PYTHONPATH=f"{HERE}:{CORE}")
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"out-rank{rank}.pt", weights_only=False) for rank in range(RANKS)]


def made(ranks, tensor, pipeline):
    return [rank[f"{tensor}x{pipeline}"] for rank in ranks]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_loss_is_called_on_the_last_stage_and_counted_once_a_replica(ranks, layout):
    tensor, pipeline = layout
    found = made(ranks, *layout)
    callers = [rank for rank, each in enumerate(found) if each["seen"]]
    # Megatron's ranks run through tensor parallel first, then data, then stages
    assert callers == list(range(RANKS - RANKS // pipeline, RANKS))
    sources = [rank for rank, each in enumerate(found) if each["metrics"] is not None]
    assert sources == callers[::tensor]
    # two epochs, micro-batches of one row
    assert all(len(found[rank]["seen"]) == 2 * ROWS // (RANKS // tensor // pipeline) for rank in callers)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_trained_token_counts_once_whatever_the_layout(ranks, layout):
    replicas = RANKS // layout[0] // layout[1]
    trained = batch().batch["response_mask"].sum().item()
    for each in made(ranks, *layout):
        if each["metrics"] is not None:
            # verl means over replicas, so their sum is that many times as large
            tokens = replicas * sum(each["metrics"]["actor/entrostat/sums/tokens"])
            assert tokens == 2 * trained


def test_what_the_driver_logs_is_the_same_under_each_layout(ranks):
    logged = []
    for layout in LAYOUTS:
        for each in made(ranks, *layout):
            if each["metrics"] is not None:
                metrics = reduce_metrics(dict(each["metrics"]))
                logged.append(step_means(metrics) | {"loss": metrics["actor/pg_loss"]})
    assert len(logged) == 1 + 2 + 4
    assert all(logged[0][f"entrostat/{name}"] > 0 for name in ("clip_low", "clip_high", "dropped"))
    for other in logged[1:]:
        assert other == pytest.approx(logged[0], rel=1e-4, abs=1e-6)


def test_the_bounds_are_the_strategys_on_every_rank(ranks):
    strategy, state = steered()
    for layout in LAYOUTS:
        for each in made(ranks, *layout):
            for call in each["seen"]:
                expected = strategy.bounds(state, TokenStats(call["old"], call["entropy"]))
                expected = uncrossed(expected, call["advantages"], call["mask"])
                for got, wanted in zip(call["bounds"], expected, strict=True):
                    assert torch.equal(got[call["mask"]], wanted[call["mask"]])
