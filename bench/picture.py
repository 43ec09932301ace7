"""Draws docs/thermostat.svg, the README's picture, from docs/results/thermostat.jsonl: references, and entropy on them.

    python bench/picture.py

Plotly draws it in headless Chromium (Debian: apt-get install chromium chromium-driver) and hands back the SVG.
"""

import json
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "thermostat.svg"
GREY = "#82888f"
FAINT = "rgba(130, 136, 143, 0.25)"
OURS, PLAIN = "#3b8fd4", "#d55e00"
READABLE_ON_BOTH = {
    "template": "plotly_white",
    "paper_bgcolor": "rgba(0, 0, 0, 0)",
    "plot_bgcolor": "rgba(0, 0, 0, 0)",
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": GREY},
}
"""Layout of a picture that can be read on a light and on a dark page."""
PANELS = {
    "three constants": ("constant .2", "constant .35", "constant .5"),
    "a fall": ("fall .43 to .12",),
    "a step": ("step .3 to .45",),
    "a wave": ("sine .35 +- 20%",),
}


def records() -> dict[str, dict[str, Any]]:
    lines = (ROOT / "docs" / "results" / "thermostat.jsonl").read_text().splitlines()
    return {record["key"]: record for record in map(json.loads, lines)}


def of(found: dict[str, dict[str, Any]], start: str) -> list[dict[str, Any]]:
    return [record for key, record in sorted(found.items()) if key.startswith(start)]


def figure() -> go.Figure:
    found = records()
    plain = of(found, "outcome/grpo / lr 1e-4/")
    fig = make_subplots(1, len(PANELS), subplot_titles=list(PANELS), shared_yaxes=True, horizontal_spacing=0.025)
    for column, rows in enumerate(PANELS.values(), 1):
        first = column == 1
        if plain:
            curve = np.mean([record["entropy"][:20] for record in plain], axis=0)
            style = {"color": PLAIN, "width": 2, "dash": "dot"}
            name = "plain GRPO, 0.2/0.2"
            fig.add_scatter(x=5 * np.arange(20), y=curve, name=name, line=style, showlegend=first, row=1, col=column)
        for row in rows:
            label = first and row == rows[0]
            runs = of(found, f"tracking/{row}/")
            for i, run in enumerate(runs):
                x = 5 * np.arange(len(run["held_out"]))
                style = {"color": OURS, "width": 2}
                name = "thermostat, one line per seed"
                one = {"name": name, "line": style, "opacity": 0.75, "showlegend": label and i == 0}
                fig.add_scatter(x=x, y=run["held_out"], **one, row=1, col=column)
            style = {"color": GREY, "width": 2.5, "dash": "dash"}
            x = 5 * np.arange(len(runs[0]["target"]))
            shape = {"name": "target", "line": style, "showlegend": label}
            fig.add_scatter(x=x, y=runs[0]["target"], **shape, row=1, col=column)
        fig.update_xaxes(title="rollout", row=1, col=column)
    fig.update_yaxes(title="entropy, nats per token", row=1, col=1)
    fig.update_yaxes(range=[0, 0.6])
    fig.update_xaxes(gridcolor=FAINT, zerolinecolor=FAINT)
    fig.update_yaxes(gridcolor=FAINT, zerolinecolor=FAINT)
    fig.update_layout(
        **READABLE_ON_BOTH,
        width=1000,
        height=330,
        margin={"l": 60, "r": 10, "t": 60, "b": 45},
        legend={"orientation": "h", "x": 0, "y": 1.28},
    )
    return fig


def svg(fig: go.Figure) -> str:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        fig.write_html(page, include_plotlyjs=True, div_id="figure")
        driver = webdriver.Chrome(options=options, service=Service())
        try:
            driver.get(page.as_uri())
            driver.set_script_timeout(60)
            script = "Plotly.toImage('figure', {format: 'svg'}).then(arguments[0])"
            uri = driver.execute_async_script(script)
        finally:
            driver.quit()
    return unquote(uri.split(",", 1)[1])


if __name__ == "__main__":
    OUT.write_text(svg(figure()) + "\n")
    print(OUT)
