"""What the rows of bench/regime_gpu.py say: of each arm changes, differences and shares, with intervals over seeds."""

import collections
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from entrostat.estimate import seed_interval
from regime_gpu_runs import EPS, NONE, Block

LEAST_ENTROPY = 1e-6
"""Nats. Entropy under it counts as it, so that its logarithm is a number."""


def run_arms(block: Block, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each arm: how ln H has changed from the first rollout to the last, against the arm without a clip too."""
    by_run: dict[tuple[str, int], list[Mapping[str, Any]]] = collections.defaultdict(list)
    for row in rows:
        by_run[row["arm"], row["seed"]].append(row)
    gone = {run for run, found in by_run.items() if any(row["entropy"] is None for row in found)}
    kept = {run: found for run, found in by_run.items() if run not in gone}
    changes = {run: _log(found[-1]) - _log(found[0]) for run, found in kept.items()}
    arms = {}
    for arm in block.arms:
        seeds = [seed for name, seed in kept if name == arm]
        against = [changes[arm, seed] - changes[NONE, seed] for seed in seeds if (NONE, seed) in changes]
        ends = {name: [_tail(kept[arm, seed], name) for seed in seeds] for name in ("entropy", "reward")}
        arms[arm] = {
            "change": interval([changes[arm, seed] for seed in seeds]),
            "difference": None if arm == NONE else interval(against),
            "entropy_end": interval(ends["entropy"]),
            "reward_end": interval(ends["reward"]),
            **_means([row for row in rows if row["arm"] == arm], ("clip_low", "clip_high", "rms", "norm")),
            "destroyed": sum(name == arm for name, _ in gone),
        }
    return arms


def _log(row: Mapping[str, Any]) -> float:
    return math.log(max(row["entropy"], LEAST_ENTROPY))


def _tail(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """The mean over the last rollouts, a tenth of them."""
    return statistics.fmean(row[name] for row in rows[-max(1, len(rows) // 10) :])


def _means(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, float | None]:
    found = {name: [row[name] for row in rows if row[name] is not None] for name in names}
    return {name: statistics.fmean(values) if values else None for name, values in found.items()}


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean, its 95% interval over seeds where there are three of them, and the seeds' own numbers."""
    value = statistics.fmean(values) if values else None
    found = {"value": value, "low": None, "high": None, "points": list(values)}
    return found | (seed_interval(values)._asdict() if len(values) > 2 else {})


def paired_arms(block: Block, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each arm, and of each pair's odd and even part, the effect on ln H a rollout; of the base its drift."""
    found = {(row["arm"], row["seed"], row["rollout"]): row for row in rows}
    places = [(seed, rollout) for arm, seed, rollout in found if arm == NONE]
    base = {place: found[NONE, *place] for place in places}
    effects = {NONE: {place: row["log_entropy"] - row["before"] for place, row in base.items()}}
    for arm in block.arms:
        if arm != NONE:
            effects[arm] = {p: found[arm, *p]["log_entropy"] - base[p]["log_entropy"] for p in places}
    for eps in EPS:
        low, high = (effects[f"{side} {eps} alone"] for side in ("low", "high"))
        effects[f"odd part of {eps}"] = {p: (low[p] - high[p]) / 2 for p in places}
        effects[f"even part of {eps}"] = {p: (low[p] + high[p]) / 2 for p in places}
    arms = {}
    for arm, by_place in effects.items():
        by_seed: dict[int, list[float]] = collections.defaultdict(list)
        for (seed, _), value in by_place.items():
            by_seed[seed].append(value)
        over_seeds = interval([statistics.fmean(values) for values in by_seed.values()])
        over_rollouts = interval(list(by_place.values()))
        over_rollouts.pop("points")
        own = [row for row in rows if row["arm"] == arm]
        means = _means(own, ("kl", "rms", "clip_low", "clip_high")) if own else {}
        arms[arm] = {"effect": over_seeds, "over_rollouts": over_rollouts, **means}
    return arms


def table(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of docs/results/regime-gpu.json: the effect of each arm on ln H a rollout; of the one without a clip its
    drift."""
    rows = []
    for block in summary["blocks"].values():
        paired = block["kind"] == "paired"
        for arm, found in block["arms"].items():
            steps = 1 if paired else block["rollouts"] - 1
            effect = found["effect"] if paired else found["difference"] or found["change"]
            if not steps or effect["value"] is None:
                continue
            value, low, high = (None if x is None else x / steps for x in (effect[k] for k in ("value", "low", "high")))
            rows.append(
                {
                    "arm": f"{arm}, paired branches" if paired else arm,
                    "reward": f"{block['reward']}, learning rate {block['learning_rate']:g}",
                    "rollouts": block["rollouts"],
                    "seeds": len(effect["points"]),
                    "effect": value,
                    "low": low,
                    "high": high,
                    "device": block["device"],
                }
            )
    return rows
