"""The engine on parameters that torch's FSDP2 has sharded over two ranks, on gloo; and a sharded LM head by itself."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from entrostat.engines.lm_head import HeadSums

LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder, worker = tmp_path_factory.mktemp("fsdp"), Path(__file__).parent / "fsdp_worker.py"
    env = {k: v for k, v in os.environ.items() if k not in LAUNCHED}
    both = [
        subprocess.Popen(
            [sys.executable, str(worker), str(folder), str(rank)], env=env, stderr=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    for one in both:
        _, err = one.communicate()
        assert one.returncode == 0, err[-3000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def gap(a, b):
    return max(float((a["weights"][k] - b["weights"][k]).abs().max()) for k in b["weights"])


def test_constant_bounds_are_stock_trl_on_a_sharded_model(ranks):
    for rank in ranks:
        assert any("lm_head" in name or "embed_tokens" in name for name in rank["constant"]["sharded"])
        assert gap(rank["constant"], rank["stock"]) <= 1e-6
        assert sum(line["entrostat/clip_high"] + line["entrostat/clip_low"] for line in rank["constant"]["log"]) > 0
    assert gap(ranks[0]["constant"], ranks[1]["constant"]) == 0


def test_full_vocabulary_sums_are_off_under_a_sharded_lm_head_and_named_otherwise(ranks):
    for line in ranks[0]["constant"]["log"]:
        assert not any("change" in key for key in line)
        assert {f"entrostat/E{i}/own_term_{what}" for i in range(1, 5) for what in ("kept", "clipped")} <= line.keys()


def test_a_thermostat_acts_on_a_sharded_model_and_its_state_travels(ranks):
    for rank in ranks:
        assert gap(rank["thermostat"], rank["stock"]) > 1e-5
        assert rank["state"]["state"]["rollouts"] == 3
        assert rank["loaded"] == rank["state"]
    assert ranks[0]["state"] == ranks[1]["state"]


@pytest.mark.parametrize("shape", [(0,), (7 * 4,), (7, 2)], ids=["zero-3", "fsdp1", "tensor parallel"])
def test_a_weight_that_is_not_whole_gives_no_sums(shape):
    head = SimpleNamespace(weight=nn.Parameter(torch.zeros(shape)))
    states, ids = torch.randn(2, 6, 4), torch.zeros(2, 3, dtype=torch.long)
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert HeadSums().at_tokens(head, states, ids, torch.zeros(2, 3), mask, 1.0) is None
