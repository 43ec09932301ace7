"""What is written of a checked claim: under which name, and trained by what."""

import json
from pathlib import Path

from entrostat.reproduce import CLAIMS, Mode
from entrostat.reproduce.command import check

RECORDS = Path(__file__).parents[2] / "docs" / "results" / "reproduce" / "runs.jsonl"


def test_a_check_over_fewer_seeds_does_not_take_the_place_of_the_full_one(tmp_path):
    check([CLAIMS["a1"]], Mode(), tmp_path)
    full = (tmp_path / "a1.json").read_bytes()
    check([CLAIMS["a1"]], Mode(seeds=2), tmp_path)
    check([CLAIMS["a1"]], Mode(fast=True, seeds=3), tmp_path)
    assert (tmp_path / "a1.json").read_bytes() == full
    names = {path.name: json.loads(path.read_text())["command"] for path in tmp_path.glob("*.json")}
    assert names == {
        "a1.json": "entrostat reproduce a1",
        "a1.seeds2.json": "entrostat reproduce a1 --seeds 2",
        "a1.fast.seeds3.json": "entrostat reproduce a1 --fast --seeds 3",
    }


def test_versions_are_those_that_trained_the_runs(tmp_path):
    records = [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]
    records[-1]["entrostat"] = "0.0.9"
    for record in records:
        record["versions"] = {"torch": "2.0", "transformers": "4.0", "trl": "0.9"}
        if "--dump-every 10 grpo" in record["command"] and "--seed 1" in record["command"]:
            record["versions"]["trl"] = "1.0"
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (result,) = check([CLAIMS["a3"]], Mode(), tmp_path)
    assert result["versions"] == {"entrostat": "0.1.0", "torch": "2.0", "transformers": "4.0", "trl": "0.9 and 1.0"}
