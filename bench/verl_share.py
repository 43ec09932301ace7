"""Which of verl's own RL scripts the plug-in supports, by its own rules.

    git clone https://github.com/verl-project/verl VERL
    python bench/verl_share.py VERL --commit NAME --out docs/results/verl-share.md

In an environment with verl. Each bash script is read as `entrostat doctor` reads it, nothing is executed. Its settings
go over the installed verl's, with the plug-in's lines and a strategy, and `settings` and `checks` of engines/verl judge
them. A script that chooses another policy loss than verl's vanilla or gspo counts as not supported: ours would take
its place.

Not counted is what is no RL (no reward in its loss: a teacher alone, a server of samples), what starts another script,
which is counted itself, and what starts a module that verl no longer has.
"""

import argparse
import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from verl.trainer.main_ppo import main as _loads_the_plug_in  # noqa: F401

from entrostat.doctor import Source, read
from entrostat.doctor.bash import read_bash
from entrostat.doctor.launch import Launch, launches
from entrostat.engines.verl.checks import checked_options
from entrostat.engines.verl.settings import LOSS, LOSS_MODE, NAME, TARGET, TARGET_KEY, TRAINER_MODE, check_whole
from entrostat.trainers import verl_trainer_mode

ENTRY = "verl.trainer.main_ppo"
ENGINES = ("megatron", "veomni", "torchtitan")
STRATEGIES = ("thermostat", "od", "adapo")
"""All follow the entropy. od reads its mean alone, so it runs where the thermostat does not; adapo has one window for
all tokens, so it runs on gspo."""
BENEATH = {"vanilla": "token", "gspo": "sequence"}
"""verl's losses that run beneath ours, and the importance_sampling_level that chooses each."""
NOT_COUNTED = "not counted: "


class Row(NamedTuple):
    """One script."""

    path: str
    trainer: str
    engine: str
    refused: str
    """Why it is not supported; empty where it is."""


def rows(checkout: Path) -> list[Row]:
    """Every bash script of a checkout that starts RL under verl, in order."""
    found = []
    for path in sorted(checkout.rglob("*.sh")):
        launch = first_run(path)
        if launch is not None:
            found.append(judged(path, checkout, launch))
    return found


def first_run(path: Path) -> Launch | None:
    """The first command that trains by RL; None where the script has none."""
    script = read_bash(path.read_text(encoding="utf-8"))
    return next((each for each in launches(script).launches if each.trainer == "verl"), None)


def judged(path: Path, checkout: Path, launch: Launch) -> Row:
    """The script's row."""
    source = read([str(path)])
    chosen = configured(source, engine_of(source, launch))
    mode = chosen.trainer.v1.trainer_mode if chosen.trainer.use_v1 else "v0"
    engine = chosen.actor_rollout_ref.actor.strategy
    name = str(path.relative_to(checkout))
    why = no_run(checkout, launch, chosen)
    if why:
        return Row(name, mode, engine, NOT_COUNTED + why)
    if launch.entry != ENTRY:
        return Row(name, launch.entry.removeprefix("verl."), engine, f"another driver, {launch.entry}")
    return Row(name, mode, engine, refusal(chosen))


def no_run(checkout: Path, launch: Launch, chosen: DictConfig) -> str:
    """Why a script is no RL run of verl's; empty for one."""
    distils = OmegaConf.select(chosen, "distillation.enabled")
    if distils and not OmegaConf.select(chosen, "distillation.distillation_loss.use_task_rewards"):
        return "a teacher alone, no reward in its loss"
    if "generation_server" in launch.entry:
        return "it only samples"
    if "bash" in launch.entry.split():
        return "it starts another script"
    file = checkout / f"{launch.entry.replace('.', '/')}.py"
    if launch.entry.startswith("verl.") and not file.exists():
        return f"verl has no {launch.entry} any more"
    return ""


