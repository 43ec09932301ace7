"""Scores against all subsets of a problem's samples, one by one."""

import itertools
from collections import Counter
from statistics import fmean

import numpy as np
import pytest

from entrostat.evaluation.folder import Sample
from entrostat.evaluation.scores import per_problem, powers, scores


def sample(j, answer, score, *, tokens=4, entropy=0.5, ended=True, key="a"):
    return Sample(key, j, "text", tokens, ended, entropy, answer, score, None if score is not None else "timed out")


def problem(*rows, **more):
    return [sample(j, answer, score, **more) for j, (answer, score) in enumerate(rows)]


PROBLEMS = [
    problem(("7", 1.0), ("7", 1.0), ("9", 0.0), ("8", 0.0), ("8", 0.0)),
    problem((None, 0.0), ("1", 0.0), ("2", 1.0), ("3", None), (None, 0.0)),
    problem((None, None), ("4", None), ("4", None), ("5", None), ("6", None)),
    problem(*[("1/2", 1.0)] * 5),
]


def passed(rows):
    return float(any(row.score == 1.0 for row in rows))


def majority(rows):
    votes = Counter(row.answer for row in rows if row.answer is not None and row.score is not None)
    top = [answer for answer, count in votes.items() if count == max(votes.values())]
    right = {row.answer for row in rows if row.score == 1.0}
    return sum(answer in right for answer in top) / len(top) if top else 0.0


@pytest.mark.parametrize("k", [1, 2, 4, 5])
def test_pass_and_majority_over_all_subsets(k):
    found = per_problem(PROBLEMS, [k])
    for i, rows in enumerate(PROBLEMS):
        subsets = list(itertools.combinations(rows, k))
        assert found[f"pass@{k}"][i] == pytest.approx(fmean(map(passed, subsets)), rel=1e-12)
        assert found[f"maj@{k}"][i] == pytest.approx(fmean(map(majority, subsets)), rel=1e-12)


def test_the_table_of_scores():
    found = scores(PROBLEMS)
    assert list(found["pass@k"]) == list(found["maj@k"]) == ["1", "2", "4", "5"]
    assert found["mean@5"]["value"] == pytest.approx((2 + 1 + 0 + 5) / 20)
    assert found["pass@5"] == found["pass@k"]["5"] and found["pass@5"]["value"] == 0.75
    assert (found["not judged"], found["problems"], found["samples"], found["truncated"]) == (6, 4, 5, 0.0)
    assert found["mean@5"]["low"] < found["mean@5"]["value"] < found["mean@5"]["high"]


def test_entropy_is_a_mean_over_tokens_and_length_over_completions():
    rows = [
        problem(("1", 1.0), ("1", 1.0), tokens=1, entropy=3.0),
        problem(("1", 1.0), ("2", 0.0), tokens=9, entropy=1.0),
    ]
    rows[1][1] = rows[1][1]._replace(tokens=3, entropy=2.0, ended=False)
    found = scores(rows)
    assert found["entropy"]["value"] == pytest.approx((3 + 3 + 9 + 6) / (1 + 1 + 9 + 3))
    assert found["tokens"]["value"] == pytest.approx(14 / 4)
    assert found["truncated"] == 0.25


def test_the_interval_of_entropy_is_that_of_a_ratio():
    rng = np.random.default_rng(0)
    rows = [
        problem(("1", 1.0), tokens=int(rng.integers(1, 60)), entropy=float(rng.uniform(0.2, 0.6))) for _ in range(400)
    ]
    found = scores(rows)["entropy"]
    tokens, entropy = np.array([[of[0].tokens, of[0].entropy] for of in rows]).T
    draws = rng.integers(len(rows), size=(4000, len(rows)))
    ratios = (entropy * tokens)[draws].sum(1) / tokens[draws].sum(1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    width = high - low
    assert abs(found["low"] - low) < 0.05 * width and abs(found["high"] - high) < 0.05 * width


def test_no_entropy_where_the_backend_has_none():
    assert scores([problem(("1", 1.0), entropy=None)] * 2)["entropy"] is None


def test_powers():
    assert [powers(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
