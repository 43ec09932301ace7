"""Verdicts from numbers over seeds: where the interval lies decides, and nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrostat.reproduce.judge import above, below, conclude, differences, undecided, within

SOME = st.lists(st.floats(-1, 1), min_size=2, max_size=6)


def t_interval(values):
    """Student's t by its table: 2 to 5 degrees of freedom are enough here."""
    t = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706}[len(values) - 1]
    mean = math.fsum(values) / len(values)
    half = t * math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
    return mean, mean - half, mean + half


@given(SOME, st.sampled_from([0.0, 0.1, -0.3]))
def test_a_side_holds_or_fails_by_its_interval(values, bound):
    mean, low, high = t_interval(values)
    if min(abs(low - bound), abs(high - bound)) < 1e-3:
        return  # the table's rounding decides there
    part = above("x", values, bound)
    assert part.verdict == ("holds" if low > bound else "fails" if high < bound else "undecided")
    assert part.interval == pytest.approx((mean, low, high), abs=1e-4)
    mirrored = below("x", [-v for v in values], -bound)
    assert mirrored.verdict == part.verdict
    assert mirrored.right == part.right == (mean > bound)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.01, -0.01, 0.0], "holds"),
        ([0.2, 0.21, 0.22], "fails"),
        ([-0.2, -0.21, -0.22], "fails"),
        ([0.09, 0.11, 0.1], "undecided"),
        ([0.5, -0.5, 0.0], "undecided"),
    ],
)
def test_within_a_margin(values, verdict):
    assert within("x", values, 0.1).verdict == verdict


def test_a_claim_needs_all_its_parts():
    yes, no, maybe = above("a", [1.0, 1.1]), above("b", [-1.0, -1.1]), above("c", [1.0, -1.1])
    assert [part.verdict for part in (yes, no, maybe)] == ["holds", "fails", "undecided"]
    assert conclude([yes, yes]).verdict == "holds"
    assert conclude([yes, maybe]).verdict == "undecided"
    assert conclude([yes, maybe, no]).verdict == "fails"
    assert conclude([yes, no]).interval == yes.interval


def test_short_runs_decide_nothing_and_count_signs():
    yes, no = above("a", [1.0, 1.1]), above("b", [-1.0, -1.1])
    found = undecided(conclude([yes, no], {"x": 1.0}))
    assert found.verdict == "undecided"
    assert [part.verdict for part in found.parts] == ["undecided", "undecided"]
    assert found.numbers == {"parts whose mean is where it is wanted": "1 of 2", "x": 1.0}
    assert found.effect == pytest.approx(1.05)


def test_differences_are_paired_and_of_one_length():
    assert differences([3.0, 5.0], [1.0, 1.0]) == [2.0, 4.0]
    with pytest.raises(ValueError, match="longer"):
        differences([1.0], [1.0, 2.0])


def test_a_run_without_a_number_leaves_its_part_undecided():
    parts = [above("known", [1.0, 1.1]), above("unknown", [1.0, math.nan]), within("unknown", [math.nan, 0.0], 1.0)]
    assert [part.verdict for part in parts] == ["holds", "undecided", "undecided"]
    assert not parts[1].right
    assert conclude(parts).verdict == "undecided"
