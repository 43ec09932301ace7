"""Whether a clip setting can move entropy in a run of this configuration: entrostat.reach,
and where to look for the numbers that no configuration has."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.others import OTHERS, Trainer
from entrostat.doctor.others_checks import responses
from entrostat.doctor.settings import Settings
from entrostat.doctor.trl import micro_batches
from entrostat.doctor.verl import ROLLOUT
from entrostat.reach import LEAST_CLIPPED, reach


class Logged(NamedTuple):
    """Where a trainer's user finds two numbers in the run's log."""

    share: str
    kl: str


LOGGED: Mapping[str, Logged] = {
    "trl": Logged(
        share="the share of clipped tokens, the larger of clip_ratio/low_mean and "
        "clip_ratio/high_mean",
        kl="the KL of a rollout, which entrostat diagnose reads from a dump (TRL's kl is "
        "that from the reference model)",
    ),
    "verl": Logged(
        share="the share of clipped tokens, actor/pg_clipfrac (both sides together)",
        kl="the KL of a rollout, actor/ppo_kl (a mean over its updates)",
    ),
}
SIZES = frozenset(
    {
        "data.train_batch_size",
        f"{ROLLOUT}.n",
        "generation_batch_size",
        "per_device_train_batch_size",
        "steps_per_generation",
        "gradient_accumulation_steps",
        "num_generations",
    }
)
"""What makes the number of responses in verl and in TRL."""


def reached(
    settings: Settings,
    findings: Sequence[Found],
    *,
    clipped: float | None,
    kl: float | None,
    processes: int,
) -> dict[str, Any]:
    """JSON-able: "clipped", "kl" and "responses" (null where not known), "sentence", and
    "look_at", which is null unless the sentence lacks a number.

    Args:
        findings: of the doctor; where every ratio is 1 nothing is clipped.
        clipped, kl: of the run's log, as entrostat.reach takes them.
        processes: of the run.

    Raises:
        ValueError: a share or a KL that cannot be.
    """
    always_one = [
        found for found in findings if found.finding is Finding.RATIO_ALWAYS_ONE
    ]
    if clipped is None and always_one:
        clipped = 0.0
    count = responses_of(settings, processes)
    sentence = reach(clipped=clipped, kl=kl, responses=count)
    no_share = clipped is None
    # where too little is clipped, no KL changes the sentence
    no_kl = kl is None and (clipped is None or clipped >= LEAST_CLIPPED)
    look_at = None
    if no_share or no_kl:
        where = _where_to_look(settings.trainer, no_share=no_share, no_kl=no_kl)
        look_at = f"{where} {_counted(settings, count, processes)}"
    return {
        "clipped": clipped,
        "kl": kl,
        "responses": count,
        "sentence": sentence,
        "look_at": look_at,
    }


def responses_of(settings: Settings, processes: int) -> int | None:
    """Completions per rollout, over all processes; None where the settings do not say."""
    if settings.trainer in OTHERS:
        return responses(settings)
    if settings.unknown & SIZES:
        return None
    if settings.trainer == "verl":
        prompts = settings["data.train_batch_size"]
        return None if prompts is None else prompts * settings[f"{ROLLOUT}.n"]
    if settings["generation_batch_size"] is not None:
        return settings["generation_batch_size"]
    per_micro_batch = settings["per_device_train_batch_size"] * processes
    count = per_micro_batch * micro_batches(settings, processes)
    # TRL refuses another number, so there are more processes than are known
    return None if count % settings["num_generations"] else count


def _where_to_look(trainer: str, *, no_share: bool, no_kl: bool) -> str:
    """Which numbers of the log are missing, and the options that take them."""
    logged = LOGGED[trainer] if trainer in LOGGED else _logged_by(OTHERS[trainer])
    numbers, options = [], []
    if no_share:
        numbers.append(logged.share)
        options.append("--clipped SHARE")
    if no_kl:
        numbers.append(logged.kl)
        options.append("--kl NATS")
    return (
        f"Look in the run's log for {'; and '.join(numbers)}; give {' '.join(options)}."
    )


def _logged_by(trainer: Trainer) -> Logged:
    return Logged(
        share=f"the share of clipped tokens, {trainer.clip_metric}",
        kl="the KL of a rollout from the policy before its updates",
    )


def _counted(settings: Settings, responses: int | None, processes: int) -> str:
    """How many responses there are, and by what."""
    if responses is None:
        return "The settings do not say how many responses a rollout has."
    counted_by = "by this configuration"
    if settings.trainer == "trl" and settings["generation_batch_size"] is None:
        counted_by += f" and --processes {processes}"
    return f"Responses per rollout {counted_by}: {responses:,}."
