"""Both brackets of 2509.26114's inequality 7, from the tokens of a run's dumps."""

from pathlib import Path
from typing import Any

import numpy as np

from entrostat.dump import per_token, read

COLUMNS = ("logprobs", "old_logprobs", "entropy", "sum_p2", "sum_p2_logp")

Tokens = dict[str, np.ndarray]
"""COLUMNS of some tokens."""


def of_dumps(folder: Path, low: float = 0.2, high: float = 0.2) -> dict[str, Any]:
    """Means over all trained tokens of the dumps, each under its own update's policy.

    "bracket_low": p (E[Q] - E[Q|X]) of inequality 7 in nats, estimated as the mean of
    r 1[r < 1 - low] (E[Q] - Q_a): tokens come from the old policy, so r makes them the
    current one's. "bracket_high": q (E[Q] - E[Q|Y]), likewise. "brackets": both, for
    each rollout.
    """
    rollouts = _by_rollout(folder)
    low_bracket, high_bracket = _brackets(_joined(rollouts), low, high)
    return {
        "bracket_low": low_bracket,
        "bracket_high": high_bracket,
        "brackets": [list(_brackets(tokens, low, high)) for tokens in rollouts],
    }


def _by_rollout(folder: Path) -> list[Tokens]:
    """The tokens of each dumped rollout. A batch of a dump may hold several of them."""
    pieces: dict[int, list[Tokens]] = {}
    for batch in read(folder, COLUMNS):
        tokens = per_token(batch)
        for step in np.unique(tokens["step"]):
            of_step = tokens["step"] == step
            piece = {name: tokens[name][of_step] for name in COLUMNS}
            pieces.setdefault(int(step), []).append(piece)
    return [_joined(pieces[step]) for step in sorted(pieces)]


def _joined(pieces: list[Tokens]) -> Tokens:
    joined = {}
    for name in COLUMNS:
        joined[name] = np.concatenate([piece[name] for piece in pieces])
    return joined


def _brackets(tokens: Tokens, low: float, high: float) -> tuple[float, float]:
    logprobs = tokens["logprobs"].astype(np.float64)
    entropy = tokens["entropy"].astype(np.float64)
    ratio = np.exp(logprobs - tokens["old_logprobs"])
    quality = np.exp(logprobs) * (logprobs + entropy)
    mean_quality = tokens["sum_p2_logp"] + entropy * tokens["sum_p2"]
    missing = ratio * (mean_quality - quality)
    low_bracket = float((missing * (ratio < 1 - low)).mean())
    high_bracket = float((missing * (ratio > 1 + high)).mean())
    return low_bracket, high_bracket
