"""bench/front.py and bench/front_page.py: the runs are ones that `entrostat train` takes, the choice is the best on
validation problems, and the tables are what counting gives."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_scripts import load
from entrostat.cli.train import _parsed

PAGE = load("front_page")


@pytest.fixture(scope="module")
def front():
    return load("front")


@pytest.fixture
def page():
    return PAGE


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
            options, method = _parsed(job.words)
            assert method is not None
            assert options.run.eval_split == ("validation" if job.part == "choice" else "test")
            assert options.run.seed == job.seed


def test_nothing_is_compared_before_its_choice_is_whole(front):
    assert all(job.part != "compared" for job in front.jobs({}))
    known = chosen_at(front, ("clip-lower --low 0.02", "2e-4"))
    assert front.choice(known, "chain", "clip-lower") == ("clip-lower --low 0.02", "2e-4")
    compared = []
    for job in front.jobs(known):
        if job.part == "compared" and job.method == "clip-lower" and job.task == "chain":
            compared.append(job)
    assert {(job.setting, job.rate) for job in compared} == {("clip-lower --low 0.02", "2e-4")}
    assert [job.seed for job in compared] == list(front.SEEDS)
    missing = next(key for key in known if "/clip-lower/" in key and "/chain/" in key)
    del known[missing]
    assert front.choice(known, "chain", "clip-lower") is None


def results(front, solved, *, problems=6):
    """Lines of a whole bench on chain, of three seeds. `solved`: of a method, a horizon and a seed, how many of the
    samples of each problem are right."""
    known = {key: line for key, line in chosen_at(front, ("grpo", "2e-4")).items() if not key.startswith("base/")}
    base = [0, 0, 1, *[1024] * (problems - 3)]
    known["base/chain/grpo/grpo/1e-4/seed0"] = {"correct": base, "samples": 1024}
    for job in front.jobs(known):
        if job.part == "compared" and job.task == "chain" and job.seed < 3:
            scores = {}
            for horizon in (0, *front.HORIZONS):
                counts = [solved(job.method, horizon, job.seed)] * problems
                at = {"1": {"entropy": 0.5, "correct": [0] * problems}, "0.2": {"entropy": 0.1, "correct": counts}}
                scores[str(horizon)] = {"best": "0.2", "by_temperature": at}
            known[job.key] = {"scores": scores}
    return known


def test_the_tables_hold_what_counting_gives(front, page):
    def solved(method, horizon, seed):
        if method == "thermostat" and horizon == 1000:
            return 256
        return 64

    text = page.render(results(front, solved))
    after = text.split("### After 1,000 rollouts")[1].split("###")[0]
    rows = {
        line.split(" | ")[0].removeprefix("| "): line.split(" | ") for line in after.splitlines() if line[:2] == "| "
    }
    assert rows["thermostat"][3] == "1.000 [1.000, 1.000]"
    assert rows["grpo"][3] == "0.250 [0.250, 0.250]"
    # mean@32 over grpo, and the share of pairs of seeds in which it is higher
    assert rows["thermostat"][7] == "+0.750 [+0.750, +0.750]"
    assert rows["thermostat"][9] == "1.000 [1.000, 1.000]"
    assert rows["mai"][9] == "0.500 [0.500, 0.500]"
    # both problems that the base never solves are solved
    assert rows["grpo"][6] == "2.0"
    assert rows["grpo"][2] == "0.500"
    assert "Compared seeds: 3." in text
    # the scores at temperature 1 are all 0, and stand beside
    beside = text.split("### Where it pays")[1]
    thermostat = next(line for line in beside.splitlines() if line.startswith("| thermostat"))
    assert thermostat.split(" | ")[4] == "+0.000 [+0.000, +0.000]"


def test_seeds_that_a_method_lacks_are_not_compared(front, page):
    known = results(front, lambda *_: 64)
    del known[next(key for key in known if key.startswith("compared/chain/mai/") and key.endswith("seed1"))]
    assert "Compared seeds: 2." in page.render(known)


def test_a_bench_without_runs_says_so(page):
    assert page.render({}).count("Nothing is compared yet.") == 2


@given(st.lists(st.integers(0, 4), min_size=2, max_size=5), st.lists(st.integers(0, 4), min_size=2, max_size=5))
def test_the_probability_of_improvement_is_the_share_of_pairs(ours, theirs):
    seeds = min(len(ours), len(theirs))
    ours, theirs = ours[:seeds], theirs[:seeds]
    draws = PAGE.Draws(seeds, 2)
    value, resampled = draws.improvement(np.array(ours, dtype=float), np.array(theirs, dtype=float))
    shares = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(ours, theirs)]
    assert value == pytest.approx(math.fsum(shares) / len(shares))
    assert (resampled >= -1e-12).all() and (resampled <= 1 + 1e-12).all()


def test_resamples_of_seeds_and_problems_are_those_of_the_hierarchical_bootstrap(page):
    """Against the package's own interval, on the same numbers; both are random, so to two percent."""
    from entrostat.estimate import hierarchical_interval

    values = np.random.default_rng(3).random((8, 40))
    low, high = np.quantile(page.Draws(8, 40).means(values), [0.025, 0.975])
    found = hierarchical_interval(values)
    assert low == pytest.approx(found.low, abs=0.01)
    assert high == pytest.approx(found.high, abs=0.01)


