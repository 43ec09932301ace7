"""bench/masks.py: its tables are those of its file, made-up effects are found with their sign, and a run goes on."""

import json
from pathlib import Path

import pytest

from bench_scripts import load

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "masks.jsonl"
SIZES = {"ratio low": 0.1, "ratio high": 0.1, "probability low": 0.02, "probability high": 0.02}


@pytest.fixture(scope="module")
def page():
    return load("masks_page")


@pytest.fixture(scope="module")
def script():
    return load("masks")


def paired(effects, rollouts=8, cell="lr1"):
    """Rollouts whose common part is noisy and whose effects are exact: per arm its change of ln H."""
    for i in range(rollouts):
        noise = 0.05 * (-1) ** i
        arms = {name: [noise + change, 0.03] for name, change in effects.items()}
        yield {
            "kind": "paired",
            "cell": cell,
            "seed": 0,
            "rollout": i,
            "sizes": SIZES,
            "base": [0.0, 1.0],
            "arms": arms,
        }


def walked(brackets, rollouts=8, cell="lr1"):
    for i in range(rollouts):
        sums = {f"{name} {SIZES[name]}": [5.0, b + 0.01 * (-1) ** i, 0.0, 2.0] for name, b in brackets.items()}
        sums["all"] = [100.0, 10.0, 10.0, 50.0]
        yield {"kind": "dropped", "cell": cell, "seed": 0, "rollout": i, "sums": sums}


def test_the_page_is_made_of_its_file(page):
    records = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    text = page.PAGE.read_text()
    assert page.filled(text, records) == text
    with pytest.raises(ValueError, match="must hold <!-- dropped --> and"):
        page.filled(text.replace("<!-- dropped -->", ""), records)


def test_signs_are_those_that_the_records_were_made_with(page):
    effects = {"ratio low": 0.004, "ratio high": -0.002, "probability low": -0.001, "probability high": 0.003}
    brackets = {"ratio low": -1.0, "ratio high": -0.5, "probability low": 0.2, "probability high": 0.6}
    lines = page.effects([*paired(effects), *walked(brackets)]).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    # theorem 1: dropping low tokens changes H by minus their brackets, dropping high ones by plus
    assert [row[4] for row in cells] == ["+", "-", "+", "-", "+", "-", ""]
    assert cells[2][5:] == ["+3.00 [+3.00, +3.00]", "the papers' rule"]
    assert cells[5][5:] == ["-2.00 [-2.00, -2.00]", "turned round"]
    assert cells[6][5].startswith("+5.00")
    # one side alone has the common noise
    assert [cells[row][6] for row in (0, 1, 3, 4)] == ["not decided"] * 4
    assert cells[0][3] == "3.0%"


def test_a_run_goes_on_with_what_the_file_lacks(script, tmp_path):
    out = tmp_path / "masks.jsonl"
    everything = list(script.missing(out))
    kind, cell, seed = everything[1]
    out.write_text(json.dumps({"kind": kind, "cell": cell.name, "seed": seed}) + "\n")
    assert list(script.missing(out)) == everything[:1] + everything[2:]
    assert len({cell.name for _, cell, _ in everything}) == 2
    for cell in script.CELLS:
        for name, method in script.arms(cell).items():
            size = cell.ratio if name.startswith("ratio") else cell.probability
            assert getattr(method, name.split()[1]) == size
