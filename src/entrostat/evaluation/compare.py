"""Two evaluations over the same problems, compared problem by problem.

Each score's difference has an interval and a p-value, both of which are paired.
"""

from pathlib import Path
from typing import Any

import numpy as np

from entrostat.evaluation.folder import Folder
from entrostat.evaluation.scores import Problems, interval, per_problem, powers

FLIPS = 20_000
FLIPS_AT_A_TIME = 1000
"""What bounds the memory: (flips, problems) signs."""
EXACT = 14
"""Up to so many problems that differ, all 2^n flips are counted."""
NOT_COMPARED = ("model", "weights", "entrostat")
"""Settings that may differ: they are what is compared."""


def compare(first: Path, second: Path) -> dict[str, Any]:
    """What `second` scores above `first`, by benchmark and measure that both have.

    A JSON-able dict: "a" and "b", the folders; "differ", the settings that are not the
    same, by benchmark; "benchmarks", by name each measure as {"a", "b", "difference",
    "low", "high", "p"}. The interval is a 95% bootstrap of the problems' differences, p
    that of `sign_flip`; neither is corrected for the number of rows.

    Raises:
        ValueError: a folder that is no finished evaluation, no benchmark in common, or
            one whose problems differ.
    """
    ours, theirs = _folders(first), _folders(second)
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise ValueError(
            f"{first} has {', '.join(ours)} and {second} has {', '.join(theirs)}: "
            "no benchmark in common"
        )
    differ: dict[str, list[str]] = {}
    benchmarks: dict[str, dict[str, dict[str, float]]] = {}
    for name in shared:
        a, b = ours[name], theirs[name]
        if a.record["questions"] != b.record["questions"]:
            raise ValueError(
                f"{a.path} and {b.path} have other problems: "
                "only scores of the same ones can be paired"
            )
        differ[name] = _unequal_settings(a, b)
        benchmarks[name] = _differences(*_paired(a, b))
    return {
        "a": str(first),
        "b": str(second),
        "differ": differ,
        "benchmarks": benchmarks,
    }


def sign_flip(differences: np.ndarray, *, seed: int = 0) -> float:
    """Two-sided p-value of a paired permutation test (Fisher 1935).

    Under no difference each problem's sign is a coin. The p-value is the share of sign
    flips whose mean is at least as far from 0. It is exact where few problems differ,
    else from `FLIPS` random flips. The observed one counts among those, so that p is
    never 0.

    Args:
        differences: (problems,).

    >>> sign_flip(np.array([1.0, 1.0, 1.0, 0.0]))  # 2 of 8
    0.25
    """
    # a problem without a difference has the same sum whatever its sign
    moved = differences[differences != 0]
    if not len(moved):
        return 1.0
    # rounding must not tell flips of equal sums apart
    bar = abs(moved.sum()) * (1 - 1e-9)
    if len(moved) <= EXACT:
        sums = _all_flips(len(moved)) @ moved
        return float(np.mean(abs(sums) >= bar))
    rng = np.random.default_rng(seed)
    as_far = 0
    for _ in range(FLIPS // FLIPS_AT_A_TIME):
        signs = rng.choice([-1.0, 1.0], size=(FLIPS_AT_A_TIME, len(moved)))
        as_far += int(np.sum(abs(signs @ moved) >= bar))
    return (1 + as_far) / (1 + FLIPS)


def _all_flips(n: int) -> np.ndarray:
    """All signs of n numbers: (2^n, n), the bits of 0 to 2^n - 1."""
    bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    return 1 - 2 * bits


def _unequal_settings(a: Folder, b: Folder) -> list[str]:
    unequal = []
    for key, value in a.record.items():
        if key not in NOT_COMPARED and value != b.record.get(key):
            unequal.append(key)
    return unequal


def _differences(a: Problems, b: Problems) -> dict[str, dict[str, float]]:
    """The rows of one benchmark, by measure."""
    # pass@k of both at the same k, as far as the smaller number of samples goes
    ks = powers(min(len(a[0]), len(b[0])))
    of_a, of_b = per_problem(a, ks), per_problem(b, ks)
    rows = {}
    for measure, numbers in of_a.items():
        if measure not in of_b:
            continue
        difference = of_b[measure] - numbers
        bootstrap = interval(difference)
        rows[measure] = {
            "a": float(numbers.mean()),
            "b": float(of_b[measure].mean()),
            "difference": bootstrap["value"],
            "low": bootstrap["low"],
            "high": bootstrap["high"],
            "p": sign_flip(difference),
        }
    return rows


def _folders(path: Path) -> dict[str, Folder]:
    """The benchmarks of an evaluation, by name."""
    folders = {}
    for settings in sorted(path.glob("*/settings.json")):
        folder = settings.parent
        folders[folder.name] = Folder.read(folder)
    if not folders:
        raise ValueError(
            f"{path} is no evaluation: "
            "give a folder that entrostat evaluate --benchmark made"
        )
    return folders


def _paired(a: Folder, b: Folder) -> tuple[Problems, Problems]:
    """The samples of both, in one order of problems."""
    of_a, of_b = _finished(a), _finished(b)
    samples_a = []
    samples_b = []
    for key in sorted(of_a):
        samples_a.append(of_a[key])
        samples_b.append(of_b[key])
    return samples_a, samples_b


def _finished(folder: Folder) -> dict[str, Any]:
    """The samples by problem. ValueError where some are missing."""
    samples = folder.samples()
    problems = folder.record["problems"]
    if len(samples) != problems:
        raise ValueError(
            f"{folder.path} is not finished, {len(samples)} of {problems} problems: "
            "give its command again with the same --out"
        )
    return samples
