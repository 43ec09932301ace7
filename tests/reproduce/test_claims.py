"""Claims on runs, judged in made-up worlds: each holds where the papers are right, and fails the other way round."""

import json
from math import log

import numpy as np
import pytest

from entrostat.reproduce import CLAIMS, Mode
from entrostat.reproduce.claims import b1
from entrostat.reproduce.claims.a5 import slopes
from entrostat.reproduce.claims.b1 import REGIONS, SIGNS
from entrostat.reproduce.effects import EffectJob
from entrostat.reproduce.inner_product import Products
from made_up_world import World

WITHOUT_RUNS = CLAIMS["a1"].jobs
ON_RUNS = [name for name, claim in CLAIMS.items() if claim.jobs is not WITHOUT_RUNS]


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    """b1's inner products on the base model are a test of their own; here the world has them too."""

    def made_up(seed):
        rng = np.random.default_rng(seed)
        region = rng.integers(1, 5, 400)
        sign = np.array([0, *(SIGNS[r] for r in REGIONS)])[region]
        estimate = sign * rng.random(400)
        return Products(estimate + 0.1 * rng.standard_normal(400), estimate, region, np.repeat(np.arange(100), 4))

    monkeypatch.setattr(b1, "products", made_up)


@pytest.mark.parametrize("name", ON_RUNS)
def test_it_holds_where_the_papers_are_right(name, tmp_path):
    found = CLAIMS[name].judge(Mode(), World(tmp_path))
    assert found.verdict == "holds", [part for part in found.parts if part.verdict != "holds"]


@pytest.mark.parametrize("name", ON_RUNS)
def test_it_fails_the_other_way_round(name, tmp_path):
    found = CLAIMS[name].judge(Mode(), World(tmp_path, right=False))
    assert found.verdict == "fails"


@pytest.mark.parametrize("name", ON_RUNS)
@pytest.mark.parametrize("fast", [False, True])
def test_its_runs_are_commands_of_their_own_and_its_report_is_json(name, fast, tmp_path):
    claim, world, mode = CLAIMS[name], World(tmp_path), Mode(fast)
    jobs = claim.jobs(mode, world)
    assert len({job.folder for job in jobs}) == len({job.command for job in jobs})
    seeds = {seed for job in jobs for seed in (range(job.seeds) if isinstance(job, EffectJob) else [job.config.seed])}
    assert len(seeds) >= (2 if fast else 3)
    json.dumps(claim.report(claim.judge(mode, world)), allow_nan=False)


def test_the_slope_over_a_ladder_is_least_squares():
    # H = 2 - 3 ln(value) for one seed, 1 + ln(value) for the other
    values = [0.05, 0.1, 0.4]
    found = slopes(values, [[2 - 3 * log(v), 1 + log(v)] for v in values])
    assert found == pytest.approx([-3.0, 1.0])
