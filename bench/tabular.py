"""Seconds for 10,000 exact updates of a tabular policy of 64 states and 32 actions, on one thread.

    python bench/tabular.py

Each update is a full clipped policy-gradient step with the entropy of every state after it; pi_old is renewed every 8,
and with it advantages that differ between tokens, or nothing would move: a fresh policy has a zero expected gradient
under purely random ones. Limit: 10 s of wall clock.
"""

import json
import time

import torch

from entrostat.reproduce.tabular import Advantage, entropy, random_policy, updated

UPDATES, STATES, ACTIONS, RENEW = 10_000, 64, 32, 8


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    policy = random_policy(STATES, ACTIONS, generator, moved=0.0)
    before = entropy(policy.logits).mean().item()
    p = torch.full((STATES, ACTIONS), 0.5, dtype=torch.float64)
    start = time.perf_counter()
    mean = torch.empty(UPDATES, dtype=torch.float64)
    for k in range(UPDATES):
        if k % RENEW == 0:
            policy = policy._replace(old_logprobs=policy.logits.log_softmax(-1))
            p = torch.rand(STATES, ACTIONS, generator=generator, dtype=torch.float64)
        policy = updated(policy, Advantage(p, 1.0, 1 - p, 1.0), low=0.2, high=0.2, eta=100.0)
        mean[k] = entropy(policy.logits).mean()
    seconds = time.perf_counter() - start
    print(json.dumps({"updates": UPDATES, "seconds": round(seconds, 2), "entropy": [before, mean[-1].item()]}))


if __name__ == "__main__":
    main()
