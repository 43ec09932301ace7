"""What the tokens of a run's dumps add up to: both brackets of 2509.26114's inequality 7, and whom the clip takes."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from entrostat.dump import per_token, read

COLUMNS = (
    *("advantages", "logprobs", "old_logprobs", "entropy", "sum_p2", "sum_p2_logp"),
    *("low", "high", "clipped"),
)
EDGES = (0.0, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 0.99, 1.0)
"""Of the bins of the old policy's probability."""


def of_dumps(folder: Path, low: float = 0.2, high: float = 0.2) -> dict[str, Any]:
    """Means over all trained tokens of the dumps in `folder`, each under the policy of its own update.

    "bracket_low": p (E[Q] - E[Q|X]) of inequality 7 in nats, estimated as the mean of r 1[r < 1 - low] (E[Q] - Q_a):
    tokens come from the old policy, so r makes them the current one's. "bracket_high": q (E[Q] - E[Q|Y]), likewise.
    "brackets": both, rollout by rollout. "clipped_low_p", "clipped_high_p": mean old probability of the tokens that a
    side took; "negative_p", "positive_p": of all tokens with A < 0, A > 0. "clip_low_by_p", "clip_high_by_p": share of
    those that was taken, by bin of EDGES; None for an empty bin or no token.
    """
    steps: dict[int, list[dict[str, np.ndarray]]] = {}
    for batch in read(folder, COLUMNS):
        tokens = per_token(batch)
        for step in np.unique(tokens["step"]):
            at = tokens["step"] == step
            steps.setdefault(int(step), []).append({name: tokens[name][at] for name in COLUMNS})
    whole = [_joined(parts) for _, parts in sorted(steps.items())]
    every = _joined(whole)
    low_bracket, high_bracket = _brackets(every, low, high)
    return {
        "bracket_low": low_bracket,
        "bracket_high": high_bracket,
        "brackets": [list(_brackets(tokens, low, high)) for tokens in whole],
        **_clipping(every, "low", -1, "negative"),
        **_clipping(every, "high", 1, "positive"),
    }


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}


def _brackets(tokens: dict[str, np.ndarray], low: float, high: float) -> tuple[float, float]:
    logp, entropy = (tokens[name].astype(np.float64) for name in ("logprobs", "entropy"))
    ratio = np.exp(logp - tokens["old_logprobs"])
    mean = tokens["sum_p2_logp"] + entropy * tokens["sum_p2"]
    under = ratio * (mean - np.exp(logp) * (logp + entropy))
    return float((under * (ratio < 1 - low)).mean()), float((under * (ratio > 1 + high)).mean())


def _clipping(tokens: dict[str, np.ndarray], side: str, sign: int, advantage: str) -> dict[str, Any]:
    p = np.exp(tokens["old_logprobs"].astype(np.float64))
    could, taken = np.sign(tokens["advantages"]) == sign, tokens["clipped"] == sign
    bins = np.digitize(p, EDGES[1:-1])
    return {
        f"clipped_{side}_p": _mean(p[taken]),
        f"{advantage}_p": _mean(p[could]),
        f"clip_{side}_by_p": [_mean(taken[could & (bins == i)]) for i in range(len(EDGES) - 1)],
    }


def _mean(values: np.ndarray) -> float | None:
    found = float(values.mean()) if len(values) else math.nan
    return None if math.isnan(found) else round(found, 5)
