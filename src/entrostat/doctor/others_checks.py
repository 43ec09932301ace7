"""What does nothing, or something else than it says, in the settings of a trainer in
doctor/others.py. The checks read the table, and name no trainer."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from entrostat.doctor.checks import OF_THE_TRAINED, sequence_window
from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.others import OTHERS
from entrostat.doctor.others_async import ASYNC_CHECKS
from entrostat.doctor.others_run import OtherRun
from entrostat.doctor.settings import Settings, shown
from entrostat.trainers import trl_always_fresh, trl_steps_per_generation

THRESHOLDS = ("low", "high", "both", "pair", "probability", "cap")
SAMPLER_OFF: dict[str, tuple[Any, ...]] = {
    "top_p": (None, 1),
    "top_k": (None, 0, -1),
    "min_p": (None, 0),
}
"""Values under which the sampler draws from the whole distribution, by meaning."""


def other_findings(settings: Settings) -> list[Found]:
    """What is found under the trainer's own thresholds."""
    trainer = OTHERS[settings.trainer]
    setting = trainer.settings.get("loss")
    # a trainer without such a setting has one loss
    name = next(iter(trainer.losses))
    if setting is not None:
        name = settings[setting.name] or setting.default
    run = OtherRun(settings, trainer, name, trainer.losses.get(name))
    by_sequence = str(run["level"]).startswith("sequence")
    if run.loss is not None and run.loss.unit == "token" and by_sequence:
        run = dataclasses.replace(run, loss=run.loss._replace(unit="sequence"))
    checks = (
        _ratio_always_one,
        _threshold_ignored,
        _dual_clip,
        _cap_under_one,
        _window_open,
        _sequence_window,
        _switched_off,
        _temperature,
        _sampling_cut,
        *ASYNC_CHECKS,
    )
    return [found for check in checks if (found := check(run)) is not None]


def responses(run_settings: Settings) -> int | None:
    """Completions per rollout; None where the settings do not say."""
    trainer = OTHERS[run_settings.trainer]
    run = OtherRun(run_settings, trainer, "", None)
    sizes = run.named("rollout", "samples")
    if run["rollout"] is None or run_settings.unknown & sizes.keys():
        return None
    return run["rollout"] * (run["samples"] or 1)


def updates(run: OtherRun) -> int | None:
    """Optimizer updates per rollout; None where the settings do not say, or where no
    ratio is against the policy at the rollout's start."""
    if run.trainer.batches == "streamed":
        return None
    if run.trainer.batches == "accumulated":
        return _accumulated(run)
    epochs = run["epochs"] or run["iterations"] or 1
    if run["steps"] is not None:
        return run["steps"] * epochs
    if run["rollout"] is None or run["update"] is None:
        # a rollout is one update unless something says more
        return epochs if run.trainer.batches == "steps" and not run["rollout"] else None
    size = run["rollout"]
    if run.trainer.batches == "responses":
        size *= run["samples"]
    return math.ceil(size / run["update"]) * epochs


def _accumulated(run: OtherRun) -> int | None:
    """As TRL counts: 1 where no update falls within a rollout, else more."""
    given = run["steps"] is not None or run["rollout"] is not None
    accumulation = run["accumulation"]
    if accumulation is None:
        # whatever it is, a rollout has as many micro-batches
        return None if given else (run["iterations"] or 1)
    if run["rollout"] is not None and run["steps"] is None:
        # how many micro-batches that is depends on the number of processes
        return None
    steps = trl_steps_per_generation(
        steps_per_generation=run["steps"],
        generation_batch_size=None,
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=1,
        processes=1,
    )
    fresh = trl_always_fresh(
        steps_per_generation=steps,
        num_iterations=run["iterations"] or 1,
        gradient_accumulation_steps=accumulation,
    )
    return 1 if fresh else 2


def _ratio_always_one(run: OtherRun) -> Found | None:
    loss = run.loss
    entry = bool(run.settings.stale) and not run.trainer.late_entry
    stale = entry or any(run.holds(where) for where in run.trainer.stale)
    if loss is None or loss.acts_at_one or run.against_sampler or stale:
        return None
    if updates(run) != 1:
        return None
    sizes = ("rollout", "samples", "update", "steps", "accumulation")
    values = run.named(*sizes, "epochs", "iterations")
    # the last part of two names may be the same
    text = ", ".join(f"{name} {value}" for name, value in values.items())
    said = f"one update per rollout ({text})"
    if run.late is not None:
        said += f", {OF_THE_TRAINED}"
    return Found(Finding.RATIO_ALWAYS_ONE, said, values)


