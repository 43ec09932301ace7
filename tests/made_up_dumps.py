"""Made-up dumps whose every token comes from logits, so that the reference can work out what it did to entropy."""

import math
import random

import numpy as np

import reference

VOCABULARY = 6


def made_up(seed, *, step=0, prompts=3, samples=4, longest=7, updates=2, high=0.2, low=0.2):
    """Columns of one rollout, as lists, and beside them a list of rows of what each trained token is to the reference.

    Each such token: {"id", "position", "advantage", "group", "right", "logratio", "change", "region", "event", "step"},
    change as if nothing were clipped.
    """
    rng = random.Random(seed)
    names = ("tokens", "mask", "logprobs", "old_logprobs", "entropy", "sum_p2", "sum_p2_logp", "old_entropy", "clipped")
    columns = {name: [] for name in (*names, "advantages", "text", "reward", "group", "sample", "update", "prompt")}
    tokens = []
    for sample in range(prompts * samples):
        group, length = sample // samples, rng.randrange(1, longest)
        right = rng.random() < group / max(1, prompts - 1)
        advantage = float32(rng.choice([0.0, 1.5, 0.5]) if right else rng.choice([0.0, -0.75, -2.0]))
        row = {name: [] for name in names}
        for position in range(length):
            logits = [rng.gauss(0, 2) for _ in range(VOCABULARY)]
            before = [z + rng.gauss(0, 0.4) for z in logits]
            taken, trained = rng.randrange(VOCABULARY), rng.random() < 0.85
            logprob, entropy, sum_p2, sum_p2_logp = map(float32, reference.stats(logits, taken))
            old_logprob, old_entropy = map(float32, reference.stats(before, taken)[:2])
            logratio = float32(logprob - old_logprob)
            event = reference.clip_event(logratio, advantage, low, high)
            values = (taken, trained, logprob, old_logprob, entropy, sum_p2, sum_p2_logp, old_entropy)
            for name, value in zip(names, (*values, {None: 0, "low": -1, "high": 1}[event]), strict=True):
                row[name].append(value)
            if trained:
                change = reference.entropy_change(logits, taken, logratio, advantage)
                q = math.exp(logprob) * (logprob + entropy)
                about = {"id": taken, "position": position, "advantage": advantage, "group": group, "right": right}
                about |= {"logratio": logratio, "change": change, "own": -advantage * math.exp(logratio) * q}
                about |= {"region": reference.region(logprob, entropy, advantage), "event": event, "step": step}
                tokens.append(about | {"sample": sample, "start": old_entropy})
        for name in names:
            columns[name].append(row[name])
        columns["text"].append([f"<{i}>" for i in row["tokens"]])
        columns["advantages"].append([advantage] * length)
        for name, value in (("reward", float(right)), ("group", group), ("sample", sample), ("prompt", f"p{group}")):
            columns[name].append(value)
        columns["update"].append(rng.randrange(updates))
    return columns | {"step": step}, tokens


def float32(x):
    return float(np.float32(x))
