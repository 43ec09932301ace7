"""Claims on paired branches: their command, their record, and what is read off it."""

import json
import shlex
from pathlib import Path

import pytest

from entrostat.cli import main
from entrostat.lab.watch import Watcher
from entrostat.reproduce import Mode
from entrostat.reproduce.effects import EPS, NONE, EffectJob, change, effect, halves, level, one_sided, regime
from entrostat.reproduce.runs import Records

ROUNDED = 2e-8
"""What eight digits of ln H, in a record, leave of a difference."""


class Counting(Watcher):
    def __init__(self):
        self.lines = 0

    def line(self, metrics):
        self.lines += 1


def test_a_measurement_is_made_once_and_its_command_makes_the_same(tmp_path, capsys):
    job = EffectJob(regime(Mode(fast=True)), (NONE, *one_sided(0.0125)), 2)
    store, watcher = Records(tmp_path / "store"), Counting()
    assert job not in store
    assert store.train([job], lambda _: watcher)
    assert watcher.lines == job.rollouts == 4
    again = Records(tmp_path / "store")
    assert again.train([job], lambda _: pytest.fail("measured again"))
    record = again[job]
    assert (record["engine"], len(record["rows"])) == ("fast", 4)
    words = shlex.split(job.command)
    assert words[:2] == ["entrostat", "effect"]
    assert main(["effect", "--json", "--out", str(tmp_path / "again"), *words[2:]]) == 0
    found = json.loads(capsys.readouterr().out)
    low, high = (effect(record["rows"], arm) for arm in (1, 2))
    for name, values in zip(("low", "high"), (low, high), strict=True):
        (said,) = [each for each in found["effects"] if each["name"] == f"{name} 0.0125 alone"]
        assert said["log_entropy"]["value"] == pytest.approx(sum(values) / 2, abs=ROUNDED)
    (odd,) = [each for each in found["effects"] if each["name"].startswith("odd part")]
    assert odd["log_entropy"]["value"] == pytest.approx(sum(halves(low, high)[0]) / 2, abs=ROUNDED)
    assert found["drift"]["value"] == pytest.approx(sum(change(record["rows"], 0)) / 2, abs=ROUNDED)


def test_numbers_are_means_of_each_seed():
    branch = lambda h, kl: [h, 0.4, kl, 0.05, 0.0, 0.0, 1.0]  # noqa: E731
    rows = [
        {"seed": 7, "rollout": 0, "before": 1.0, "branches": [branch(1.5, 0.1), branch(1.25, 0.2)]},
        {"seed": 7, "rollout": 1, "before": 2.0, "branches": [branch(2.0, 0.1), branch(2.75, 0.4)]},
        {"seed": 8, "rollout": 0, "before": 0.0, "branches": [branch(0.0, 0.1), branch(-1.0, 0.6)]},
    ]
    assert effect(rows, 1) == [0.25, -1.0]
    assert change(rows, 0) == [0.25, 0.0]
    assert level(rows, 1, "kl") == pytest.approx([0.3, 0.6])
    assert halves([0.5], [-0.25]) == ([0.375], [0.125])


def test_the_regime_of_claims_is_the_one_that_the_rule_takes_from_the_map():
    """The rule stands in `effects`; the map is docs/results/regime.json."""
    cells = json.loads((Path(__file__).parents[2] / "docs" / "results" / "regime.json").read_text())["cells"]
    ruled: dict[float, list[tuple[float, float]]] = {}
    for cell in cells:
        point = cell["point"]
        if point["prompts"] * point["samples"] != 1024:
            continue
        parts = {each["name"]: each["log_entropy"]["value"] for each in cell["measured"]["effects"]}
        for eps in cell["eps"]:
            odd, even = parts[f"odd part of {eps:g}"], parts[f"even part of {eps:g}"]
            if odd >= 3 * abs(even):
                ruled.setdefault(point["learning_rate"], []).append((odd, eps))
    rate = max(ruled)
    assert (rate, max(ruled[rate])[1]) == (regime(Mode()).learning_rate, EPS)
