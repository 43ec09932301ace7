"""Scores from samples: mean@n, pass@k and maj@k for k = 1, 2, 4 .. n, and others.

The others are entropy and length. All have intervals over problems. A completion that
was not judged (its verifier timed out or died) counts as wrong and casts no vote, and
the scores say how many there are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from entrostat.estimate import bootstrap_interval, maj_at_k, pass_at_k
from entrostat.evaluation.folder import Sample

Problems = Sequence[Sequence[Sample]]
"""The samples of each problem, as many of each."""


def powers(n: int) -> list[int]:
    """1, 2, 4 .. and n."""
    ks = []
    k = 1
    while k < n:
        ks.append(k)
        k *= 2
    return [*ks, n]


def per_problem(problems: Problems, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Of each measure one number per problem, whose mean is the score: (problems,).

    "mean", "pass@k" and "maj@k" of each k of `ks`, "tokens" (of a completion), and
    "entropy" where the backend gave it.
    """
    n = len(problems[0])
    correct = (_numbers(problems, "score") == 1.0).sum(axis=1)
    tokens = _numbers(problems, "tokens")
    entropy = _numbers(problems, "entropy")
    values = {"mean": correct / n}
    for k in ks:
        values[f"pass@{k}"] = np.asarray(pass_at_k(n, correct, k))
    votes = list(map(_votes, problems))
    for k in ks:
        majorities = [maj_at_k(answers, right, k) for answers, right in votes]
        values[f"maj@{k}"] = np.array(majorities)
    values["tokens"] = tokens.mean(axis=1)
    if not np.isnan(entropy).any():
        values["entropy"] = _token_weighted(entropy, tokens)
    return values


def _numbers(problems: Problems, name: str) -> np.ndarray:
    """One field of all samples, (problems, samples); nan where it is None."""
    rows = []
    for samples in problems:
        rows.append([getattr(sample, name) for sample in samples])
    return np.array(rows, dtype=float)


def _token_weighted(entropy: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """A number per problem, (problems,), whose mean is the entropy of a token.

    Entropy is token-weighted, a ratio of sums S / T over problems. A problem's number
    is H + (S_i - H T_i) / mean(T): the mean of these is H, and their interval is that
    of the ratio to first order.

    Args:
        entropy: (problems, samples), mean nats per token of each completion.
        tokens: (problems, samples).
    """
    nats_by_problem = (entropy * tokens).sum(axis=1)
    tokens_by_problem = tokens.sum(axis=1)
    mean = nats_by_problem.sum() / tokens_by_problem.sum()
    excess = nats_by_problem - mean * tokens_by_problem
    return mean + excess / tokens_by_problem.mean()


def _votes(
    samples: Sequence[Sample],
) -> tuple[list[tuple[str, bool] | None], list[bool]]:
    """The answers of a problem's samples, and which of them are right.

    No answer, or none that was judged, is no vote. Whether it is right is part of an
    answer: a verifier that judges equal texts differently makes two of them.
    """
    answers: list[tuple[str, bool] | None] = []
    right: list[bool] = []
    for sample in samples:
        if sample.answer is None or sample.score is None:
            answers.append(None)
            right.append(False)
            continue
        is_right = sample.score == 1.0
        answers.append((sample.answer, is_right))
        right.append(is_right)
    return answers, right


def scores(problems: Problems) -> dict[str, Any]:
    """The scores of one benchmark, a JSON-able dict.

    "mean@n", "pass@n" and "maj@n", "pass@k" and "maj@k" by k, "entropy" (nats per
    token, None where not known) and "tokens" (of a completion): each {"value", "low",
    "high"} with a 95% bootstrap interval over problems. "truncated": the share of
    completions that ran into their limit. "not judged", "problems" and "samples":
    counts.
    """
    n = len(problems[0])
    ks = powers(n)
    measures = per_problem(problems, ks)
    intervals = {name: interval(numbers) for name, numbers in measures.items()}
    # None is nan among numbers
    not_judged = np.isnan(_numbers(problems, "score"))
    ended = _numbers(problems, "ended")
    return {
        "problems": len(problems),
        "samples": n,
        f"mean@{n}": intervals["mean"],
        f"pass@{n}": intervals[f"pass@{n}"],
        f"maj@{n}": intervals[f"maj@{n}"],
        "pass@k": {str(k): intervals[f"pass@{k}"] for k in ks},
        "maj@k": {str(k): intervals[f"maj@{k}"] for k in ks},
        "entropy": intervals.get("entropy"),
        "tokens": intervals["tokens"],
        "truncated": int((ended == 0.0).sum()) / ended.size,
        "not judged": int(not_judged.sum()),
    }


def interval(values: np.ndarray) -> dict[str, float]:
    """Mean over problems with its 95% bootstrap interval."""
    return bootstrap_interval(values)._asdict()
