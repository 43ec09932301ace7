"""Whose configuration a file is. A file that no trainer's own name is in belongs to none:
`nothing found` of it would say nothing."""

from collections.abc import Iterator, Mapping
from typing import Any

from entrostat.doctor import trl_fields, verl
from entrostat.doctor.others import OTHERS
from entrostat.doctor.others_settings import leaves
from entrostat.doctor.read import Source
from entrostat.doctor.settings import MAX_TEXT, near_name, plain

OF_TRL = frozenset(
    {
        "num_generations",
        "num_iterations",
        "steps_per_generation",
        "generation_batch_size",
        "epsilon",
        "epsilon_high",
        "reward_weights",
        "scale_rewards",
        "importance_sampling_level",
        "mask_truncated_completions",
        "vllm_importance_sampling_correction",
        "use_adaptive_entropy",
    }
)
"""Fields of a GRPOConfig that a configuration of another method does not have."""
OF_VERL = ("actor_rollout_ref",)
UNREAD: Mapping[str, str] = {
    "grpo.num_prompts_per_step": "NeMo RL",
    "grpo.num_generations_per_prompt": "NeMo RL",
}
"""Names of trainers that are known and not read."""
METHODS: Mapping[str, str] = {"rl": "axolotl", "rlhf_type": "ms-swift"}
"""Names whose value is the method, and whose they are."""


def trainer_of(source: Source) -> str:
    """`trl`, `verl` or a name of doctor/others.py. ValueError where it is none of them,
    or several."""
    if source.owner is not None:
        return "trl"
    names = set(_names(source))
    for name, other in UNREAD.items():
        if name in names:
            raise ValueError(
                f"{source.name} is a configuration of {other} ({name}), whose settings "
                "are not read"
            )
    for name, trainer in METHODS.items():
        method = source.fields.get(name)
        if method is not None:
            _check_method(source.name, name, method)
            return trainer
    ours = [name for name, each in OTHERS.items() if names & each.signature]
    if _is_verl(names):
        ours = ["verl"]
        if names & OF_TRL:
            raise ValueError(
                f"{source.name} is both: {min(names & OF_TRL)} is a field of GRPOConfig, "
                f"{min(names & verl.sections())} a section of verl's configuration"
            )
    elif not ours and _is_trl(names):
        ours = ["trl"]
    if not ours:
        raise ValueError(f"{source.name} {_why_none(names)}")
    return ours[0]


def _check_method(where: str, name: str, method: Any) -> None:
    if str(method).lower() not in ("grpo", "gspo"):
        raise ValueError(
            f"{where} has {name} {plain(str(method))}: of {METHODS[name]} only grpo is "
            "read"
        )


def _names(source: Source) -> Iterator[str]:
    """Every dotted name, and each section that it is in."""
    keys = [key for key, _ in leaves(source.fields)]
    keys += [override.key for override in source.overrides]
    for key in keys:
        parts = key.split(".")
        for end in range(1, len(parts) + 1):
            yield ".".join(parts[:end])


def _is_verl(names: set[str]) -> bool:
    """Whether a name is there that verl alone has: its large section, or a setting that
    the doctor reads."""
    return any(name in names for name in OF_VERL) or bool(names & verl.KINDS.keys())


def _is_trl(names: set[str]) -> bool:
    if names & OF_TRL:
        return True
    # a GRPOConfig is flat: what is below a name is the field's own
    fields = {name for name in names if "." not in name}
    known = trl_fields.fields()
    return bool(fields) and fields <= known.names | known.script


def _why_none(names: set[str]) -> str:
    wanted = "no name that is TRL's (for GRPO), verl's or another known trainer's own"
    if not names:
        return f"holds {wanted}: it is empty"
    for name in sorted(names):
        section, _, last = name.rpartition(".")
        if section and last in OF_TRL:
            return (
                f"holds {wanted} where one is looked for: {plain(last)} is TRL's, but "
                f"stands in {plain(section)}, where only the program that reads this "
                "file knows what it means; give the script that makes the GRPOConfig"
            )
    known = OF_TRL | verl.KINDS.keys()
    first = min(names)[:MAX_TEXT]
    near = [near_name(name[:MAX_TEXT], known) for name in sorted(names)[:20]]
    hint = next((each for each in near if each.startswith("did")), "no name is near")
    return f"holds {wanted} ({plain(first)}...): {hint}"
