"""A diagnosis as one JSON-able dict, of which --json, the tables and the page are made.

Infinity is a string and NaN is null. Changes are nats per unit step per trained token.

measure        name of the change in entrostat.entropy; null where there is none
groups         number of prompts; null where the dump does not tell them
verdict        five lines, each with its head: what moved entropy, which tokens, what to
               change, how sure, what was not read
sentences      what it all says, at length
limits         what the numbers are not
left_out       what can't be said for want of a column
skipped        what --skip-bad left out
change         of the updates
unclipped      the change had nothing been clipped
causes         terms that add up to change (entrostat.diagnose.causes)
breakdowns     by name a list of parts. A part has label, tokens, clipped_low and
               clipped_high (counts), kept (adds up to change), held_low and held_high
               (the change of the tokens that the clip took). A part that stands for all
               the others is labelled "others"
fresh          share of tokens whose ratio is exactly 1
in_force       the thresholds of each side, in words
map            change under every pair of thresholds, and the share of tokens that each
               threshold clips
reach          clipped, kl and responses per rollout (null where not read), and the
               sentence of entrostat.reach
advice         the pair that would have held entropy; null where there is none to give
measured       predicted beside measured change by rollout, where the next one's entropy
               is known
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entrostat.diagnose import words
from entrostat.diagnose.advice import advise, response
from entrostat.diagnose.attribution import Attribution
from entrostat.diagnose.breakdowns import breakdowns
from entrostat.diagnose.causes import Cause, causes, kept, unclipped
from entrostat.diagnose.grid import HIGHS, LOWS, clipped_sums
from entrostat.diagnose.reach import numbers
from entrostat.diagnose.series import series
from entrostat.diagnose.stream import Skipped
from entrostat.diagnose.tables import skipped_lines
from entrostat.diagnose.types import Json
from entrostat.diagnose.verdict import headed, not_read, verdict
from entrostat.estimate import Interval


def result(
    attribution: Attribution,
    skipped: Skipped,
    paths: Sequence[Path | str],
    notes: Sequence[str] = (),
) -> Json:
    """The diagnosis; its keys are described at the top of this file.

    Args:
        notes: what else can't be said, a line each.
    """
    plan = attribution.plan
    has_change = plan.measure is not None
    has_ratios = plan.has("old_logprobs")
    change = kept(attribution)
    # without the sums a cause could have the wrong sign
    change_causes = causes(attribution) if plan.exact else []
    advice = advise(attribution) if plan.exact else None
    measured = series(attribution, paths)
    reach = numbers(attribution)
    left_out = (*plan.left_out, *notes)
    lines = verdict(
        attribution, change, change_causes, advice, measured, reach.sentence
    )
    lines.append(not_read(left_out, skipped_lines(skipped.counts())))
    return _json(
        {
            "paths": [str(path) for path in paths],
            "measure": plan.measure,
            "tokens": attribution.tokens,
            "completions": attribution.completions,
            "groups": len(attribution.groups.keys) if plan.has("group") else None,
            "rollouts": len(attribution.steps.keys),
            "verdict": headed(lines),
            "sentences": words.sentences(
                attribution, change, change_causes, advice, measured
            ),
            "reach": {**reach._asdict(), "sentence": reach.sentence},
            "limits": words.limits(attribution),
            "left_out": left_out,
            "skipped": skipped.counts(),
            "change": change if has_change else None,
            "unclipped": unclipped(attribution) if has_change else None,
            "causes": _causes(attribution, change_causes) if has_change else [],
            "breakdowns": breakdowns(attribution),
            "fresh": attribution.fresh / attribution.tokens if has_ratios else None,
            "in_force": _in_force(attribution),
            "map": _map(attribution) if has_ratios and has_change else None,
            "advice": advice,
            "measured": measured,
        }
    )


def _causes(attribution: Attribution, causes: list[Cause]) -> list[Json]:
    described = []
    for cause in causes:
        what = words.of_cause(attribution, cause.key)
        described.append(
            {
                "key": cause.key,
                "what": what,
                "change": cause.change,
                "share": cause.share,
            }
        )
    return described


def _in_force(attribution: Attribution) -> dict[str, str]:
    texts = {}
    for side, bound in attribution.in_force.items():
        if bound.tokens:
            texts[side] = words.in_force(bound)
    return texts


def _map(attribution: Attribution) -> Json:
    clipped_low, clipped_high = clipped_sums(attribution.bins.tokens.sum(1))
    return {
        "lows": LOWS,
        "highs": HIGHS,
        "change": response(attribution).tolist(),
        "clipped_low": (clipped_low / attribution.tokens).tolist(),
        "clipped_high": (clipped_high / attribution.tokens).tolist(),
    }


def _json(value: Any) -> Any:
    """Dataclasses and intervals as dicts, NaN as None, infinity as a string."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _json(getattr(value, name)) for name in names}
    if isinstance(value, Interval):
        return _json(value._asdict())
    if isinstance(value, dict):
        return {name: _json(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_json(entry) for entry in value]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)