def engine_of(source: Source, launch: Launch) -> str:
    """The value of Hydra's group model_engine."""
    for override in reversed(source.overrides):
        if override.key == "model_engine":
            return str(override.value)
    named = [engine for engine in ENGINES if engine in (launch.config or "")]
    return named[0] if named else "dp"


@functools.cache
def defaults(engine: str) -> DictConfig:
    """The installed verl's configuration under an engine."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=[f"model_engine={engine}"])


def configured(source: Source, engine: str) -> DictConfig:
    """The script's settings over verl's."""
    chosen = defaults(engine).copy()
    OmegaConf.set_struct(chosen, False)
    merged = OmegaConf.merge(chosen, {key: value for key, value in source.fields.items() if key != "defaults"})
    assert isinstance(merged, DictConfig)
    for override in source.overrides:
        OmegaConf.update(merged, override.key, override.value, merge=True, force_add=True)
    return merged


def refusal(chosen: DictConfig) -> str:
    """What the plug-in says to the script's settings with its own; empty where one of the strategies runs."""
    loss = chosen.actor_rollout_ref.actor.policy_loss.loss_mode
    if loss not in BENEATH:
        return f"another loss, {loss}"
    ours = {LOSS_MODE: NAME, TARGET_KEY: TARGET, f"{LOSS}.importance_sampling_level": BENEATH[loss]}
    if chosen.trainer.use_v1:
        ours[TRAINER_MODE] = verl_trainer_mode(chosen.trainer.v1.trainer_mode)
    said = ""
    for strategy in STRATEGIES:
        for key, value in (*ours.items(), (f"{LOSS}.strategy", strategy)):
            OmegaConf.update(chosen, key, value, force_add=True)
        try:
            check_whole(chosen)
            checked_options(chosen)
        except ValueError as error:
            said = re.split(r"[:;]", str(error))[0]
        else:
            return ""
    return said


# The page


def page(found: Sequence[Row], command: str, commit: str) -> str:
    """The count as Markdown."""
    counted = [row for row in found if not row.refused.startswith(NOT_COUNTED)]
    supported = [row for row in counted if not row.refused]
    share = len(supported) / len(counted)
    lines = [
        "# The share of verl's RL scripts that the plug-in supports",
        "",
        f"    {command}",
        "",
        f"verl at {commit}: **{len(supported)} of {len(counted)} scripts, {share:.1%}**, by the plug-in's own rules,",
        "under a thermostat; OD where a thermostat needs what `bypass_mode` leaves out; ADAPO on gspo. A script with",
        f"another loss than verl's vanilla or gspo counts as not supported. Of all {len(found)} scripts for verl it is",
        f"{len(supported) / len(found):.1%}; those that are not counted stand in the last lines.",
        "",
        "| trainer | engine | supported | scripts |",
        "|---|---|---|---|",
    ]
    scripts = Counter((row.trainer, row.engine) for row in counted)
    for (trainer, engine), number in sorted(scripts.items(), key=lambda item: (-item[1], item[0])):
        good = sum(1 for row in supported if (row.trainer, row.engine) == (trainer, engine))
        lines.append(f"| {trainer} | {engine} | {good} | {number} |")
    lines += ["", "| why not | scripts |", "|---|---|"]
    reasons = Counter(row.refused for row in found if row.refused)
    last = sorted(reasons.items(), key=lambda item: (item[0].startswith(NOT_COUNTED), -item[1], item[0]))
    lines += [f"| {reason} | {number} |" for reason, number in last]
    return "\n".join(lines) + "\n"


def main(words: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a checkout of verl's repository")
    parser.add_argument("--commit", required=True, help="what the page calls it")
    parser.add_argument("--out", type=Path, help="the page; else it is printed")
    options = parser.parse_args(None if words is None else list(words))
    command = f"python bench/verl_share.py VERL --commit {options.commit} --out docs/results/verl-share.md"
    text = page(rows(options.checkout), command, options.commit)
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