def test_a_front_s_area_is_that_of_its_rectangles(page):
    points = np.array([[0.2, 0.9], [0.5, 0.4], [0.4, 0.3]])
    grid = (np.arange(1000) + 0.5) / 1000
    below = np.zeros((1000, 1000), dtype=bool)
    for x, y in points:
        below |= np.outer(grid < x, grid < y)
    assert page.hypervolume(points) == pytest.approx(below.mean(), abs=2e-3)


def test_the_page_in_docs_is_what_the_lines_give(page):
    if page.RESULT.exists():
        assert page.PAGE.read_text() == page.render(page.read(page.RESULT))
    assert re.search(r"front_page\.py", page.render({}))


@pytest.mark.slow
def test_a_run_becomes_its_line_and_is_not_run_again(front, tmp_path, monkeypatch, capsys):
    """The real command, at toy size: a base model, a choice, and a compared run."""
    for name, value in (("HORIZONS", (1, 2, 3)), ("CHOICE_HORIZON", 2), ("PROBLEMS", 4), ("SAMPLES", 8)):
        monkeypatch.setattr(front, name, value)
    monkeypatch.setattr(front, "BASE_SAMPLES", 16)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    jobs = [front.Job("base", "chain", "grpo", "grpo", "1e-4", 0)]
    jobs += [front.Job(part, "chain", "grpo", "grpo", "1e-4", 3) for part in ("choice", "compared")]
    result = tmp_path / "front.jsonl"
    front.train_all(tmp_path / "runs", result, lambda known: jobs, front.measured)
    known = load("training_runs").read(result)
    assert set(known) == {job.key for job in jobs}
    base, choice, compared = (known[job.key] for job in jobs)
    assert base["samples"] == 16
    assert len(base["correct"]) == 4
    assert 0 <= choice["mean@32"] <= choice["pass@32"] <= 1
    assert list(compared["scores"]) == ["0", "1", "2", "3"]
    for scores in compared["scores"].values():
        assert scores["best"] in scores["by_temperature"]
        assert set(scores["by_temperature"]) == set(front.TEMPERATURES)
        assert all(0 <= count <= 8 for at in scores["by_temperature"].values() for count in at["correct"])
    before = result.read_text()
    capsys.readouterr()
    front.train_all(tmp_path / "runs", result, lambda known: jobs, front.measured)
    assert result.read_text() == before
    assert capsys.readouterr().err == ""


def test_a_seed_in_which_a_run_lost_the_task_is_shown_and_left_out_of_one_column(front, page):
    """grpo loses seed 1, below the base model's half."""
    known = results(
        front, lambda method, horizon, seed: 128 if horizon == 0 else 0 if (method, seed) == ("grpo", 1) else 192
    )
    jobs = page.compared(known, "chain")
    rows = {line.split(" | ")[0].strip("| "): line for line in page.seeds(jobs, known, 0.5).splitlines()[2:]}
    assert "0.75, 0.00, 0.75" in rows["grpo"]
    assert rows["thermostat"].endswith("| 0.75, 0.75, 0.75 | +0.000 [+0.000, +0.000] |")