def _threshold_ignored(run: OtherRun) -> Found | None:
    """A threshold was changed that the loss does not read."""
    if run.loss is None:
        return None
    reads = set(run.loss.reads)
    if reads & {"low", "high"} and "both" in run.trainer.settings:
        reads |= {"both", "pair"}
    if run["pair"] is not None:
        reads.discard("both")
    # where it stands for a side that is not given
    if "high" in reads and run["high"] is None:
        reads.add("low")
    unread = {}
    for meaning in THRESHOLDS:
        if meaning not in reads and run.changed(meaning):
            unread[run.name(meaning)] = run[meaning]
    if not unread:
        return None
    said = f"the loss {run.loss_name} does not read {shown(unread)}"
    return Found(
        Finding.THRESHOLD_IGNORED, said, {run.name("loss"): run.loss_name, **unread}
    )


def _dual_clip(run: OtherRun) -> Found | None:
    """The cap of ratios where A < 0 lies inside the window."""
    high, cap = run.window()[1], run["cap"]
    if run.loss is None or "cap" not in run.loss.reads or cap is None or high is None:
        return None
    if cap >= 1 + high:
        return None
    said = f"{shown(run.named('cap'))} lies inside the window up to 1 + {high:g}"
    return Found(Finding.DUAL_CLIP, said, run.named("cap", "high", "pair"))


def _cap_under_one(run: OtherRun) -> Found | None:
    cap = run.window()[1]
    if run.loss is None or run.loss.unit != "cap" or cap is None or cap >= 1:
        return None
    said = f"the loss {run.loss_name} caps the ratio itself at {cap:g}"
    return Found(Finding.CAP_UNDER_ONE, said, run.named("loss", "low", "high"))


def _window_open(run: OtherRun) -> Found | None:
    """A side of the window that no token can reach: a ratio is over 0, and a difference
    of probabilities is within -1 and 1."""
    if run.loss is None or run.loss.unit not in ("token", "probability"):
        return None
    low, high = run.window()
    sides: Sequence[tuple[str, float | None]] = [("lower", low)]
    if run.loss.unit == "probability":
        sides = [("lower", low), ("upper", high)]
    never = [side for side, half in sides if half is not None and half >= 1]
    if not never or not run.loss.reads:
        return None
    values = run.named("low", "high", "both", "pair")
    if run.loss.reads == ("probability",):
        values = run.named("probability")
    said = f"no token can reach the {' and the '.join(never)} side ({shown(values)})"
    return Found(Finding.WINDOW_OPEN, said, values)


def _sequence_window(run: OtherRun) -> Found | None:
    if run.loss is None or run.loss.unit != "sequence":
        return None
    values = run.named("low", "high", "both", "pair")
    return sequence_window(*run.window(), values)


def _switched_off(run: OtherRun) -> Found | None:
    """A coefficient was set, and nothing reads it while its switch is off."""
    unread: dict[str, Any] = {}
    for coefficient, switches in run.trainer.switched:
        off = not any(run[switch] for switch in switches)
        if off and run[coefficient] and run.changed(coefficient):
            unread |= run.named(coefficient, *switches)
    if not unread:
        return None
    return Found(Finding.SWITCHED_OFF, shown(unread), unread)


def _temperature(run: OtherRun) -> Found | None:
    if run["temperature"] in (None, 1):
        return None
    values = run.named("temperature")
    default = "" if run.changed("temperature") else f" ({run.trainer.title}'s default)"
    said = (
        f"at {run['temperature']:g}{default} the logged entropy is the tempered "
        "sampler's, not the model's"
    )
    return Found(Finding.TEMPERATURE, said, values)


def _sampling_cut(run: OtherRun) -> Found | None:
    cuts = {}
    for meaning, off in SAMPLER_OFF.items():
        if meaning in run.trainer.settings and run[meaning] not in off:
            cuts[run.name(meaning)] = run[meaning]
    if not cuts:
        return None
    return Found(Finding.SAMPLING_CUT, f"the sampler has {shown(cuts)}", cuts)
