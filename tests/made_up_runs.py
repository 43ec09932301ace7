"""Run folders as `entrostat train` leaves them, made up: the numbers resemble a real run's, and mean nothing."""

import json
import math
import random
from pathlib import Path
from typing import Any

LOWS, HIGHS = (0.01, 0.1, 0.2, 1.0), (0.01, 0.1, 0.2, 0.4, math.inf)
"""Of the maps."""
REGION_SIGNS = {"E1": -1.0, "E2": 0.55, "E3": 0.8, "E4": -0.45}


def score(value: float, half: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": max(value - half, 0.0), "high": min(value + half, 1.0)}


def evaluation(mean: float, most: float, half: float = 0.05) -> dict[str, Any]:
    """Scores with pass@1 = `mean` and pass@32 = `most`, pass@k in between rising with log k."""
    ks = (1, 2, 4, 8, 16, 32)
    by_k = {str(k): score(most - (most - mean) * (1 - math.log2(k) / 5) ** 1.6, half) for k in ks}
    return {"mean@32": score(mean, half), "pass@32": score(most, half), "pass@k": by_k}


def rollout(draw: random.Random, k: int, steps: int, end: float, high: float) -> dict[str, Any]:
    """A line of metrics.jsonl: entropy decays from .43 to `end`; a side without bounds clips nothing."""
    fade = math.exp(-3.5 * k / steps)
    entropy = end + (0.43 - end) * fade
    row: dict[str, Any] = {
        "step": k,
        "progress": k / steps,
        "entropy": entropy * (1 + draw.gauss(0, 0.03)),
        "target": None,
        "reward": 0.41 + 0.2 * (1 - fade) + draw.gauss(0, 0.025),
        "clip_low": 0.012 * (1.2 - fade) * (1 + draw.gauss(0, 0.15)),
        "clip_high": 0.0 if math.isinf(high) else 0.008 * (1.2 - fade) * (1 + draw.gauss(0, 0.15)),
    }
    for region, sign in REGION_SIGNS.items():
        change = sign * 0.02 * entropy * (1 + draw.gauss(0, 0.1))
        clipped = sign > 0 or not math.isinf(high)
        row[f"{region}/share"] = 0.25 + draw.gauss(0, 0.01)
        row[f"{region}/change_kept"] = change
        row[f"{region}/change_clipped"] = 0.15 * change if clipped else None
    return row


def response_map(step: int, low: float | None = 0.2, high: float | None = 0.2) -> dict[str, Any]:
    """A line of response.jsonl: the tighter the low side the higher, the tighter the high side the lower."""
    change = [[round(0.01 * (step + 1) * (j - i), 4) for j in range(len(HIGHS))] for i in range(len(LOWS))]
    return {
        "step": step,
        "lows": list(LOWS),
        "highs": [*HIGHS[:-1], "inf"],
        "change": change,
        "in_force": {"low": low, "high": high},
        "total_unclipped": change[-1][-1],
        "predicted": change[2][2],
        "tokens": 1100,
    }


def write_run(
    folder: Path,
    label: str = "grpo",
    *,
    seed: int = 0,
    steps: int = 100,
    end: float = 0.08,
    mean: float = 0.52,
    most: float = 0.61,
    low: float = 0.2,
    high: float = 0.2,
    target: float | None = None,
    steered: bool = False,
    maps: dict[int, dict[str, Any]] | None = None,
    between: dict[int, dict[str, Any]] | None = None,
    done: int | None = None,
    config: dict[str, Any] | None = None,
    summary: dict[str, Any] | None = None,
) -> Path:
    """Writes a run's folder; with `done` rollouts it is one that was killed in the middle of a line, `steered` one of
    the thermostat, with entropy on held-out prompts every tenth rollout."""
    draw = random.Random(f"{label}{seed}")
    folder.mkdir(parents=True)
    settings = {
        "entrostat": "0.1.0",
        "strategy": {"name": label, "options": {"low": low, "high": high}},
        "label": label,
        "task": "countdown",
        "seed": seed,
        "steps": steps,
        "prompts": 32,
        "samples": 16,
        "updates_per_rollout": 8,
        "learning_rate": 1e-4,
        "reward": "true",
        "model": "",
    }
    (folder / "config.json").write_text(json.dumps(settings | (config or {})), encoding="utf-8")
    rows = [rollout(draw, k, steps, end, high) | {"target": target} for k in range(steps if done is None else done)]
    if steered:
        for k, row in enumerate(rows):
            row |= {"pressure": math.cos(k / 9), "dropped": 0.005 * (k % 3)}
            row |= {"held_out_entropy": row["entropy"] + 0.01} if k % 10 == 0 else {}
    if maps is not None:
        (folder / "response.jsonl").write_text("".join(json.dumps(one) + "\n" for one in maps.values()))
    for rollouts, scores in (between or {}).items():
        (folder / f"scores-{rollouts}.json").write_text(json.dumps(scores))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines if done is None else lines + '{"step": 9', encoding="utf-8")
    if done is None:
        scores = evaluation(mean, most) | {"entropy_start": rows[0]["entropy"], "entropy_end": rows[-1]["entropy"]}
        whole = scores | {"seconds": 91.5 + seed, "start": evaluation(0.41, 0.98, 0.02)} | (summary or {})
        (folder / "summary.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder
