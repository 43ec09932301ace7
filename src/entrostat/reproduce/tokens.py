"""What the tokens of a run's dumps add up to: both brackets of 2509.26114's inequality 7."""

from pathlib import Path
from typing import Any

import numpy as np

from entrostat.dump import per_token, read

COLUMNS = ("logprobs", "old_logprobs", "entropy", "sum_p2", "sum_p2_logp")


def of_dumps(folder: Path, low: float = 0.2, high: float = 0.2) -> dict[str, Any]:
    """Means over all trained tokens of the dumps in `folder`, each under the policy of its own update.

    "bracket_low": p (E[Q] - E[Q|X]) of inequality 7 in nats, estimated as the mean of r 1[r < 1 - low] (E[Q] - Q_a):
    tokens come from the old policy, so r makes them the current one's. "bracket_high": q (E[Q] - E[Q|Y]), likewise.
    "brackets": both, rollout by rollout.
    """
    steps: dict[int, list[dict[str, np.ndarray]]] = {}
    for batch in read(folder, COLUMNS):
        tokens = per_token(batch)
        for step in np.unique(tokens["step"]):
            at = tokens["step"] == step
            steps.setdefault(int(step), []).append(
                {name: tokens[name][at] for name in COLUMNS}
            )
    whole = [_joined(parts) for _, parts in sorted(steps.items())]
    every = _joined(whole)
    low_bracket, high_bracket = _brackets(every, low, high)
    return {
        "bracket_low": low_bracket,
        "bracket_high": high_bracket,
        "brackets": [list(_brackets(tokens, low, high)) for tokens in whole],
    }


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}


def _brackets(
    tokens: dict[str, np.ndarray], low: float, high: float
) -> tuple[float, float]:
    logp, entropy = (
        tokens[name].astype(np.float64) for name in ("logprobs", "entropy")
    )
    ratio = np.exp(logp - tokens["old_logprobs"])
    mean = tokens["sum_p2_logp"] + entropy * tokens["sum_p2"]
    under = ratio * (mean - np.exp(logp) * (logp + entropy))
    return float((under * (ratio < 1 - low)).mean()), float(
        (under * (ratio > 1 + high)).mean()
    )
