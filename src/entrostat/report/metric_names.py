"""What other trainers call the numbers that a report shows, as data.

Names are those of TRL 1.16 and verl 0.9.1 as installed, and older ones of the same
trainers; those of SkyRL, OpenRLHF and prime-rl are of their main branches. Trackers of
transformers put `train/` in front.
"""

from collections.abc import Mapping

NAMES: Mapping[str, tuple[str, ...]] = {
    # of the policy that sampled where it is known, else of the one that is updated
    "entropy": (
        "entrostat/entropy",
        "actor/entropy",
        "actor/entropy_loss",
        "policy/policy_entropy",
        "policy_entropy",
        "entropy/all/mean",
        "entropy/mean",
        "entropy_loss",
        "entropy",
    ),
    "target": ("entrostat/target",),
    "reward": (
        "reward",
        "critic/score/mean",
        "critic/rewards/mean",
        "reward/avg_raw_reward",
        "reward/all/mean",
        "reward/mean",
    ),
    "clip_low": ("entrostat/clip_low", "clip_ratio/low_mean"),
    "clip_high": ("entrostat/clip_high", "clip_ratio/high_mean"),
    # both sides together
    "clipped": (
        "clip_ratio/region_mean",
        "actor/pg_clipfrac",
        "policy/ppo_clip_ratio",
        "ppo_clip_ratio",
        "clip_ratio",
    ),
    # from the policy before a rollout's updates to the one in them
    "policy_kl": ("actor/ppo_kl", "ppo_kl", "policy/ppo_kl"),
    # from the reference model
    "reference_kl": ("kl", "actor/kl_loss", "policy/policy_kl", "critic/kl"),
    "length": (
        "completions/mean_length",
        "response_length/mean",
        "generate/avg_num_tokens",
        "seq_len/all/mean",
        "response_length",
    ),
    # the sum so far, and what a step took (axes.py); seconds since the start, and those
    # of a clock
    "tokens": ("num_tokens",),
    "tokens_of_step": ("perf/total_num_tokens",),
    "seconds": ("_runtime",),
    "clock": ("_timestamp",),
    "seconds_of_step": ("perf/time_per_step", "timing_s/step", "step_time"),
    **{
        f"{region}/{what}": (f"entrostat/{region}/{what}",)
        for region in ("E1", "E2", "E3", "E4")
        for what in ("share", "change_kept", "change_clipped")
    },
    "pressure": ("entrostat/pressure",),
    "dropped": ("entrostat/dropped",),
}
"""The report's name of a number to what trainers call it, the best first."""


def in_our_names(logged: Mapping[str, float]) -> dict[str, float]:
    """The numbers of one logged step that a report knows, under its own names.

    >>> in_our_names({"train/actor/entropy": 0.4, "actor/lr": 1e-6})
    {'entropy': 0.4}
    """
    plain = {name.removeprefix("train/"): value for name, value in logged.items()}
    ours = {}
    for name, theirs in NAMES.items():
        known = [plain[other] for other in theirs if other in plain]
        if known:
            ours[name] = known[0]
    return ours
