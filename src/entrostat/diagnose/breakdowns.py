"""The breakdowns of an attribution as lists of parts, JSON-able (see `result`)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from entrostat.diagnose.attribution import Attribution, Split
from entrostat.diagnose.texts import prompts, token_texts
from entrostat.diagnose.tokens import HIGH, KEPT, LOW
from entrostat.diagnose.types import Flags, Ints, Json
from entrostat.entropy import Region

MOVERS = 12
"""Tokens, and prompts, that are named on each side."""
_SIGNS = {-1: "A < 0", 0: "A = 0", 1: "A > 0"}

Part = Json
"""Of a breakdown; `result` has its keys."""


def breakdowns(attribution: Attribution) -> dict[str, list[Part]]:
    """By name the parts of each breakdown; without those that the dump can't tell."""
    plan = attribution.plan
    every: dict[str, list[Part]] = {}
    if plan.measure is not None:
        every["region"] = _parts(
            attribution,
            attribution.regions,
            lambda key: Region(key[0]).name,
        )
    every["advantage"] = _parts(
        attribution,
        attribution.signs,
        lambda key: _SIGNS[key[0]],
    )
    every["position"] = _parts(
        attribution,
        attribution.positions,
        lambda key: _positions(key[0]),
    )
    every["token"] = _tokens(attribution)
    if plan.has("group"):
        every["prompt"] = _prompts(attribution)
    if plan.has("group", "reward"):
        every["right answers"] = _by_share(attribution)
    every["rollout"] = _parts(
        attribution,
        attribution.steps,
        lambda key: _rollout(attribution, *key),
    )
    return {name: parts for name, parts in every.items() if parts}


def movers(split: Split) -> Ints:
    """Which parts moved entropy most.

    The MOVERS that lowered it most come first, then the MOVERS that raised it most.
    """
    rising = np.argsort(split.kept, kind="stable")
    least = rising[:MOVERS]
    most = rising[::-1][:MOVERS]
    lowering = least[split.kept[least] < 0]
    raising = most[split.kept[most] > 0]
    return np.concatenate((lowering, raising))


def _part(
    attribution: Attribution,
    split: Split,
    at: Sequence[int] | Ints | Flags,
    **about: Any,
) -> Part:
    """One part of a table: the parts `at` of a split together, and what it is."""
    tokens, change = split.of(at)
    part = about | {
        "tokens": int(tokens.sum()),
        "clipped_low": int(tokens[LOW]),
        "clipped_high": int(tokens[HIGH]),
    }
    if attribution.plan.measure is not None:
        per_token = change / attribution.tokens
        part["kept"] = float(per_token[KEPT])
        part["held_low"] = float(per_token[LOW])
        part["held_high"] = float(per_token[HIGH])
    return part


def _parts(
    attribution: Attribution,
    split: Split,
    label_of: Callable[[list[int]], str],
) -> list[Part]:
    """Every part that has a token."""
    parts = []
    for i, key in enumerate(split.keys.tolist()):
        if split.tokens[i].any():
            parts.append(_part(attribution, split, [i], label=label_of(key)))
    return parts


def _tokens(attribution: Attribution) -> list[Part]:
    """The token ids that moved entropy most."""
    split = attribution.ids
    chosen = movers(split)
    ids = split.keys[chosen, 0].tolist()
    texts = token_texts(attribution.plan, ids)
    parts = []
    for i, token in zip(chosen.tolist(), ids, strict=True):
        label = texts.get(token)
        parts.append(_part(attribution, split, [i], id=token, label=label))
    return parts + _others(attribution, split, chosen)


def _prompts(attribution: Attribution) -> list[Part]:
    """The prompts that moved entropy most."""
    split = attribution.groups
    chosen = movers(split)
    keys = list(map(tuple, split.keys[chosen].tolist()))
    texts = prompts(attribution.plan, keys)
    parts = []
    for i, key in zip(chosen.tolist(), keys, strict=True):
        path, step, group = key
        about = {
            "path": path,
            "step": step,
            "group": group,
            "label": f"{_rollout(attribution, path, step)}, prompt {group}",
            "text": texts.get(key),
        }
        parts.append(_part(attribution, split, [i], **about))
    return parts + _others(attribution, split, chosen)


def _others(
    attribution: Attribution,
    split: Split,
    chosen: Ints,
) -> list[Part]:
    """One part that stands for all that were not chosen; none where there is none."""
    every = np.arange(len(split.keys))
    others = np.setdiff1d(every, chosen)
    if not len(others):
        return []
    about = {"label": "others", "others": len(others)}
    return [_part(attribution, split, others, **about)]


def _by_share(attribution: Attribution) -> list[Part]:
    """Prompts by the share of right answers among their answers."""
    _, scored, right = attribution.rewards.T
    # 0 of 0 is NaN, which is in none of these
    share = np.full(len(scored), np.nan)
    np.divide(right, scored, out=share, where=scored > 0)
    chosen = {
        "none right": share <= 0,
        "up to a quarter": (share > 0) & (share <= 0.25),
        "up to a half": (share > 0.25) & (share <= 0.5),
        "up to three quarters": (share > 0.5) & (share <= 0.75),
        "not all right": (share > 0.75) & (share < 1),
        "all right": share >= 1,
        "not scored": np.isnan(share),
    }
    parts = []
    for label, at in chosen.items():
        if at.any():
            about = {"label": label, "prompts": int(at.sum())}
            parts.append(_part(attribution, attribution.groups, at, **about))
    return parts


def _positions(octave: int) -> str:
    first, last = 2**octave, 2 ** (octave + 1) - 1
    return "1" if octave == 0 else f"{first} to {last}"


def _rollout(
    attribution: Attribution,
    path: int,
    step: int,
) -> str:
    """Its step, and its path where there are several."""
    paths = {source.path for source in attribution.plan.sources}
    if len(paths) > 1:
        return f"path {path + 1}, rollout {step}"
    return f"rollout {step}"
