"""Draws the glossary's pictures, docs/glossary/NAME.svg: `make pictures`.

Each is computed from the formula that its entry names, none from a run. Greys and colours can be read on a light and
on a dark page, so the background is left out.
"""

from math import comb
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "glossary"
GREY, BLUE, ORANGE = "#82888f", "#3b8fd4", "#e0762c"
RAISES, LOWERS = ORANGE, BLUE
STYLE = {
    "svg.hashsalt": "entrostat",  # the same picture gives the same file
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "figure.figsize": (6.4, 2.6),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.transparent": True,
    "legend.frameon": False,
}
GREY_PARTS = ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"]


def entropy():
    """H = -sum p ln p of a sharp and of a flat next-token distribution."""
    sharp = np.array([0.94, 0.03, 0.01, 0.01, 0.01])
    flat = np.array([0.40, 0.25, 0.15, 0.12, 0.08])
    figure, axes = plt.subplots(1, 2, sharey=True)
    for axis, chances in zip(axes, (sharp, flat), strict=True):
        nats = -(chances * np.log(chances)).sum()
        axis.bar(range(len(chances)), chances, color=BLUE)
        axis.set(title=f"H = {nats:.2f} nats", xlabel="next token", xticks=[])
    axes[0].set_ylabel("probability")
    return figure


def group():
    """Advantages of one prompt's samples: reward less the group's mean."""
    rewards = np.array([1, 0, 0, 1, 0, 0, 0, 1])
    advantages = rewards - rewards.mean()
    figure, axis = plt.subplots()
    axis.bar(range(1, 9), advantages, color=[RAISES if a > 0 else LOWERS for a in advantages])
    axis.axhline(0, color=GREY, linewidth=1)
    axis.set(xlabel="sample of one prompt (rewards 1, 0, 0, 1, 0, 0, 0, 1)", ylabel="advantage A")
    return figure


def window():
    """PPO's clipped surrogate min(r A, clip(r) A): its gradient is zero where it is flat."""
    ratio = np.linspace(0.4, 1.6, 400)
    clipped = np.clip(ratio, 0.8, 1.2)
    figure, axes = plt.subplots(1, 2)
    for axis, advantage in zip(axes, (1, -1), strict=True):
        surrogate = np.minimum(ratio * advantage, clipped * advantage)
        shut = ratio > 1.2 if advantage > 0 else ratio < 0.8
        axis.plot(ratio, surrogate, color=GREY)
        axis.plot(ratio[shut], surrogate[shut], color=ORANGE, linewidth=3)
        axis.axvspan(0.8, 1.2, color=BLUE, alpha=0.15)
    axes[0].set(title="A > 0: clip-high at 1 + high", xlabel="ratio r", ylabel="surrogate")
    axes[1].set(title="A < 0: clip-low at 1 - low", xlabel="ratio r")
    return figure


def ratio():
    """A window on ratios that spread from update to update; at the first update all are 1."""
    change = np.linspace(-0.5, 0.5, 500)
    figure, axis = plt.subplots()
    axis.axvspan(0.8, 1.2, color=BLUE, alpha=0.15)
    for update, spread in ((2, 0.03), (8, 0.09), (16, 0.16)):
        density = np.exp(-0.5 * (change / spread) ** 2) / spread
        axis.plot(1 + change, density, color=GREY, alpha=0.35 + update / 25, label=f"update {update}")
    axis.axvline(1, color=ORANGE, label="update 1: every ratio is 1")
    axis.set(xlabel="ratio r of a token", ylabel="share of tokens", yticks=[])
    axis.legend(loc="upper left")
    return figure


def regions():
    """The four regions by surprisal against entropy, and by the sign of the advantage."""
    figure, axis = plt.subplots(figsize=(6.4, 3))
    cells = [
        (0, 1, "E1", "entropy falls", LOWERS),
        (1, 1, "E2", "entropy rises", RAISES),
        (0, 0, "E3", "entropy rises", RAISES),
        (1, 0, "E4", "entropy falls", LOWERS),
    ]
    for x, y, name, effect, colour in cells:
        axis.add_patch(plt.Rectangle((x, y), 1, 1, color=colour, alpha=0.25))
        axis.text(x + 0.5, y + 0.55, name, ha="center", fontsize=16)
        axis.text(x + 0.5, y + 0.28, effect, ha="center")
    axis.set(xlim=(0, 2), ylim=(0, 2), xticks=[0.5, 1.5], yticks=[0.5, 1.5])
    axis.set_xticklabels(["likely: surprisal < H", "unlikely: surprisal > H"])
    axis.set_yticklabels(["A < 0", "A > 0"])
    return figure


