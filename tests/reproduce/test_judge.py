"""Verdicts from numbers over seeds: where the interval lies decides, and nothing else."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrostat.estimate import REAL, least_effect
from entrostat.reproduce.judge import (
    FEWEST,
    SHARE,
    SIGNED,
    above,
    below,
    conclude,
    differences,
    spread,
    undecided,
    within,
)

SOME = st.lists(st.floats(-1, 1), min_size=FEWEST, max_size=6)


def t_interval(values):
    """Student's t by its table: 2 to 5 degrees of freedom are enough here."""
    t = {2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706}[len(values) - 1]
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
    assert part.interval[:3] == pytest.approx((mean, low, high), abs=1e-4)
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
    yes, no = above("a", [1.0, 1.1, 1.2]), above("b", [-1.0, -1.1, -1.2])
    maybe = above("c", [1.0, -1.1, 0.1])
    assert [part.verdict for part in (yes, no, maybe)] == ["holds", "fails", "undecided"]
    assert conclude([yes, yes]).verdict == "holds"
    assert conclude([yes, maybe]).verdict == "undecided"
    assert conclude([yes, maybe, no]).verdict == "fails"
    assert conclude([yes, no]).interval == yes.interval


def test_short_runs_decide_nothing_and_count_signs():
    yes, no = above("a", [1.0, 1.1, 1.2]), above("b", [-1.0, -1.1, -1.2])
    found = undecided(conclude([yes, no], {"x": 1.0}))
    assert found.verdict == "undecided"
    assert [part.verdict for part in found.parts] == ["undecided", "undecided"]
    assert found.numbers == {"parts whose mean is where it is wanted": "1 of 2", "x": 1.0}
    assert found.effect == pytest.approx(1.1)


def test_differences_are_paired_and_of_one_length():
    assert differences([3.0, 5.0], [1.0, 1.0]) == [2.0, 4.0]
    with pytest.raises(ValueError, match="longer"):
        differences([1.0], [1.0, 2.0])


def test_a_run_without_a_number_leaves_its_part_undecided():
    parts = [
        above("known", [1.0, 1.1, 1.2]),
        above("unknown", [1.0, 1.0, math.nan]),
        within("unknown", [math.nan] * 3, 1.0),
    ]
    assert [part.verdict for part in parts] == ["holds", "undecided", "undecided"]
    assert not parts[1].right
    assert conclude(parts).verdict == "undecided"


@given(SOME, st.floats(-0.5, 0.5), st.sampled_from([above, below, within]), st.sampled_from([REAL, SIGNED]))
@example([0.2, 0.3, 0.9], 0.1, above, SIGNED)  # off the middle the two half-widths differ
@example([-0.2, -0.3, -0.9], -0.1, below, SIGNED)
def test_the_margin_says_what_the_verdict_says(values, bound, check, limits):
    part = check("x", values, abs(bound) + 0.01 if check is within else bound, limits=limits)
    if abs(abs(part.margin) - 1) < 1e-6:
        return  # rounding decides there
    assert part.verdict == ("holds" if part.margin > 1 else "fails" if part.margin < -1 else "undecided")
    assert part.right == (part.margin > 0)


def test_the_margin_is_in_half_widths_on_the_side_of_the_bound():
    found = spread([0.5, 0.7, 0.9], limits=SHARE)
    half = found.value - found.low
    assert half > 1.5 * (found.high - found.value)
    assert above("x", found.points, 0.4, limits=SHARE).margin == pytest.approx((found.value - 0.4) / half)
    assert below("x", found.points, 0.4, limits=SHARE).margin == pytest.approx(-(found.value - 0.4) / half)


def test_a_claim_turns_on_the_part_furthest_on_the_wrong_side():
    own = above("own", [1.0, 1.1, 1.2])
    bad, worse = below("bad", [0.5, 0.6, 0.7]), below("worse", [0.5, 0.51, 0.52])
    assert worse.margin < bad.margin < -1
    # the interval nearer to the wrong side decides, whatever the size of the mean
    near, far = above("near", [-0.1, 0.0, 0.15]), above("far", [-8.0, 1.0, 1.0])
    assert far.margin < near.margin < 1

    def deciding(*parts):
        part = conclude(parts).deciding
        return part and part.what

    assert deciding(own, above("other", [5.0, 5.1, 5.2])) == "own"
    assert deciding(own, near, bad, worse) == "worse"
    assert deciding(own, near, far) == "far"
    assert deciding(own, above("unknown", [math.nan] * 3), near) == "near"
    assert deciding(own, above("unknown", [math.nan] * 3)) == "unknown"
    none_at_all = above("none at all", [0.0, 0.0, 0.0], 1.0)
    assert none_at_all.margin == -math.inf
    assert deciding(own, bad, none_at_all) == "none at all"


def test_of_short_runs_too_a_part_decides():
    own, bad = above("own", [1.0, 1.1, 1.2]), below("bad", [0.5, 0.6, 0.7])
    part = undecided(conclude([own, bad])).deciding
    assert part is not None
    assert part.what == "bad"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.01, 0.99))
def test_a_share_s_interval_is_one_of_shares(values, bound):
    part = above("share", values, bound, limits=SHARE)
    if len(values) < FEWEST:
        assert math.isnan(part.interval.low)
    else:
        assert 0 <= part.interval.low <= part.interval.value <= part.interval.high <= 1
    assert part.interval.points == tuple(values)


@pytest.mark.parametrize(
    ("values", "limits"),
    [([1.0, 1.0, 1.0], SHARE), ([0.0, 0.0, 0.0, 0.0], SHARE), ([-1.0] * 3, SIGNED), ([0.0] * 3, (0.0, math.inf))],
)
def test_the_ends_of_a_range_are_points(values, limits):
    found = spread(values, limits=limits)
    assert found[:3] == (values[0],) * 3


def test_a_bound_at_the_end_of_the_range_is_no_question():
    with pytest.raises(ValueError, match=r"share: a bound has to lie inside \(0.0, 1.0\), got 0"):
        above("share", [0.1, 0.2, 0.3], 0.0, limits=SHARE)


@pytest.mark.parametrize("values", [[1.0], [1.0, 1.1]])
def test_one_or_two_seeds_are_shown_and_decide_nothing(values):
    for check in (above, below):
        part = check("x", values)
        assert part.verdict == "undecided"
        assert part.interval.value == pytest.approx(sum(values) / len(values))
        assert part.interval.points == tuple(values)
        assert all(map(math.isnan, (part.interval.low, part.interval.high, part.least, part.margin)))
    assert above("x", values).right


def test_a_part_says_the_least_distance_that_it_could_have_found():
    values = [0.9, 1.0, 1.3, 1.1]
    assert above("x", values, 0.7).least == below("x", values).least == least_effect(values)
    assert above("x", [1.0, 1.0, 1.0]).least == 0
    assert math.isnan(above("x", [1.0, 1.0, math.nan]).least)
