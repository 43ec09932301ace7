"""bench/front.py: its runs are ones that `entrostat train` takes, and its choice is the best on validation problems."""

import importlib.util
from pathlib import Path

import pytest

from entrostat.cli.train import _parsed

PATH = Path(__file__).parents[1] / "bench" / "front.py"


@pytest.fixture(scope="module")
def front():
    spec = importlib.util.spec_from_file_location("front", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def chosen_at(front, best):
    """Lines of a finished choice in which `best`, (setting, rate), scores highest."""
    known = {}
    for job in front.jobs({}):
        score = 0.9 if (job.setting, job.rate) == best else 0.5
        known[job.key] = {"mean@32": score}
    return known


def test_every_run_is_one_that_train_takes(front):
    jobs = list(front.jobs(chosen_at(front, ("grpo", "2e-4"))))
    assert len({job.key for job in jobs}) == len(jobs)
    for job in jobs:
        if job.seed in (front.CHOICE_SEEDS[0], front.SEEDS[0]):
            options, method = _parsed([*job.words, *job.setting.split()])
            assert method is not None
            assert options.run.eval_split == ("validation" if job.chooses else "test")
            assert options.run.seed == job.seed


def test_nothing_is_compared_before_its_choice_is_whole(front):
    assert all(job.chooses for job in front.jobs({}))
    known = chosen_at(front, ("clip-lower --low 0.02", "4e-4"))
    assert front.choice(known, "chain", "clip-lower") == ("clip-lower --low 0.02", "4e-4")
    compared = [
        job for job in front.jobs(known) if not job.chooses and job.method == "clip-lower" and job.task == "chain"
    ]
    assert {(job.setting, job.rate) for job in compared} == {("clip-lower --low 0.02", "4e-4")}
    assert [job.seed for job in compared] == list(front.SEEDS)
    missing = next(key for key in known if "/clip-lower/" in key and "/chain/" in key)
    del known[missing]
    assert front.choice(known, "chain", "clip-lower") is None
