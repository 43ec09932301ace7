"""The store of runs: each trained once, by a command that anybody can give, and read back to the last digit."""

import json
import shlex

import pytest

from entrostat.cli import main
from entrostat.lab.config import TrainConfig
from entrostat.lab.methods import make_method
from entrostat.lab.watch import Watcher
from entrostat.reproduce.runs import Job, Records

TINY = {"steps": 2, "prompts": 2, "samples": 4, "updates_per_rollout": 2, "eval_problems": 2, "eval_samples": 2}


class Counting(Watcher):
    def __init__(self):
        self.lines = 0

    def line(self, metrics):
        self.lines += 1


def job(seed=3, **options):
    return Job(make_method("grpo", high=float("inf")), TrainConfig(seed=seed, **{**TINY, "eval_at": (1,), **options}))


def test_a_run_is_trained_once_and_its_command_makes_the_same_run(tmp_path):
    one, store, watcher = job(), Records(tmp_path / "store"), Counting()
    assert one not in store
    assert store.train([one, one], lambda _: watcher)
    assert watcher.lines == 2
    assert Records(tmp_path / "store")[one] == store[one]
    assert Records(tmp_path / "store").train([one], lambda _: pytest.fail("trained again"))
    words = shlex.split(one.command)
    assert words[:2] == ["entrostat", "train"]
    assert main(["train", "--out", str(tmp_path / "again"), *words[2:]]) == 0
    lines = [json.loads(line) for line in (tmp_path / "again" / "metrics.jsonl").read_text().splitlines()]
    record = store[one]
    for name in ("entropy", "reward", "clip_low", "clip_high"):
        assert record[name] == pytest.approx([line[name] for line in lines], abs=1e-5)
    kept = [sum(line[f"{region}/change_kept"] for region in ("E1", "E2", "E3", "E4")) for line in lines]
    assert record["predicted"] == pytest.approx(kept, abs=2e-5)
    assert record["scores"].keys() == {"start", "1", "end"}
    for when, scores in record["scores"].items():
        assert scores["correct"] == json.loads((tmp_path / "again" / f"scores-{when}.json").read_text())["correct"]


def test_what_was_begun_goes_on(tmp_path, monkeypatch):
    store, one = Records(tmp_path), job(steps=3, save_every=1)

    class Stops(Watcher):
        def line(self, metrics):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.train([one], lambda _: Stops())
    assert one not in Records(tmp_path)
    again = Records(tmp_path)
    assert again.train([one], lambda _: Counting())
    assert len(again[one]["entropy"]) == 3


def test_the_base_model_is_scored_once_and_the_runs_are_the_same_for_it(tmp_path):
    first, second, other = job(), job(seed=4), job(seed=4, temperature=0.7)
    alone, store = Records(tmp_path / "alone"), Records(tmp_path / "store")
    assert alone.train([second], lambda _: Counting())
    assert alone.train([other], lambda _: Counting())
    assert store.train([first], lambda _: Counting())
    told = []

    class Statuses(Watcher):
        def status(self, text):
            told.append(text)

    assert store.train([second], lambda _: Statuses())
    scored = [status for status in told if status.startswith("scoring")]
    assert len(scored) == 2, "half way and at the end"
    told.clear()
    assert store.train([other], lambda _: Statuses())
    scored = [status for status in told if status.startswith("scoring")]
    assert len(scored) == 3, "another temperature, other scores"
    for one in (second, other):
        same = [{k: v for k, v in records[one].items() if k != "seconds"} for records in (store, alone)]
        assert same[0] == same[1]


def test_jobs_differ_by_all_that_makes_a_run_differ():
    jobs = [job(), job(seed=4), job(steps=3), Job(make_method("clip-lower"), job().config)]
    assert len({j.command for j in jobs}) == len({j.folder for j in jobs}) == len(jobs)
    assert job().folder == job().folder


@pytest.mark.parametrize("line", ["{", '{"seconds": 1}', "3"])
def test_a_damaged_record_is_named(tmp_path, line):
    (tmp_path / "runs.jsonl").write_text('{"command": "x"}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"runs\.jsonl, line 2, is no record of a run"):
        Records(tmp_path)


def test_scores_are_those_at_the_best_temperature_and_a_record_names_its_engine(tmp_path):
    one, store = job(engine="fast", temperatures=(0.4,)), Records(tmp_path)
    assert store.train([one], lambda _: Watcher())
    record = store[one]
    assert record["engine"] == "fast"
    for when, scores in record["scores"].items():
        written = json.loads((tmp_path / "runs" / one.folder / f"scores-{when}.json").read_text())
        best = "1" if written["best_temperature"] == 1.0 else "0.4"
        assert (scores["temperature"], scores["correct"]) == (
            written["best_temperature"],
            written["by_temperature"][best]["correct"],
        )
        assert scores["entropy"] == pytest.approx(written["entropy"], abs=1e-5)
