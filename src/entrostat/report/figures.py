"""The figures of a report, those of their own files included. Each is None where no run has its numbers."""

import dataclasses
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from entrostat.report.heat import response
from entrostat.report.plane import plane
from entrostat.report.plots import (
    BASE,
    INK,
    Curve,
    Figure,
    Group,
    Panel,
    Table,
    band,
    curves_figure,
    digits,
    groups,
    interval,
    layouts,
    trace,
)
from entrostat.report.read import Run, Score
from entrostat.report.temperatures import temperatures

REGIONS = {
    "E1": "E1 · likely, A > 0 · lowers H",
    "E2": "E2 · unlikely, A > 0 · raises H",
    "E3": "E3 · likely, A < 0 · raises H",
    "E4": "E4 · unlikely, A < 0 · lowers H",
}
"""In the order of the panels: columns are likely and unlikely tokens, rows the sign of the advantage."""


def figures(runs: Sequence[Run]) -> list[Figure]:
    """All figures that `runs` have numbers for."""
    makers = (
        entropy,
        control,
        reward,
        clip_shares,
        regions,
        response,
        pass_at_k,
        temperatures,
        plane,
    )
    return [figure for make in makers if (figure := make(runs)) is not None]


def entropy(runs: Sequence[Run]) -> Figure | None:
    """Mean token entropy, with its target and the entropy on held-out prompts where a run has them."""
    caption = (
        "Mean entropy of the policy that sampled the rollout, over the trained tokens."
    )
    curves = [Curve("entropy")]
    if any(run.curve("target") for run in runs):
        caption += " Dashed: the target."
        curves.append(Curve("target", dash="dash", note="target"))
    if any(run.curve("held_out_entropy") for run in runs):
        caption += " Open markers: on fixed held-out prompts."
        curves.append(Curve("held_out_entropy", note="held out", marks=True))
    return curves_figure(
        runs, "entropy", "Entropy", caption, curves, [Panel("", "nats per token")]
    )


def control(runs: Sequence[Run]) -> Figure | None:
    """The thermostat's pressure, and the tokens that it and the clip take the gradient from."""
    steered = [
        run if run.curve("pressure") else dataclasses.replace(run, rows={})
        for run in runs
    ]
    caption = (
        "Pressure: above zero the thermostat's window raises entropy, below zero it lowers it, at zero it is the plain "
        "symmetric clip. Shares of trained tokens, solid: dropped, outside of their window before the first update "
        "already. Dashed and dotted: gradient cut on the low and on the high side; a dropped token counts there while "
        "its ratio stays outside of its window."
    )
    curves = [Curve("pressure"), Curve("dropped", 1, note="dropped")]
    curves += [
        Curve("clip_low", 1, "dash", "cut, low side"),
        Curve("clip_high", 1, "dot", "cut, high side"),
    ]
    panels = [
        Panel("pressure", "pressure"),
        Panel("dropped and clipped", "share of tokens", "~%"),
    ]
    if not any(run.rows for run in steered):
        return None
    return curves_figure(
        steered, "control", "What the thermostat does", caption, curves, panels
    )


def reward(runs: Sequence[Run]) -> Figure | None:
    """Mean reward of a rollout."""
    caption = "Mean reward of the rollout's samples, on training prompts. Not smoothed."
    return curves_figure(
        runs, "reward", "Reward", caption, [Curve("reward")], [Panel("", "mean reward")]
    )


def clip_shares(runs: Sequence[Run]) -> Figure | None:
    """Share of trained tokens that lose their gradient, by side."""
    caption = (
        "Share of trained tokens whose gradient is cut. Low side: ratio under 1 − low and A < 0; cutting these raises "
        "entropy. High side: ratio over 1 + high and A > 0; cutting these lowers it."
    )
    panels = [Panel("low side", "share of tokens", "~%"), Panel("high side", "", "~%")]
    return curves_figure(
        runs, "clip", "Clip shares", caption, [Curve("clip_low", 0), Curve("clip_high", 1)], panels
    )  # fmt: skip


def regions(runs: Sequence[Run]) -> Figure | None:
    """First-order entropy change by region, of the tokens that kept their gradient and of those that lost it."""
    caption = (
        "A token is likely where its surprisal −ln p is under the entropy H of its state, else unlikely. Pushing up a "
        "likely token (E1) or down an unlikely one (E4) sharpens the policy and lowers entropy; pushing up an unlikely "
        "token (E2) or down a likely one (E3) flattens it and raises entropy. Solid: the first-order change by the "
        "tokens that kept their gradient. Dotted: what clipping took away. Mean per trained token, in nats per unit "
        "step in the logits; above zero raises entropy."
    )
    panels = [
        Panel(title, "" if i % 2 else "entropy change")
        for i, title in enumerate(REGIONS.values())
    ]
    curves = [Curve(f"{region}/change_kept", i) for i, region in enumerate(REGIONS)]
    curves += [
        Curve(f"{region}/change_clipped", i, "dot", "clipped")
        for i, region in enumerate(REGIONS)
    ]
    figure = curves_figure(
        runs, "regions", "Where the entropy goes", caption, curves, panels
    )
    return (
        None
        if figure is None
        else dataclasses.replace(figure, table=_region_table(runs))
    )


