"""verl.trainer.main_ppo under a thermostat, on two ranks: what is observed, who knows of it, and a resumed run.

Each run takes about a minute on two quiet cores, so tests share them.
"""

import shutil

import pytest
import torch
from runs import RECORDED, calls, main_ppo, metrics, parameters, same, state
from settings import ACTOR, MODE, STEPS, ours

from entrostat import dump

THERMOSTAT = (MODE, *ours("thermostat", target="0.6x", hold="both", rate=0.5), f"+{ACTOR}.policy_loss.dump_every=2")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def thermostat(folder):
    """Three steps; the ranks write down what they were told."""
    work = folder / "thermostat"
    work.mkdir()
    return main_ppo(work, 2, *THERMOSTAT, f"{STEPS}=3", RIG_LOG=str(work), VERL_USE_EXTERNAL_MODULES=RECORDED)


@pytest.fixture(scope="session")
def resumed(folder, thermostat):
    """The same run, killed after its second checkpoint, as far as its folder can tell, and started again."""
    work = folder / "resumed"
    for step in (1, 2):
        shutil.copytree(thermostat / f"ckpt/global_step_{step}", work / f"ckpt/global_step_{step}")
    shutil.copytree(thermostat / "ckpt/entrostat_dumps", work / "ckpt/entrostat_dumps")
    (work / "ckpt/latest_checkpointed_iteration.txt").write_text("2")
    return main_ppo(work, 2, *THERMOSTAT, f"{STEPS}=3", RIG_LOG=str(work), VERL_USE_EXTERNAL_MODULES=RECORDED)


def test_its_windows_reach_the_loss(thermostat):
    """It drops tokens before they move, which no constant window of positive widths does (test_main_ppo.py)."""
    assert max(row["entrostat/dropped"] for row in metrics(thermostat).values()) > 0


def test_the_controller_observes_once_a_step_and_all_ranks_have_its_state(thermostat):
    told = [calls(thermostat, rank) for rank in (0, 1)]
    for step in (0, 1, 2):
        states = [call["state"] for rank in told for call in rank if call["step"] == step]
        # 16 completions, two epochs, micro-batches of 2 on each of two ranks
        assert len(states) == 16
        assert all(each == states[0] == state(thermostat, step + 1)["state"] for each in states)
        assert states[0]["rollouts"] == states[0]["measured"] == step + 1


def test_the_entropy_observed_is_the_mean_over_the_tokens_of_all_ranks(thermostat):
    """From the dumps, which the ranks write of what their own loss calls were given."""
    folder = thermostat / "ckpt/entrostat_dumps"
    for step in (0, 2):
        assert [path.name for path in sorted(folder.glob(f"step-{step:06d}*"))] == [
            dump.file_name(step, rank, 2) for rank in (0, 1)
        ]
        rows, tokens = [], []
        for rank in (0, 1):
            for batch in dump.read(folder / dump.file_name(step, rank, 2)):
                rows += batch.to_pylist()
                values = dump.per_token(batch)
                tokens.append({name: torch.tensor(values[name]) for name in ("update", "old_entropy", "clipped")})
        # four mini-batches' updates: each completion once an epoch
        assert sorted(row["sample"] for row in rows) == sorted([*range(16), *range(16)])
        assert sorted({row["update"] for row in rows}) == [0, 1, 2, 3]
        assert len({row["group"] for row in rows}) == 4
        assert all(row["prompt"].endswith("assistant\n") for row in rows)
        whole = {name: torch.cat([each[name] for each in tokens]) for name in tokens[0]}
        logged = metrics(thermostat)[step + 1]
        first = whole["update"] < 2
        assert logged["entrostat/entropy"] == pytest.approx(
            whole["old_entropy"][first].double().mean().item(), abs=1e-6
        )
        assert logged["entrostat/clip_low"] == pytest.approx((whole["clipped"] < 0).double().mean().item(), abs=1e-9)
        above = logged["entrostat/clip_high"] + logged["entrostat/clip_dual"]
        assert above == pytest.approx((whole["clipped"] > 0).double().mean().item(), abs=1e-9)
        if step == 0:
            assert state(thermostat, 1)["state"]["initial_entropy"] == pytest.approx(logged["entrostat/entropy"])


@pytest.mark.slow
def test_a_resumed_run_goes_on_exactly(thermostat, resumed):
    assert [call["step"] for call in calls(resumed, 0)] == [2] * 8
    assert state(thermostat, 3) == state(resumed, 3)
    assert calls(resumed, 0)[0]["state"] == state(thermostat, 3)["state"]
    assert same(parameters(thermostat, 3, 2), parameters(resumed, 3, 2))
    names = [path.name for path in sorted((resumed / "ckpt/entrostat_dumps").iterdir())]
    assert names == [path.name for path in sorted((thermostat / "ckpt/entrostat_dumps").iterdir())]
