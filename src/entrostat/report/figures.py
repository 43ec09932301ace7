"""The figures of a report. Each is None where no run has its numbers."""

import dataclasses
from collections.abc import Sequence
from statistics import fmean

from entrostat.report.curves import Curve, curves_figure
from entrostat.report.figure import Figure, Table, digits
from entrostat.report.heat import response
from entrostat.report.layout import Panel
from entrostat.report.passk import pass_at_k
from entrostat.report.plane import plane
from entrostat.report.read import Run
from entrostat.report.temperatures import temperatures

REGIONS = {
    "E1": "E1 · likely, A > 0 · lowers H",
    "E2": "E2 · unlikely, A > 0 · raises H",
    "E3": "E3 · likely, A < 0 · raises H",
    "E4": "E4 · unlikely, A < 0 · lowers H",
}
"""In the order of the panels: columns are likely and unlikely tokens, rows the sign of
the advantage."""


def figures(runs: Sequence[Run]) -> list[Figure]:
    """All figures that `runs` have numbers for."""
    makers = (
        entropy,
        control,
        reward,
        clip_shares,
        kl_and_length,
        regions,
        response,
        pass_at_k,
        temperatures,
        plane,
    )
    drawn = []
    for make in makers:
        figure = make(runs)
        if figure is not None:
            drawn.append(figure)
    return drawn


def entropy(runs: Sequence[Run]) -> Figure | None:
    """Mean token entropy, in nats.

    Its target and the entropy on held-out prompts stand beside it where a run has them.
    """
    caption = (
        "Mean entropy of the policy that sampled the rollout, over the trained tokens."
    )
    held_out = "on fixed held-out prompts"
    curves = [
        Curve("entropy", style="of the rollout"),
        Curve("target", dash="dash", note="target", style="target", exact=True),
        Curve("held_out_entropy", note="held out", marks=True, style=held_out),
    ]
    panels = [Panel("", "nats per token")]
    return curves_figure(runs, "entropy", "Entropy", caption, curves, panels)


def control(runs: Sequence[Run]) -> Figure | None:
    """The thermostat's pressure, and the tokens whose gradient it and the clip cut."""
    # Other runs have clip shares too, but they are no part of this figure. Their labels
    # keep their places, and with them their colours.
    steered = []
    for run in runs:
        is_steered = bool(run.known("pressure"))
        steered.append(run if is_steered else dataclasses.replace(run, rows={}))
    caption = (
        "Pressure: above zero the thermostat's window raises entropy, below zero it "
        "lowers it, at zero it is the plain symmetric clip. Shares are of trained "
        "tokens. Dropped: outside of their window before the first update already. Cut: "
        "without gradient on the low or on the high side; a dropped token counts there "
        "while its ratio stays outside of its window."
    )
    low, high = "cut, low side", "cut, high side"
    curves = [
        Curve("pressure", style="pressure, and dropped"),
        Curve("dropped", panel=1, note="dropped", style="pressure, and dropped"),
        Curve("clip_low", panel=1, dash="dash", note=low, style=low),
        Curve("clip_high", panel=1, dash="dot", note=high, style=high),
    ]
    panels = [
        Panel("pressure", "pressure"),
        Panel("dropped and clipped", "share of tokens", "~%"),
    ]
    title = "What the thermostat does"
    return curves_figure(steered, "control", title, caption, curves, panels)


def reward(runs: Sequence[Run]) -> Figure | None:
    """Mean reward of a rollout."""
    caption = "Mean reward of the rollout's samples, on training prompts."
    curves = [Curve("reward")]
    panels = [Panel("", "mean reward")]
    return curves_figure(runs, "reward", "Reward", caption, curves, panels)


def clip_shares(runs: Sequence[Run]) -> Figure | None:
    """Share of trained tokens that lose their gradient, by side."""
    caption = (
        "Share of trained tokens whose gradient is cut. Low side: ratio under 1 − low "
        "and A < 0; cutting these raises entropy. High side: ratio over 1 + high and "
        "A > 0; cutting these lowers it."
    )
    curves = [
        Curve("clip_low", panel=0),
        Curve("clip_high", panel=1),
        Curve("clipped", panel=2),
    ]
    panels = [
        Panel("low side", "share of tokens", "~%"),
        Panel("high side", "", "~%"),
        Panel("both sides together", "share of tokens", "~%"),
    ]
    return curves_figure(runs, "clip", "Clip shares", caption, curves, panels)


def kl_and_length(runs: Sequence[Run]) -> Figure | None:
    """How far the policy moves, and how long its completions are, of other trainers'
    logs."""
    caption = (
        "KL of a rollout: from the policy that sampled to the one in its updates, nats "
        "per token; over 1e-2 noise moves entropy as much as a clip setting would. KL "
        "from the reference model is another number. Length: mean tokens of a completion."
    )
    curves = [
        Curve("policy_kl", panel=0),
        Curve("reference_kl", panel=1),
        Curve("length", panel=2),
    ]
    panels = [
        Panel("KL of a rollout", "nats per token"),
        Panel("KL from the reference", "nats per token", "~g"),
        Panel("length", "tokens", ","),
    ]
    return curves_figure(runs, "kl", "KL and length", caption, curves, panels)


def regions(runs: Sequence[Run]) -> Figure | None:
    """First-order entropy change by region.

    Tokens that kept their gradient and tokens that lost it have curves of their own.
    """
    caption = (
        "A token is likely where its surprisal −ln p is under the entropy H of its "
        "state, else unlikely. Pushing up a likely token (E1) or down an unlikely one "
        "(E4) sharpens the policy and lowers entropy; pushing up an unlikely token "
        "(E2) or down a likely one (E3) flattens it and raises entropy. First-order "
        "change, mean per trained token, in nats per unit step in the logits; above zero "
        "raises entropy."
    )
    by_kept, taken = "by tokens that kept their gradient", "what clipping took away"
    panels = []
    kept = []
    clipped = []
    for i, (region, title) in enumerate(REGIONS.items()):
        # the y axis is named once per row of two panels
        panels.append(Panel(title, "" if i % 2 else "entropy change"))
        kept.append(Curve(f"{region}/change_kept", i, style=by_kept))
        change = f"{region}/change_clipped"
        clipped.append(Curve(change, i, "dot", "clipped", style=taken))
    title = "Where the entropy goes"
    figure = curves_figure(runs, "regions", title, caption, kept + clipped, panels)
    if figure is None:
        return None
    return dataclasses.replace(figure, table=_region_table(runs))


def _region_table(runs: Sequence[Run]) -> Table:
    """Means over the rollouts of each run, a row for each region.

    The curves' own table would have twelve columns for each run.
    """
    head = (
        "mean over rollouts",
        "region",
        "share of tokens",
        "change, kept",
        "change, clipped",
    )
    rows = []
    for run in runs:
        for region in REGIONS:
            share = _mean(run, f"{region}/share")
            kept = _mean(run, f"{region}/change_kept")
            clipped = _mean(run, f"{region}/change_clipped")
            if share is None and kept is None and clipped is None:
                continue
            percent = "–" if share is None else f"{share:.1%}"
            changes = (digits(kept, 5), digits(clipped, 5))
            rows.append((run.name, region, percent, *changes))
    return Table(head, rows)


def _mean(run: Run, key: str) -> float | None:
    """The mean of `key` over the rollouts that have it."""
    values = run.known(key).values()
    return fmean(values) if values else None
