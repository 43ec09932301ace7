"""bench/fast_engine.py: its ratio and rates from made-up seconds. Nothing is timed."""

import pytest

from bench_scripts import load


@pytest.fixture(scope="module")
def bench():
    return load("fast_engine")


def test_the_ratio_is_of_each_repeats_sums_and_rates_are_of_all_rollouts(bench):
    found = bench.compared({"trl": [[2.0, 4.0], [1.0, 1.0]], "fast": [[1.0, 1.0], [1.0, 1.0]]})
    assert found["ratios"] == [3.0, 1.0]
    assert found["ratio"] == 2.0
    assert found["rollouts_per_second"] == {"trl": 0.5, "fast": 1.0}
    assert (found["repeats"], found["rollouts"]) == (2, 2)


def test_equal_repeats_have_an_interval_of_no_width(bench):
    found = bench.compared({"trl": [[3.0]] * 4, "fast": [[1.0]] * 4})
    assert found["ratio_95"] == [3.0, 3.0]


def test_the_two_engines_get_the_same_options_and_the_first_rollout_is_left_out(bench, monkeypatch):
    asked = []

    def seconds(engine, folder, **options):
        asked.append((engine, options))
        return [99.0, 1.0, 2.0]

    monkeypatch.setattr(bench, "seconds", seconds)
    found = bench.in_turn(repeats=3, rollouts=3)
    assert found == {engine: [[1.0, 2.0]] * 3 for engine in ("trl", "fast")}
    for turn in (asked[0:2], asked[2:4], asked[4:6]):
        assert {engine for engine, _ in turn} == {"trl", "fast"}
        assert turn[0][1] == turn[1][1]
