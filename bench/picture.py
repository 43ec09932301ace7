"""Draws docs/demo.svg, the README's picture, from the runs of bench/clip_lower.py: entropy over rollouts, pass@k after.

    python bench/picture.py runs/clip-lower "clip-lower .05/inf"

Plotly draws it in headless Chromium (Debian: apt-get install chromium chromium-driver) and hands back the SVG.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from clip_lower import SEEDS, folder

OUT = Path(__file__).parent.parent / "docs" / "demo.svg"
COLOURS = {"base model": "#777777", "grpo": "#d55e00", "strategy": "#0072b2"}
SMOOTH = 5


def entropy(root: Path, name: str) -> np.ndarray:
    """(seeds, rollouts), each a running mean over SMOOTH rollouts."""
    rows = []
    for seed in SEEDS:
        lines = (folder(root, name, seed) / "metrics.jsonl").read_text().splitlines()
        raw = np.array([json.loads(line)["entropy"] for line in lines])
        rows.append(np.convolve(raw, np.ones(SMOOTH) / SMOOTH, mode="valid"))
    return np.array(rows)


def passes(root: Path, name: str, when: str) -> tuple[list[int], np.ndarray]:
    """k, and pass@k of each seed."""
    found = [json.loads((folder(root, name, s) / f"scores-{when}.json").read_text())["pass@k"] for s in SEEDS]
    return [int(k) for k in found[0]], np.array([[v["value"] for v in f.values()] for f in found])


def figure(root: Path, name: str) -> go.Figure:
    fig = make_subplots(1, 2, subplot_titles=("token entropy, nats", "held-out pass@k after 100 rollouts"))
    for label, run, colour in (
        ("plain GRPO, .2/.2", "grpo .2/.2", COLOURS["grpo"]),
        (name, name, COLOURS["strategy"]),
    ):
        curves = entropy(root, run)
        for row in curves:
            fig.add_scatter(y=row, line={"color": colour, "width": 1}, opacity=0.35, showlegend=False, row=1, col=1)
        fig.add_scatter(y=curves.mean(0), name=label, line={"color": colour, "width": 3}, row=1, col=1)
        ks, values = passes(root, run, "end")
        fig.add_scatter(x=ks, y=values.mean(0), line={"color": colour, "width": 3}, showlegend=False, row=1, col=2)
    ks, values = passes(root, name, "start")
    fig.add_scatter(
        x=ks, y=values.mean(0), name="base model", line={"color": COLOURS["base model"], "dash": "dot"}, row=1, col=2
    )
    fig.update_xaxes(title="rollout", row=1, col=1)
    fig.update_xaxes(title="k", type="log", tickvals=ks, row=1, col=2)
    fig.update_yaxes(rangemode="tozero", row=1, col=1)
    fig.update_layout(
        template="plotly_white",
        width=900,
        height=360,
        margin={"l": 50, "r": 20, "t": 40, "b": 45},
        legend={"orientation": "h", "y": -0.2, "x": 0.5, "xanchor": "center"},
        paper_bgcolor="white",
    )
    return fig


def svg(fig: go.Figure) -> str:
    """The figure as Plotly.js draws it."""
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    with tempfile.TemporaryDirectory() as at:
        page = Path(at) / "page.html"
        fig.write_html(page, include_plotlyjs=True, div_id="figure")
        browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        try:
            browser.get(page.as_uri())
            script = "Plotly.toImage('figure', {format: 'svg'}).then(arguments[0])"
            url: Any = browser.execute_async_script(script)
        finally:
            browser.quit()
    return unquote(url.split(",", 1)[1])


if __name__ == "__main__":
    OUT.write_text(svg(figure(Path(sys.argv[1]), sys.argv[2])) + "\n")