def _region_table(runs: Sequence[Run]) -> Table:
    """Means over the rollouts of each run: share of tokens, change kept, change clipped."""

    def mean(run: Run, key: str) -> float | None:
        seen = [value for value in run.curve(key) if value is not None]
        return fmean(seen) if seen else None

    rows = []
    for run in runs:
        for region in REGIONS:
            share, kept, clipped = (
                mean(run, f"{region}/{key}")
                for key in ("share", "change_kept", "change_clipped")
            )
            if (share, kept, clipped) != (None, None, None):
                percent = "–" if share is None else f"{share:.1%}"
                rows.append(
                    (run.name, region, percent, digits(kept, 5), digits(clipped, 5))
                )
    return Table(
        (
            "mean over rollouts",
            "region",
            "share of tokens",
            "change, kept",
            "change, clipped",
        ),
        tuple(rows),
    )


def pass_at_k(runs: Sequence[Run]) -> Figure | None:
    """pass@k against k after training, with the base model's."""
    ended = [(run.name, run.end.pass_at) for run in runs if run.end.pass_at]
    starts = list(
        {
            tuple(run.start.pass_at.items()): run.start.pass_at
            for run in runs
            if run.start.pass_at
        }.values()
    )
    if not ended:
        return None
    rows = [("base model", by_k) for by_k in starts] + ended
    data = _bands(runs, starts)
    data += [
        trace(_values(by_k), BASE, "base model", INK, "dash")
        | {"showlegend": by_k is starts[0]}
        for by_k in starts
    ]
    data += [one for group in groups(runs) for one in _group_traces(group)]
    ks = sorted({k for _, by_k in rows for k in by_k})
    layout, narrow = layouts(
        [Panel("", "pass@k", "~%")], x="k, samples a problem (log scale)"
    )
    for axes in (layout, narrow):
        axes["xaxis"] |= {
            "type": "log",
            "tickvals": ks,
            "ticktext": [str(k) for k in ks],
        }
        axes["yaxis"] |= {"range": [0, 1.02]}
    caption = (
        "Share of held-out problems with at least one right answer among k samples. Bands: 95% intervals. Where a "
        "curve is under the base model's, training has lost answers that the base model finds within k samples."
    )
    table = Table(
        ("run", *(f"k = {k}" for k in ks)),
        tuple((name, *(interval(by_k.get(k)) for k in ks)) for name, by_k in rows),
    )
    alt = "Line chart of pass@k against k. " + " ".join(
        _alt(name, by_k) for name, by_k in rows
    )
    return Figure("passk", "pass@k", caption, alt, tuple(data), layout, narrow, table)


def _alt(name: str, by_k: Mapping[int, Score]) -> str:
    first, last = min(by_k), max(by_k)
    return f"{name}: {digits(by_k[first].value)} at k = {first}, {digits(by_k[last].value)} at k = {last}."


def _bands(
    runs: Sequence[Run], starts: Sequence[Mapping[int, Score]]
) -> list[dict[str, Any]]:
    """The intervals of all curves, below the curves, and the fainter the more there are."""
    areas = [one for by_k in starts for one in band(by_k, BASE, INK)]
    for group in groups(runs):
        areas += [
            one
            for run in group.runs
            for one in band(run.end.pass_at, group.key, group.colour)
        ]
    opacity = min(0.15, 0.6 / max(len(areas), 1))
    return [area | {"opacity": opacity} for area in areas]


def _group_traces(group: Group) -> list[dict[str, Any]]:
    found = {run.name: run.end.pass_at for run in group.runs if run.end.pass_at}
    if not found:
        return []
    seeds = [
        trace(_values(by_k), group.key, name, group.colour, thin=True)
        for name, by_k in found.items()
    ]
    common = set.intersection(*(set(by_k) for by_k in found.values()))
    mean = {k: fmean(by_k[k].value for by_k in found.values()) for k in sorted(common)}
    marker = {"symbol": group.symbol, "size": 7, "color": group.colour}
    main = trace(mean, group.key, group.label, group.colour)
    return [
        *(seeds if len(found) > 1 else []),
        main | {"showlegend": True, "mode": "lines+markers", "marker": marker},
    ]


def _values(by_k: Mapping[int, Score]) -> dict[int, float | None]:
    return {k: score.value for k, score in by_k.items()}
