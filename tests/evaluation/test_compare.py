"""The comparison against full enumeration, on folders that hold made-up samples."""

import itertools
import json
from math import erfc, sqrt

import numpy as np
import pytest

from entrostat.cli import main
from entrostat.data.benchmarks import Benchmark, Question
from entrostat.evaluation.compare import compare, sign_flip
from entrostat.evaluation.folder import Folder, Sample
from entrostat.evaluation.settings import Settings


def made_up(out, right, *, samples=4, name="b", problem="p", **settings):
    """An evaluation in which problem i has right[i] right samples."""
    questions = tuple(Question(str(i), f"{problem} {i}", "1") for i in range(len(right)))
    benchmark = Benchmark(name, questions, "math", "boxed")
    folder = Folder.open(out / name, Settings("m", samples, **settings).record(benchmark))
    with folder.started():
        for i in reversed(range(len(right))):
            rows = [
                Sample(
                    str(i), j, "", 5 + i, True, 0.1 * (i + 1), "1" if j < right[i] else "2", float(j < right[i]), None
                )
                for j in range(samples)
            ]
            folder.save(i, rows)
    return out


@pytest.mark.parametrize(
    "differences", [[0.5, -0.25, 0.0, 1.0], [0.1] * 5, [0.1, -0.1], [0.0, 0.0], [0.3, 0.3, -0.6, 0.1]]
)
def test_sign_flips_one_by_one(differences):
    observed = abs(sum(differences))
    flips = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product([1, -1], repeat=len(differences))
    ]
    share = sum(total >= observed - 1e-12 for total in flips) / len(flips)
    assert sign_flip(np.array(differences)) == pytest.approx(share, rel=1e-12)


def test_many_sign_flips_are_drawn():
    rng = np.random.default_rng(1)
    noise = rng.normal(size=200)
    z = noise.sum() / np.sqrt((noise**2).sum())
    # the flips' sum is normal for so many, so p is that of a z test, within the draws' own noise
    assert sign_flip(noise) == pytest.approx(erfc(abs(z) / sqrt(2)), abs=0.015)
    assert 0 < sign_flip(noise + 3) < 1e-4


def test_differences_are_b_less_a_over_the_same_problems(tmp_path):
    a, b = made_up(tmp_path / "a", [0, 1, 2, 4]), made_up(tmp_path / "b", [1, 1, 4, 4])
    rows = compare(a, b)["benchmarks"]["b"]
    assert rows["mean"]["a"] == pytest.approx(7 / 16) and rows["mean"]["b"] == pytest.approx(10 / 16)
    assert rows["mean"]["difference"] == pytest.approx(3 / 16)
    assert rows["mean"]["low"] <= 3 / 16 <= rows["mean"]["high"]
    assert rows["mean"]["p"] == 0.5  # two differ, of one sign: 2 of 4 flips
    assert rows["pass@4"]["difference"] == pytest.approx(0.25)
    assert rows["entropy"]["difference"] == rows["tokens"]["difference"] == 0
    assert compare(b, a)["benchmarks"]["b"]["mean"]["difference"] == pytest.approx(-3 / 16)


def test_other_numbers_of_samples_meet_at_the_smaller(tmp_path):
    a, b = made_up(tmp_path / "a", [0, 1, 2], samples=2), made_up(tmp_path / "b", [1, 1, 4], seed=3)
    found = compare(a, b)
    assert [name for name in found["benchmarks"]["b"] if name.startswith("pass")] == ["pass@1", "pass@2"]
    assert found["differ"] == {"b": ["samples", "seed"]}


def test_what_can_not_be_compared(tmp_path):
    a = made_up(tmp_path / "a", [0, 1, 2])
    with pytest.raises(ValueError, match="other problems"):
        compare(a, made_up(tmp_path / "b", [0, 1, 2], problem="q"))
    with pytest.raises(ValueError, match="no benchmark in common"):
        compare(a, made_up(tmp_path / "c", [0, 1, 2], name="other"))
    with pytest.raises(ValueError, match="is no evaluation"):
        compare(a, tmp_path)
    half = made_up(tmp_path / "d", [0, 1, 2])
    (half / "b" / "000001.parquet").unlink()
    with pytest.raises(ValueError, match="is not finished, 2 of 3"):
        compare(a, half)


def test_the_command(tmp_path, capsys):
    a, b = made_up(tmp_path / "a", [0, 1, 2]), made_up(tmp_path / "b", [1, 1, 4])
    assert main(["evaluate", "--compare", str(a), str(b), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["benchmarks"]["b"]["mean"]["difference"] == pytest.approx(0.25)
    assert main(["evaluate", "--compare", str(a), str(b)]) == 0
    assert "maj@4" in capsys.readouterr().out
    assert main(["evaluate", "--compare", str(a), str(tmp_path / "none")]) == 2
