import dataclasses
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrostat.schedule import Constant, Cosine, Linear, Piecewise, Schedule, Sine, parse_schedule, step

value = st.floats(-1e6, 1e6)
progress = st.floats(0.0, 1.0)
ALL = [
    Constant(0.3),
    Linear(0.4, 0.1),
    Cosine(0.4, 0.1),
    step(0.3, 0.45, 0.5),
    Piecewise(((0.2, 1.0), (0.6, 2.0))),
    Sine(0.35, -0.07, 40.0),
]


@pytest.mark.parametrize("schedule", [Linear, Cosine])
@given(value, value)
def test_the_ends_are_exact_and_the_middle_is_half_way(schedule, start, end):
    assert schedule(start, end)(0.0) == start
    assert schedule(start, end)(1.0) == end
    assert schedule(start, end)(0.5) == pytest.approx((start + end) / 2, abs=1e-9)


@pytest.mark.parametrize("schedule", [Linear, Cosine])
@given(value, value, progress, progress)
def test_a_ramp_goes_one_way_and_stays_between_its_ends(schedule, start, end, p, q):
    low, high = sorted((p, q))
    first, second = schedule(start, end)(low), schedule(start, end)(high)
    slack = 1e-9 * (1 + abs(start) + abs(end))
    assert (second - first) * (1 if end >= start else -1) >= -slack
    assert min(start, end) - slack <= first <= max(start, end) + slack


def test_linear_is_a_line_and_cosine_half_a_wave():
    for i in range(11):
        p = i / 10
        assert Linear(2.0, 4.0)(p) == pytest.approx(2 + 2 * p)
        assert Cosine(2.0, 4.0)(p) == pytest.approx(3 - math.cos(math.pi * p))


def test_a_step_jumps_at_its_place():
    jump = step(0.3, 0.45, 0.5)
    assert [jump(p) for p in (0.0, 0.499999, 0.5, 1.0)] == [0.3, 0.3, 0.45, 0.45]


@given(st.lists(st.tuples(progress, value), min_size=1, max_size=6), progress)
def test_piecewise_is_linear_between_knots_and_constant_outside(knots, p):
    knots = tuple(sorted(knots, key=lambda knot: knot[0]))
    ours = Piecewise(knots)(p)
    for (x0, y0), (x1, y1) in itertools.pairwise(knots):
        if x0 <= p < x1:
            assert ours == pytest.approx(((x1 - p) * y0 + (p - x0) * y1) / (x1 - x0), abs=1e-6)
            return
    assert ours == (knots[0][1] if p < knots[0][0] else knots[-1][1])


@given(progress, st.floats(0.01, 0.99), value, value)
def test_piecewise_expresses_the_others(p, at, start, end):
    assert Piecewise(((0.0, start), (1.0, end)))(p) == pytest.approx(Linear(start, end)(p), abs=1e-9)
    assert Piecewise(((0.5, start),))(p) == Constant(start)(p)
    assert step(start, end, at)(p) == (start if p < at else end)


def test_a_sine_counts_rollouts_and_starts_upwards():
    wave = Sine(0.35, 0.07, 40.0)
    assert [wave(0.5, k) for k in (0, 20, 40)] == pytest.approx([0.35] * 3, abs=1e-12)
    assert wave(0.0, 10) == pytest.approx(0.42)
    assert wave(0.0, 30) == pytest.approx(0.28)


@pytest.mark.parametrize("schedule", ALL)
def test_a_span_is_what_is_reached_and_not_more(schedule):
    values = [schedule(k / 1000, k) for k in range(1001)]
    assert schedule.span == pytest.approx((min(values), max(values)), rel=1e-5)


@pytest.mark.parametrize("schedule", ALL)
@pytest.mark.parametrize("outside", [-0.01, 1.01, math.nan, math.inf])
def test_progress_outside_the_run_is_an_error(schedule, outside):
    with pytest.raises(ValueError, match=r"progress must be in \[0, 1\]"):
        schedule(outside)


@pytest.mark.parametrize("schedule", ALL)
def test_schedules_are_frozen_values(schedule):
    assert isinstance(schedule, Schedule)
    assert schedule == dataclasses.replace(schedule)
    assert hash(schedule) == hash(dataclasses.replace(schedule))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, dataclasses.fields(schedule)[0].name, 0.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_die_at_construction(bad):
    for build in (
        lambda: Constant(bad),
        lambda: Linear(bad, 1.0),
        lambda: Linear(1.0, bad),
        lambda: Cosine(bad, 1.0),
        lambda: Cosine(1.0, bad),
        lambda: Piecewise(((0.0, 1.0), (0.5, bad))),
        lambda: step(bad, 1.0, 0.5),
        lambda: step(1.0, 0.5, bad),
        lambda: parse_schedule(bad),
        lambda: parse_schedule(f"linear:1:{bad}"),
    ):
        with pytest.raises(ValueError, match="must be"):
            build()


@pytest.mark.parametrize(
    ("knots", "message"),
    [((), "at least one"), (((0.5, 1.0), (0.2, 1.0)), "in order of progress"), (((1.5, 1.0),), r"in \[0, 1\]")],
)
def test_knots_that_make_no_trajectory_die_at_construction(knots, message):
    with pytest.raises(ValueError, match=message):
        Piecewise(knots)


@pytest.mark.parametrize("at", [0.0, 1.0, -0.5, 2.0])
def test_a_step_is_inside_the_run(at):
    with pytest.raises(ValueError, match="between 0 and 1"):
        step(1.0, 2.0, at)


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("0.35", Constant(0.35)),
        (0.35, Constant(0.35)),
        (1, Constant(1.0)),
        ("linear:0.43:0.12", Linear(0.43, 0.12)),
        ("cosine:1:2e-1", Cosine(1.0, 0.2)),
        ("step:0.3:0.45:0.5", step(0.3, 0.45, 0.5)),
        ("sine:0.35:0.07:50", Sine(0.35, 0.07, 50.0)),
        ("piecewise:0:0.3:0.2:0.5", Piecewise(((0.0, 0.3), (0.2, 0.5)))),
    ],
)
def test_the_command_line_s_forms(text, schedule):
    assert parse_schedule(text) == schedule


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "0.8x",
        "linear",
        "linear:1",
        "linear:1:2:3",
        "linear:a:b",
        "sine:1:2",
        "sine:1:2:1",
        "piecewise:0:1:1",
        "Linear:1:2",
        "step:1:2",
        ":1",
    ],
)
def test_another_form_is_refused_with_the_known_ones(text):
    with pytest.raises(ValueError, match=r"a number, linear:A:B, cosine:A:B, step:A:B:AT|period must be"):
        parse_schedule(text)
