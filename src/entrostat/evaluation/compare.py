"""Two evaluations over the same problems: the difference of each score, paired, with an interval and a p-value."""

from pathlib import Path
from typing import Any

import numpy as np

from entrostat.evaluation.folder import Folder
from entrostat.evaluation.scores import Problems, interval, per_problem, powers

FLIPS = 20_000
EXACT = 14
"""Up to so many problems that differ, all 2^n flips are counted."""


def compare(first: Path, second: Path) -> dict[str, Any]:
    """What `second` scores above `first`, by benchmark that both have, and each measure that both know.

    A JSON-able dict: "a", "b" (the folders), "differ" (settings that are not the same, by benchmark), "benchmarks":
    each measure {"a", "b", "difference", "low", "high", "p"}. The interval is a 95% bootstrap of the problems'
    differences, p that of `sign_flip`; neither is corrected for the number of rows.

    Raises:
        ValueError: a folder that is no finished evaluation, no benchmark in common, or one whose problems differ.
    """
    ours, theirs = _folders(first), _folders(second)
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise ValueError(
            f"{first} has {', '.join(ours)} and {second} has {', '.join(theirs)}: no benchmark in common"
        )
    result: dict[str, Any] = {
        "a": str(first),
        "b": str(second),
        "differ": {},
        "benchmarks": {},
    }
    for name in shared:
        a, b = ours[name], theirs[name]
        if a.record["questions"] != b.record["questions"]:
            raise ValueError(
                f"{a.path} and {b.path} have other problems: only scores of the same ones can be paired"
            )
        result["differ"][name] = [
            key
            for key in a.record
            if key not in ("model", "weights", "entrostat")
            and a.record[key] != b.record.get(key)
        ]
        result["benchmarks"][name] = _differences(*_paired(a, b))
    return result


def sign_flip(differences: np.ndarray, *, seed: int = 0) -> float:
    """Two-sided p-value of a paired permutation test (Fisher 1935): under no difference each problem's sign is a coin.

    The share of sign flips whose mean is at least as far from 0. Exact where few problems differ; else from `FLIPS`
    random ones, the observed among them, so that it is never 0.

    Args:
        differences: (problems,).

    >>> sign_flip(np.array([1.0, 1.0, 1.0, 0.0]))  # 2 of 8
    0.25
    """
    moved = differences[differences != 0]
    if not len(moved):
        return 1.0
    # rounding must not tell flips of equal sums apart
    bar = abs(moved.sum()) * (1 - 1e-9)
    if len(moved) <= EXACT:
        signs = 1 - 2 * (
            np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1
        )
        return float(np.mean(abs(signs @ moved) >= bar))
    rng = np.random.default_rng(seed)
    sums = np.concatenate(
        [
            rng.choice([-1.0, 1.0], size=(1000, len(moved))) @ moved
            for _ in range(FLIPS // 1000)
        ]
    )
    return float((1 + np.sum(abs(sums) >= bar)) / (1 + FLIPS))


def _differences(a: Problems, b: Problems) -> dict[str, dict[str, float]]:
    ks = powers(min(len(a[0]), len(b[0])))
    ours, theirs = per_problem(a, ks), per_problem(b, ks)
    rows = {}
    for name in (name for name in ours if name in theirs):
        apart = theirs[name] - ours[name]
        found = interval(apart)
        means = {"a": float(ours[name].mean()), "b": float(theirs[name].mean())}
        rows[name] = means | {
            "difference": found.pop("value"),
            **found,
            "p": sign_flip(apart),
        }
    return rows


def _folders(path: Path) -> dict[str, Folder]:
    found = {
        each.parent.name: Folder.read(each.parent)
        for each in sorted(path.glob("*/settings.json"))
    }
    if not found:
        raise ValueError(
            f"{path} is no evaluation: give a folder that entrostat evaluate --benchmark made"
        )
    return found


def _paired(a: Folder, b: Folder) -> tuple[Problems, Problems]:
    of_a, of_b = a.samples(), b.samples()
    for folder, found in ((a, of_a), (b, of_b)):
        if len(found) != folder.record["problems"]:
            raise ValueError(
                f"{folder.path} is not finished, {len(found)} of {folder.record['problems']} problems: "
                "give its command again with the same --out"
            )
    return [of_a[key] for key in sorted(of_a)], [of_b[key] for key in sorted(of_a)]
