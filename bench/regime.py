"""The map of regimes, docs/regime.md: where the first-order effect of a clip rules, and where noise does.

    python bench/regime.py DIR              measures what is missing (about 80 core minutes), a folder a cell
    python bench/regime.py DIR --render     docs/results/regime.json from what DIR holds, and what is made of it
    python bench/regime.py --render         what is made of it alone: the tables of docs/regime.md, and docs/regime.svg

Every cell is paired branches (entrostat.lab.paired) on countdown's base model under bernoulli:0.5 with R - mean: no
clipping as the base, and one-sided thresholds of several sizes as arms. It goes on where it was stopped.
"""

import argparse
import dataclasses
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import regime_fits
import regime_page
import regime_picture
from entrostat.lab.effect import estimate, pair_of
from entrostat.lab.effect_table import as_json
from entrostat.lab.measurement import Measurement
from entrostat.lab.methods import make_method
from entrostat.lab.point import Point

ALL = (0.2, 0.05, 0.0125, 0.003)
RATES = (6.25e-6, 1.25e-5, 2.5e-5, 5e-5, 1e-4, 2e-4)
OUT = Path(__file__).parent.parent / "docs" / "results" / "regime.json"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One point of the map."""

    point: Point
    eps: tuple[float, ...]
    rollouts: int

    @property
    def name(self) -> str:
        p = self.point
        responses = p.prompts * p.samples
        return f"r{responses}-u{p.updates_per_rollout}-lr{p.learning_rate:g}-s{p.staleness}"


def cells() -> list[Cell]:
    """All points, the ones that say most first."""
    rates = [Cell(Point(learning_rate=rate), ALL, 64) for rate in RATES]
    stale = [Cell(Point(learning_rate=2.5e-5, staleness=k), ALL, 64) for k in (1, 2, 4)]
    updates = [Cell(Point(learning_rate=2.5e-5, updates_per_rollout=u), ALL, 64) for u in (2, 4, 16)]
    batches = []
    for rate, eps in ((2.5e-5, (0.05, 0.0125)), (1e-4, (0.2, 0.05))):
        for prompts, length, rollouts in ((64, 16, 48), (256, 8, 24)):
            point = Point(prompts=prompts, updates_per_rollout=16, learning_rate=rate, length=length, warmup=3)
            batches.append(Cell(point, eps, rollouts))
    batches.insert(2, Cell(Point(updates_per_rollout=16, learning_rate=1e-4), (0.2, 0.05), 64))
    return rates + batches[:1] + stale + batches[1:] + updates


def measurement(cell: Cell, folder: Path) -> Measurement:
    """The cell's folder."""
    none = make_method("grpo", low=1.0, high=math.inf)
    arms = [arm for eps in cell.eps for arm in pair_of(eps)]
    return Measurement(folder / cell.name, cell.point, [none, *arms])


def measure(folder: Path, workers: int | None) -> None:
    """All cells that the folder lacks, `workers` processes at a time."""
    for cell in cells():
        start = time.perf_counter()
        measurement(cell, folder).run(first_seed=0, rollouts=cell.rollouts, workers=workers)
        print(f"{cell.name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)


def record(folder: Path) -> dict[str, Any]:
    """What the folder holds: "cells", each with its point, thresholds and `estimate`, and "fits" (regime_fits)."""
    found, held = [], []
    for cell in cells():
        measured = measurement(cell, folder)
        if rows := measured.rows:
            said = as_json(estimate(rows, measured.methods))
            found.append({"cell": cell.name, **dataclasses.asdict(cell), "measured": said})
            held.append(regime_fits.cell(cell.name, cell.point, cell.eps, rows))
    return {"fits": regime_fits.fits(held), "cells": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--workers", type=int, default=None, help="processes; by default one a core")
    parser.add_argument("--render", action="store_true")
    options = parser.parse_args()
    if options.folder is not None:
        if not options.render:
            measure(options.folder, options.workers)
        OUT.write_text(json.dumps(record(options.folder), indent=1) + "\n", encoding="utf-8")
    elif not options.render:
        parser.error("give a folder to measure in, or --render")
    made = json.loads(OUT.read_text(encoding="utf-8"))
    page = regime_page.filled(regime_page.PAGE.read_text(encoding="utf-8"), made)
    regime_page.PAGE.write_text(page, encoding="utf-8")
    regime_picture.write(made)


if __name__ == "__main__":
    main()