def tilt():
    """The thermostat's window [1 - low, 1 + high] by how likely the token was, at pressure 0.6."""
    excess = np.linspace(-2.5, 2.5, 300)
    low, high = (np.clip(0.2 * (1 + sign * 0.6 * excess), -1, 1) for sign in (1, -1))
    figure, axis = plt.subplots()
    axis.fill_between(excess, 1 - low, 1 + high, color=BLUE, alpha=0.25, label="window at u = 0.6")
    for edge in (0.8, 1.2):
        axis.axhline(edge, color=GREY, linestyle="--", linewidth=1)
    axis.axhline(1, color=ORANGE, linewidth=1, label="ratio of a fresh token")
    axis.set(xlabel="x: unlikely tokens on the left, likely ones on the right", ylabel="ratio r")
    axis.legend(loc="upper right")
    return figure


def odd_and_even():
    """Effects of two one-sided clips, and the parts that they are made of."""
    low_alone, high_alone = 2.1, -1.3
    odd, even = (low_alone - high_alone) / 2, (low_alone + high_alone) / 2
    figure, axis = plt.subplots()
    names = ["clip-low alone", "clip-high alone", "odd part", "even part"]
    axis.bar(names, [low_alone, high_alone, odd, even], color=[RAISES, LOWERS, GREY, GREY])
    axis.axhline(0, color=GREY, linewidth=1)
    axis.set(ylabel="change of ln H x 1,000")
    return figure


def pass_at_k():
    """pass@k = 1 - C(n - c, k) / C(n, k), for c right of n samples of each problem."""
    samples = 32
    policies = {
        "sharp: six problems always, four never": [32] * 6 + [0] * 4,
        "broad: a third of the samples of each": [11] * 10,
    }
    ks = [1, 2, 4, 8, 16, 32]
    figure, axis = plt.subplots()
    for (name, right), colour in zip(policies.items(), (BLUE, ORANGE), strict=True):
        scores = [np.mean([1 - comb(samples - c, k) / comb(samples, k) for c in right]) for k in ks]
        axis.plot(ks, scores, marker="o", color=colour, label=name)
    axis.set_xscale("log", base=2)
    axis.set(xlabel="k, samples per problem", ylabel="pass@k", ylim=(0, 1.05), xticks=ks)
    axis.set_xticklabels([str(k) for k in ks])
    axis.legend(loc="lower right")
    return figure


def staleness():
    """Which policy samples the rollout that is trained on."""
    figure, axis = plt.subplots(figsize=(6.4, 2.2))
    for row, (label, delay) in enumerate([("fresh", 0), ("2 rollouts stale", 2)]):
        for step in range(6):
            sampler = max(step - delay, 0)
            axis.annotate("", (step, row), (sampler, row - 0.42), arrowprops={"arrowstyle": "->", "color": GREY})
            axis.plot(step, row, "o", color=BLUE, markersize=14)
            axis.plot(sampler, row - 0.45, "s", color=ORANGE, markersize=8)
        axis.text(-1.9, row - 0.1, label)
    axis.set(xlim=(-2, 5.6), ylim=(-0.8, 1.5), xticks=range(6), yticks=[], xlabel="rollout")
    axis.set_title("squares: the policy that sampled; circles: the updates on its samples", fontsize=10)
    return figure


PICTURES = [entropy, group, ratio, window, regions, tilt, odd_and_even, pass_at_k, staleness]


def main():
    matplotlib.use("svg")
    plt.rcParams.update(STYLE | dict.fromkeys(GREY_PARTS, GREY))
    for draw in PICTURES:
        figure = draw()
        figure.tight_layout()
        figure.savefig(FOLDER / f"{draw.__name__}.svg", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
