"""What in GRPOConfig's correction of vLLM's samples does nothing, or something else than it
says. By the source of TRL 1.16."""

from entrostat.doctor.checks import Run, outside_band
from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.settings import shown

SWITCHES = ("use_vllm", "vllm_importance_sampling_correction")
MODE, HIGH, LOW, CAP = (
    f"vllm_importance_sampling_{name}"
    for name in ("mode", "clip_max", "clip_min", "cap")
)
MODES = ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")
BY_TOKEN = "token_"
"""How the modes begin that the loss vespo takes."""


def correction_ignored(run: Run) -> Found | None:
    """A part of the correction was set, and the correction is off."""
    settings = run.settings
    changed = [name for name in (MODE, HIGH, LOW, CAP) if settings.changed(name)]
    if _acts(run) or not changed:
        return None
    off = {name: False for name in SWITCHES if not settings[name]}
    unread = settings.of(changed)
    said = f"nothing reads {shown(unread)} under {shown(off)}"
    return Found(Finding.CORRECTION_IGNORED, said, unread | off)


def correction_band(run: Run) -> Found | None:
    """A cap under 1, or a lower bound over 1: the ratio of two engines is near 1."""
    low, high = run.settings[LOW], _high(run)
    if not _acts(run) or not outside_band(low, high):
        return None
    values = run.settings.of((LOW, HIGH if run.settings[CAP] is None else CAP, MODE))
    return Found(Finding.CORRECTION_BAND, f"1 is not within {shown(values)}", values)


def correction_refused(run: Run) -> Found | None:
    """TRL ends with a ValueError at its start, or at its first batch."""
    settings = run.settings
    mode, low, high = settings[MODE], settings[LOW], _high(run)
    said = ""
    if low is not None and high is not None and low >= high:
        said = f"{LOW} {low:g} is not under the upper bound {high:g}"
    elif not _acts(run):
        return None
    elif mode not in MODES:
        said = f"there is no {MODE} {mode}"
    elif mode.endswith("truncate") and low is None and high is None:
        said = f"{MODE} {mode} has no bound"
    elif run.loss == "vespo" and not mode.startswith(BY_TOKEN):
        said = f"loss_type vespo takes token_truncate or token_mask, not {mode}"
    if not said:
        return None
    values = settings.of((MODE, LOW, HIGH, CAP, *SWITCHES, "loss_type"))
    return Found(Finding.CORRECTION_REFUSED, said, values)


def _acts(run: Run) -> bool:
    return all(run.settings[name] for name in SWITCHES)


def _high(run: Run) -> float | None:
    """The upper bound; the older name goes over the newer one."""
    cap = run.settings[CAP]
    return run.settings[HIGH] if cap is None else cap


CORRECTION_CHECKS = (correction_ignored, correction_band, correction_refused)
