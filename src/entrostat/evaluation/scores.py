"""Scores from samples: mean@n, pass@k and maj@k for k = 1, 2, 4 .. n, entropy and length, with intervals over problems.

A completion that was not judged (its verifier timed out or died) counts as wrong and casts no vote, and the scores say
how many there are.
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
    return [*(1 << i for i in range(n.bit_length()) if 1 << i < n), n]


def per_problem(problems: Problems, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Of each measure one number a problem, whose mean is the score: (problems,) each.

    "mean", "pass@k" and "maj@k" of each k of `ks`, "tokens" (of a completion), and "entropy" where the backend gave it.
    Entropy is token-weighted, a ratio of sums S / T over problems: a problem's number is H + (S_i - H T_i) / mean(T),
    whose mean is H and whose interval is that of the ratio to first order.
    """
    n = len(problems[0])
    right = [[sample.score == 1.0 for sample in samples] for samples in problems]
    correct = np.array([sum(of) for of in right])
    values = {"mean": correct / n}
    values |= {f"pass@{k}": np.asarray(pass_at_k(n, correct, k)) for k in ks}
    votes = [_votes(samples) for samples in problems]
    values |= {f"maj@{k}": np.array([maj_at_k(*vote, k) for vote in votes]) for k in ks}
    tokens = np.array(
        [sum(sample.tokens for sample in samples) for samples in problems], dtype=float
    )
    values["tokens"] = tokens / n
    if all(sample.entropy is not None for samples in problems for sample in samples):
        nats = np.array(
            [
                sum((sample.entropy or 0.0) * sample.tokens for sample in samples)
                for samples in problems
            ]
        )
        entropy = nats.sum() / tokens.sum()
        values["entropy"] = entropy + (nats - entropy * tokens) / tokens.mean()
    return values


def scores(problems: Problems) -> dict[str, Any]:
    """A JSON-able dict: "mean@n", "pass@n" and "maj@n", "pass@k" and "maj@k" by k, "entropy" (nats per token, None
    where not known) and "tokens" (of a completion), each {"value", "low", "high"} with a 95% bootstrap interval over
    problems; "truncated", the share of completions that ran into their limit; "not judged", a count; "problems" and
    "samples".
    """
    n = len(problems[0])
    values = per_problem(problems, powers(n))
    said = {name: interval(numbers) for name, numbers in values.items()}
    flat = [sample for samples in problems for sample in samples]
    curves = {
        f"{kind}@k": {str(k): said[f"{kind}@{k}"] for k in powers(n)}
        for kind in ("pass", "maj")
    }
    return {
        "problems": len(problems),
        "samples": n,
        f"mean@{n}": said["mean"],
        **{f"{kind}@{n}": said[f"{kind}@{n}"] for kind in ("pass", "maj")},
        **curves,
        "entropy": said.get("entropy"),
        "tokens": said["tokens"],
        "truncated": sum(not sample.ended for sample in flat) / len(flat),
        "not judged": sum(sample.score is None for sample in flat),
    }


def interval(values: np.ndarray) -> dict[str, float]:
    """Mean over problems with its 95% bootstrap interval."""
    return bootstrap_interval(values)._asdict()


def _votes(
    samples: Sequence[Sample],
) -> tuple[list[tuple[str, bool] | None], list[bool]]:
    """The answers of a problem's samples, and which are right. No answer, or none that was judged, is no vote.

    Whether it is right is part of an answer: a verifier that judges equal texts differently makes two of them.
    """
    right = [sample.score == 1.0 and sample.answer is not None for sample in samples]
    answers = [
        None
        if sample.answer is None or sample.score is None
        else (sample.answer, is_right)
        for sample, is_right in zip(samples, right, strict=True)
    ]
    return answers, right
