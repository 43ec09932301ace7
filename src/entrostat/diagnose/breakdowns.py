"""The breakdowns of an attribution as lists of parts, JSON-able (see `result`)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from entrostat.diagnose.attribution import Attribution, Split
from entrostat.diagnose.sums import Floats, Ints
from entrostat.diagnose.texts import prompts, token_texts
from entrostat.diagnose.tokens import HIGH, KEPT, LOW
from entrostat.entropy import Region

MOVERS = 12
"""Tokens, and prompts, that are named on each side."""
_SIGNS = {-1: "A < 0", 0: "A = 0", 1: "A > 0"}

Part = dict[str, Any]


def breakdowns(attribution: Attribution) -> dict[str, list[Part]]:
    """By name the parts of each breakdown; without those that the dump can't tell."""
    plan = attribution.plan
    every: dict[str, list[Part]] = {}
    if plan.measure is not None:
        every["region"] = _parts(
            attribution, attribution.regions, lambda key: Region(key[0]).name
        )
    every["advantage"] = _parts(
        attribution, attribution.signs, lambda key: _SIGNS[key[0]]
    )
    every["position"] = _parts(
        attribution, attribution.positions, lambda key: _positions(key[0])
    )
    every["token"] = _tokens(attribution)
    if plan.has("group"):
        every["prompt"] = _prompts(attribution)
    if plan.has("group", "reward"):
        every["right answers"] = _by_share(attribution)
    every["rollout"] = _parts(
        attribution, attribution.steps, lambda key: _rollout(attribution, *key)
    )
    return {name: parts for name, parts in every.items() if parts}


def movers(split: Split) -> Ints:
    """Which parts moved entropy most.

    The MOVERS that lowered it most come first, then the MOVERS that raised it most.
    """
    order = np.argsort(split.kept, kind="stable")
    lowering = [i for i in order[:MOVERS] if split.kept[i] < 0]
    raising = [i for i in order[::-1][:MOVERS] if split.kept[i] > 0]
    return np.array(lowering + raising, dtype=np.int64)


def _part(
    attribution: Attribution, tokens: Floats, change: Floats, **about: Any
) -> Part:
    """One part; tokens and change by event, (events,)."""
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
    attribution: Attribution, split: Split, label_of: Callable[[list[int]], str]
) -> list[Part]:
    """Every part that has a token."""
    parts = []
    for i, key in enumerate(split.keys.tolist()):
        tokens, change = split.tokens[i], split.change[i]
        if tokens.any():
            parts.append(_part(attribution, tokens, change, label=label_of(key)))
    return parts


def _tokens(attribution: Attribution) -> list[Part]:
    """The token ids that moved entropy most."""
    split = attribution.ids
    chosen = movers(split)
    texts = token_texts(attribution.plan, split.keys[chosen, 0].tolist())
    parts = []
    for i in chosen:
        token = int(split.keys[i, 0])
        about = {"id": token, "label": texts.get(token)}
        parts.append(_part(attribution, split.tokens[i], split.change[i], **about))
    return parts + _others(attribution, split, chosen)


def _prompts(attribution: Attribution) -> list[Part]:
    """The prompts that moved entropy most."""
    split = attribution.groups
    chosen = movers(split)
    keys = [(path, step, group) for path, step, group in split.keys[chosen].tolist()]
    texts = prompts(attribution.plan, keys)
    parts = []
    for i, key in zip(chosen, keys, strict=True):
        path, step, group = key
        about = {
            "path": path,
            "step": step,
            "group": group,
            "label": f"{_rollout(attribution, path, step)}, prompt {group}",
            "text": texts.get(key),
        }
        parts.append(_part(attribution, split.tokens[i], split.change[i], **about))
    return parts + _others(attribution, split, chosen)


def _others(attribution: Attribution, split: Split, chosen: Ints) -> list[Part]:
    """One part that stands for all that were not chosen; none where there is none."""
    others = np.setdiff1d(np.arange(len(split.keys)), chosen)
    if not len(others):
        return []
    tokens = split.tokens[others].sum(0)
    change = split.change[others].sum(0)
    about = {"label": "others", "others": len(others)}
    return [_part(attribution, tokens, change, **about)]


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
            tokens = attribution.groups.tokens[at].sum(0)
            change = attribution.groups.change[at].sum(0)
            about = {"label": label, "prompts": int(at.sum())}
            parts.append(_part(attribution, tokens, change, **about))
    return parts


def _positions(octave: int) -> str:
    first, last = 2**octave, 2 ** (octave + 1) - 1
    return "1" if octave == 0 else f"{first} to {last}"


def _rollout(attribution: Attribution, path: int, step: int) -> str:
    """Its step, and its path where there are several."""
    paths = {source.path for source in attribution.plan.sources}
    if len(paths) > 1:
        return f"path {path + 1}, rollout {step}"
    return f"rollout {step}"
