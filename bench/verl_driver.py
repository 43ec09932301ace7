"""What the plug-in costs on verl's driver, in each trainer mode. In the environment that `make test-verl` makes:

    python bench/verl_driver.py          10 training steps of each mode, some 5 minutes
    python bench/verl_driver.py 20       20 of each

The driver fetches the batch's columns, observes, and tells the ranks; the ranks' part, the loss, is that of
bench/verl_loss.py whatever the mode. Real runs of verl's main_ppo by the rig of the tests, on its model of 35,000
parameters: 8 prompts x 8 completions of 32 tokens, 8 updates a step (4 under separate_async), one rank. Each update
call is clocked from outside, ours and verl's own within it, so both sides are of the same call. `of_updates` is the
seconds of a step's update calls over those of verl's own part of them: the median over steps, the least and the
largest. `of_step` is a whole step's seconds over what they are without ours: the median. The first two steps warm up.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

RIG = Path(__file__).parents[1] / "tests/with_verl/rig"
WARMUP = 2
SIZES = [
    "data.train_batch_size=8",
    "actor_rollout_ref.rollout.n=8",
    "data.max_response_length=32",
    "actor_rollout_ref.actor.ppo_mini_batch_size=2",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=16",
    "actor_rollout_ref.rollout.calculate_log_probs=True",
    "trainer.save_freq=-1",
    "trainer.total_epochs=100",
]
HALF = "actor_rollout_ref.actor.ppo_mini_batch_size=4"
"""separate_async trains on one mini-batch a call."""


def cost(overrides: list[str], calls: int, steps: int) -> dict[str, Any]:
    """Of a run with so many update calls a step."""
    from runs import main_ppo, metrics
    from settings import STEPS, ours

    modules = "cpu_platform,cpu_rollout,clock"
    with tempfile.TemporaryDirectory() as folder:
        work, log = Path(folder), Path(folder) / "clock.jsonl"
        environment = {"VERL_USE_EXTERNAL_MODULES": modules, "VERL_LOGGING_LEVEL": "WARNING", "CLOCK_LOG": str(log)}
        chosen = [*ours("thermostat"), *SIZES, f"{STEPS}={steps}", *overrides]
        main_ppo(work, 1, *chosen, **environment)
        clocked = [json.loads(line) for line in log.read_text().splitlines()]
        logged = metrics(work)
    kept = range(WARMUP, steps)
    ours, verls = (
        [sum(each[name] for each in clocked[step * calls : (step + 1) * calls]) for step in kept]
        for name in ("ours", "verls")
    )
    ratios = [mine / stock for mine, stock in zip(ours, verls, strict=True)]
    extra = [mine - stock for mine, stock in zip(ours, verls, strict=True)]
    whole = [logged[step + 1]["timing_s/step"] for step in kept]
    of_step = [seconds / (seconds - mine) for seconds, mine in zip(whole, extra, strict=True)]
    return {
        "steps": len(kept),
        "verls_update_s": round(statistics.median(verls), 3),
        "ours_on_top_ms": round(1000 * statistics.median(extra), 1),
        "of_updates": round(statistics.median(ratios), 4),
        "least_to_largest": [round(min(ratios), 4), round(max(ratios), 4)],
        "whole_step_s": round(statistics.median(whole), 1),
        "of_step": round(statistics.median(of_step), 4),
    }


def main() -> None:
    sys.path.insert(0, str(RIG))
    from settings import MODE, asynchronous, separate

    steps = WARMUP + int(sys.argv[1] if len(sys.argv) > 1 else 10)
    cases = {
        "sync": ([MODE], 1),
        "colocate_async": (asynchronous("colocate_async"), 1),
        "separate_async, 2 calls a step": ([*separate(2, ranks=1), HALF], 2),
    }
    for name, (overrides, calls) in cases.items():
        print(json.dumps({name: cost(overrides, calls, steps)}), flush=True)


if __name__ == "__main__":
    main()
