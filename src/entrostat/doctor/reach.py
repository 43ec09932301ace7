"""Whether a clip setting can move entropy in a run of this configuration: entrostat.reach, and where to look for the
numbers that no configuration has."""

from collections.abc import Mapping, Sequence
from typing import Any

from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.settings import Settings
from entrostat.doctor.trl import steps_per_generation
from entrostat.doctor.verl import ROLLOUT
from entrostat.reach import LEAST_CLIPPED, reach

LOGGED: Mapping[str, tuple[str, str]] = {
    "trl": (
        "the share of clipped tokens, the larger of clip_ratio/low_mean and clip_ratio/high_mean",
        "the KL of a rollout, which entrostat diagnose reads from a dump (TRL's kl is that from the reference model)",
    ),
    "verl": (
        "the share of clipped tokens, actor/pg_clipfrac (both sides together)",
        "the KL of a rollout, actor/ppo_kl (a mean over its updates)",
    ),
}
"""Where each trainer's user finds the share of clipped tokens and the KL of a rollout."""


def reached(
    s: Settings,
    found: Sequence[Found],
    *,
    clipped: float | None,
    kl: float | None,
    processes: int,
) -> dict[str, Any]:
    """JSON-able: "clipped", "kl" and "responses" (null where not known), "sentence", and "look_at", which is null where
    no number is missing that the sentence speaks of.

    Args:
        found: what the doctor has found; where every ratio is 1 nothing is clipped.
        clipped, kl: of the run's log, as entrostat.reach takes them.
        processes: of the run.

    Raises:
        ValueError: a share or a KL that can't be.
    """
    if clipped is None and any(
        each.finding is Finding.RATIO_ALWAYS_ONE for each in found
    ):
        clipped = 0.0
    responses = responses_of(s, processes)
    sentence = reach(clipped=clipped, kl=kl, responses=responses)
    missing = (
        clipped is None,
        kl is None and (clipped is None or clipped >= LEAST_CLIPPED),
    )
    look_at = _look_at(s, responses, processes, *missing) if any(missing) else None
    return {
        "clipped": clipped,
        "kl": kl,
        "responses": responses,
        "sentence": sentence,
        "look_at": look_at,
    }


def responses_of(s: Settings, processes: int) -> int:
    """Completions of a rollout, over all processes."""
    if s.trainer == "verl":
        return s["data.train_batch_size"] * s[f"{ROLLOUT}.n"]
    if s["generation_batch_size"] is not None:
        return s["generation_batch_size"]
    return (
        s["per_device_train_batch_size"]
        * processes
        * steps_per_generation(s, processes)
    )


def _look_at(
    s: Settings, responses: int, processes: int, no_share: bool, no_kl: bool
) -> str:
    share, kl = LOGGED[s.trainer]
    found = [text for text, missing in ((share, no_share), (kl, no_kl)) if missing]
    options = [
        text
        for text, missing in (("--clipped SHARE", no_share), ("--kl NATS", no_kl))
        if missing
    ]
    counted = "by this configuration"
    if s.trainer == "trl" and s["generation_batch_size"] is None:
        counted += f" and --processes {processes}"
    return (
        f"Look in the run's log for {'; and '.join(found)}; give {' '.join(options)}. Responses a rollout {counted}: "
        f"{responses:,}."
    )
