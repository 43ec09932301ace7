"""Made-up records of runs, from a world in which the papers are right, or from one that is the other way round.

Entropy moves by what the run's method does, and scores by entropy; nothing is trained. A claim has to hold in the first
world and to fail in the second, whatever the noise between seeds.
"""

import dataclasses
import math

import numpy as np

from entrostat.lab.methods import method_name
from entrostat.reproduce.claims.b1 import SIGNS
from entrostat.reproduce.effects import EffectJob
from entrostat.reproduce.runs import Records

START, PROBLEMS = 0.43, 297
PUSHES = {
    "id": ((0.5, 1), (1.0, -1)),
    "did": ((0.25, 0), (0.5, 1), (1.0, -1)),
    "od": ((1.0, -1),),
}
"""Until which progress a strategy pushes entropy which way, against .2/.2."""
NOISE = 1e-3


class World(Records):
    """Records of whatever job is asked for."""

    def __init__(self, path, *, right=True):
        super().__init__(path)
        self.sign = 1.0 if right else -1.0

    def __contains__(self, job):
        return True

    def have(self, jobs):
        return True

    def __getitem__(self, job):
        if isinstance(job, EffectJob):
            return measured(job, self.sign)
        config, name, given = job.config, method_name(job.method), dataclasses.asdict(job.method)
        rng = np.random.default_rng(config.seed)
        progress = np.arange(config.steps) / config.steps
        drift = 0.0 if config.reward != "true" else -0.1
        # what does not depend on the sign is the same in both worlds
        path = START + progress * drift + self.sign * shape(name, given, progress)
        path = np.maximum(path, 0.02) + NOISE * rng.standard_normal(config.steps)
        path[0] = START
        scores = {"start": scored(0.36, 0.98, rng, START)}
        for at in (*config.eval_at, config.steps):
            h = path[min(at, config.steps - 1)]
            better = 0.02 * self.sign * (name in ("id", "did", "od", "dynamic"))
            more = 0.15 * self.sign * (name in ("id", "did", "od", "dynamic"))
            peak = -0.05 * self.sign * abs(given.get("first_phase", 0.5) - 0.5)
            scores["end" if at == config.steps else str(at)] = scored(
                0.45 + better + peak, 0.62 + 0.3 * h + more, rng, h
            )
        low, high = (1 / (1 + 20 * given.get(side, 0.2)) for side in ("low", "high"))
        return {
            "entropy": path.tolist(),
            "predicted": np.append(np.diff(path), 0.0).tolist(),
            "regions": {region.name: 0.01 * sign * self.sign for region, sign in SIGNS.items()},
            "clip_low": [low if math.isfinite(low) else 0.0] * config.steps,
            "clip_high": [high if math.isfinite(high) else 0.0] * config.steps,
            "scores": scores,
            "tokens": tokens(self.sign, rng),
            "seconds": 1.0,
        }


def shape(name, given, progress):
    """What a method adds to entropy over the run, as the papers have it."""
    if name == "id":
        return 0.3 * np.where(progress < 0.5, progress, 1 - progress) + 0.1 * (progress < 0.5) * progress
    if name == "did":
        return 0.2 * np.interp(progress, [0, 0.25, 0.5, 1], [0, -0.5, 0.8, -0.8]) + 0.1 * progress
    if name == "od":
        return -0.4 * np.abs(np.sin(progress * 12)) * (progress > 0)
    if name == "dynamic":
        return progress * (0.2 * given["upper_dynamic"] - 0.25 * given["lower_dynamic"])
    if name == "regions":
        shut = [region for region in SIGNS if given[region.name.lower()] < 0]
        return progress * sum(-0.1 * SIGNS[region] for region in shut)
    low, high = given.get("low", 0.2), given.get("high", 0.2)
    from_low = 0.05 * math.log(0.4 / low) + 0.02 if low < 1 else 0.0
    from_high = -0.05 * math.log(0.8 / high) - 0.02 if high < math.inf else 0.0
    return progress * (from_low + from_high)


def measured(job, sign):
    """Paired branches in which a tight low adds entropy and a tight high takes it, and high the more of the two."""
    rng, rows = np.random.default_rng(5), []
    for seed in range(job.seeds):
        for rollout in range(job.point.length):
            before = math.log(START) + NOISE * rng.standard_normal()
            base = before + 1e-5 * rng.standard_normal()
            branches = [branch(method, rollout / job.point.length, base, sign, rng) for method in job.methods]
            rows.append({"seed": seed, "rollout": rollout, "before": before, "branches": branches})
    return {"rows": rows, "seconds": 1.0}


def branch(method, progress, base, sign, rng):
    """What one method comes to; a dynamic threshold clips as a static one of .4 or .25 and does more than that."""
    name, given = method_name(method), dataclasses.asdict(method)
    low, high, more = given.get("low", 0.2), given.get("high", 0.2), 0.0
    if name == "dynamic":
        low, high = (0.25, high) if given["lower_dynamic"] else (low, 0.4)
        more = -3e-4 if given["lower_dynamic"] else 3e-4
    if name in PUSHES:
        more = 3e-4 * next(way for until, way in PUSHES[name] if progress < until)
    by_low = 1e-3 * (1 - low) if low < 1 else 0.0
    by_high = -2e-3 / (1 + high) if high < math.inf else 0.0
    log_entropy = base + sign * (by_low + by_high + more) + 1e-5 * rng.standard_normal()
    shares = [0.01 * (1 - low), 0.01 / (1 + high)]
    taken = 0.6 - 0.2 * sign + 0.1 * sign * (name == "dynamic") + NOISE * rng.standard_normal()
    return [log_entropy, 0.4, 1e-3, 0.05, *shares, 1.0, shares[1] * taken, 0.5, 0.5 * 0.6]


def scored(mean, passed, rng, entropy):
    """32 samples a problem: a share `passed` of the problems is solved at all, `mean` of the samples are right."""
    solved = round(PROBLEMS * min(passed, 1.0))
    total = round(32 * mean * PROBLEMS) + int(rng.integers(0, 3))
    right = [0] * (PROBLEMS - solved) + [total // solved + (i < total % solved) for i in range(solved)]
    assert max(right) <= 32
    return {"entropy": float(entropy), "samples": 32, "correct": right}


def tokens(sign, rng):
    """What a dump's tokens add up to."""
    low, high = sign * 1e-3 + 1e-4 * rng.standard_normal(2)
    return {
        "bracket_low": low,
        "bracket_high": high,
        "brackets": [[low, high]] * 3,
    }
