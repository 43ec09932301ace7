"""A diagnosis as one JSON-able dict, which --json prints and the tables and the page are made of."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from entrostat.diagnose import words
from entrostat.diagnose.advice import Advice, advise, response
from entrostat.diagnose.attribution import Attribution, Split
from entrostat.diagnose.causes import causes, kept, unclipped
from entrostat.diagnose.grid import HIGHS, LOWS, clipped_sums
from entrostat.diagnose.reach import Numbers, numbers
from entrostat.diagnose.series import Series, series
from entrostat.diagnose.stream import Skipped
from entrostat.diagnose.sums import Floats, Ints
from entrostat.diagnose.texts import prompts, token_texts
from entrostat.diagnose.tokens import HIGH, KEPT, LOW
from entrostat.entropy import Region
from entrostat.estimate import Interval

MOVERS = 12
"""Tokens, and prompts, that are named on each side."""
_SHARES = (
    "none right",
    "up to a quarter",
    "up to a half",
    "up to three quarters",
    "not all right",
    "all right",
)


def result(
    found: Attribution, skipped: Skipped, paths: Sequence[Path | str]
) -> dict[str, Any]:
    """The diagnosis. Infinity is a string and NaN is null; changes are nats per unit step per trained token.

    groups         prompts; null where the dump does not tell them
    change         of the updates; unclipped: had nothing been clipped
    causes         terms that add up to change (entrostat.diagnose.causes)
    breakdowns     by name a list of parts: label, tokens, clipped_low, clipped_high (counts), kept (adds up to change),
                   held_low and held_high (the change of the tokens that the clip took); a part that stands for all
                   others is "others"
    map            change at every pair of thresholds, and the share of tokens that each clips
    reach          clipped, kl and responses of a rollout (null where not read), and the sentence of entrostat.reach
    advice         the pair that would have held entropy; null where advise gives none
    measured       predicted beside measured change by rollout, where the next one's entropy is known
    """
    change, why, advice, measured = (
        kept(found),
        causes(found),
        advise(found),
        series(found, paths),
    )
    known = found.plan.measure is not None
    return {
        "paths": [str(path) for path in paths],
        "measure": found.plan.measure,
        "tokens": found.tokens,
        "completions": found.completions,
        "groups": len(found.groups.keys) if found.plan.has("group") else None,
        "rollouts": len(found.steps.keys),
        "sentences": words.sentences(found, change, why, advice, measured),
        "reach": _reach(numbers(found)),
        "limits": words.limits(found),
        "left_out": list(found.plan.left_out),
        "skipped": asdict(skipped),
        "change": _interval(change) if known else None,
        "unclipped": _interval(unclipped(found)) if known else None,
        "causes": [_cause(found, cause) for cause in why] if known else [],
        "breakdowns": {
            name: parts for name, parts in _breakdowns(found).items() if parts
        },
        "fresh": found.fresh / found.tokens if found.plan.has("old_logprobs") else None,
        "in_force": {
            side: words.in_force(each)
            for side, each in found.in_force.items()
            if each.tokens
        },
        "map": _map(found) if found.plan.has("old_logprobs", "entropy") else None,
        "advice": None if advice is None else _advice(advice),
        "measured": _measured(measured),
    }


def _reach(read: Numbers) -> dict[str, Any]:
    return {**read._asdict(), "sentence": read.sentence}


def _breakdowns(found: Attribution) -> dict[str, list[dict[str, Any]]]:
    texts = token_texts(
        found.plan, [int(found.ids.keys[i, 0]) for i in movers(found.ids)]
    )
    return {
        "region": _parts(found, found.regions, lambda key: Region(key[0]).name)
        if found.plan.measure
        else [],
        "advantage": _parts(
            found, found.signs, lambda key: ("A < 0", "A = 0", "A > 0")[key[0] + 1]
        ),
        "position": _parts(found, found.positions, lambda key: _positions(key[0])),
        "token": _top(
            found, found.ids, lambda key: {"id": key[0], "label": texts.get(key[0])}
        ),
        "prompt": _prompts(found) if found.plan.has("group") else [],
        "right answers": _by_share(found) if found.plan.has("group", "reward") else [],
        "rollout": _parts(found, found.steps, lambda key: _step(found, key)),
    }


def movers(split: Split) -> Ints:
    """Which parts moved entropy most: the MOVERS that lowered it most, then the MOVERS that raised it most."""
    order = np.argsort(split.change[:, KEPT], kind="stable")
    down = [i for i in order[:MOVERS] if split.change[i, KEPT] < 0]
    up = [i for i in order[::-1][:MOVERS] if split.change[i, KEPT] > 0]
    return np.array(down + up, dtype=np.int64)


def _part(
    found: Attribution, tokens: Floats, change: Floats, about: dict[str, Any]
) -> dict[str, Any]:
    counts = {
        "tokens": tokens.sum(),
        "clipped_low": tokens[LOW],
        "clipped_high": tokens[HIGH],
    }
    moved = {"kept": change[KEPT], "held_low": change[LOW], "held_high": change[HIGH]}
    sums = {name: int(x) for name, x in counts.items()}
    if found.plan.measure is not None:
        sums |= {name: float(x) / found.tokens for name, x in moved.items()}
    return about | sums


def _parts(
    found: Attribution, split: Split, label: Callable[[list[int]], str]
) -> list[dict[str, Any]]:
    rows = zip(split.keys.tolist(), split.tokens, split.change, strict=True)
    return [
        _part(found, tokens, change, {"label": label(key)})
        for key, tokens, change in rows
        if tokens.any()
    ]


def _top(
    found: Attribution, split: Split, about: Callable[[list[int]], dict[str, Any]]
) -> list[dict[str, Any]]:
    chosen = movers(split)
    parts = [
        _part(found, split.tokens[i], split.change[i], about(split.keys[i].tolist()))
        for i in chosen
    ]
    others = np.setdiff1d(np.arange(len(split.keys)), chosen)
    if len(others):
        about_others = {"label": "others", "others": len(others)}
        parts.append(
            _part(
                found,
                split.tokens[others].sum(0),
                split.change[others].sum(0),
                about_others,
            )
        )
    return parts


def _prompts(found: Attribution) -> list[dict[str, Any]]:
    texts = prompts(
        found.plan, [found.groups.keys[i].tolist() for i in movers(found.groups)]
    )

    def about(key: list[int]) -> dict[str, Any]:
        place = f"{_step(found, key[:2])}, prompt {key[2]}"
        return {
            "path": key[0],
            "step": key[1],
            "group": key[2],
            "label": place,
            "text": texts.get((key[0], key[1], key[2])),
        }

    return _top(found, found.groups, about)


def _by_share(found: Attribution) -> list[dict[str, Any]]:
    known, right = found.rewards.T[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = right / known
    edges = [
        share <= 0,
        share <= 0.25,
        share <= 0.5,
        share <= 0.75,
        share < 1,
        share >= 1,
    ]
    labels = (*_SHARES, "not scored")
    which = np.select(edges, range(len(edges)), default=len(edges))
    parts = []
    for i, label in enumerate(labels):
        at = which == i
        if at.any():
            sums = found.groups.tokens[at].sum(0), found.groups.change[at].sum(0)
            parts.append(
                _part(found, *sums, {"label": label, "prompts": int(at.sum())})
            )
    return parts


def _positions(k: int) -> str:
    return "1" if k == 0 else f"{2**k} to {2 ** (k + 1) - 1}"


def _step(found: Attribution, key: list[int]) -> str:
    several = len({source.path for source in found.plan.sources}) > 1
    return f"path {key[0] + 1}, rollout {key[1]}" if several else f"rollout {key[1]}"


def _cause(found: Attribution, cause: Any) -> dict[str, Any]:
    share = None if cause.share is None else _interval(cause.share)
    return {
        "key": cause.key,
        "what": words.of_cause(found, cause.key),
        "change": _interval(cause.change),
        "share": share,
    }


def _map(found: Attribution) -> dict[str, Any]:
    low, high = clipped_sums(found.bins.tokens.sum(1))
    return {
        "lows": [_plain(x) for x in LOWS],
        "highs": [_plain(x) for x in HIGHS],
        "change": response(found).tolist(),
        "clipped_low": (low / found.tokens).tolist(),
        "clipped_high": (high / found.tokens).tolist(),
    }


def _advice(advice: Advice) -> dict[str, Any]:
    found = asdict(advice)
    intervals = {
        name: _interval(getattr(advice, name)) for name in ("change", "difference")
    }
    return found | intervals | {"low": _plain(advice.low), "high": _plain(advice.high)}


def _measured(measured: Series) -> dict[str, Any]:
    found = asdict(measured)
    return found | {
        "correlation": None
        if measured.correlation is None
        else _interval(measured.correlation)
    }


def _interval(x: Interval) -> dict[str, float | None]:
    return {
        name: value if math.isfinite(value) else None
        for name, value in x._asdict().items()
    }


def _plain(bound: float) -> float | str:
    return bound if math.isfinite(bound) else str(bound)
