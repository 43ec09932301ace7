"""Run folders as `entrostat train` leaves them, made up: the numbers resemble a real run's, and mean nothing."""

import json
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

PATIENCE = 600
"""Seconds until a browser counts as hung. A page takes three; on a busy machine, much more."""
REGION_SIGNS = {"E1": -1.0, "E2": 0.55, "E3": 0.8, "E4": -0.45}


def score(value: float, half: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": max(value - half, 0.0), "high": min(value + half, 1.0)}


def evaluation(mean: float, most: float, half: float = 0.05) -> dict[str, Any]:
    """Scores with pass@1 = `mean` and pass@32 = `most`, pass@k in between rising with log k."""
    ks = (1, 2, 4, 8, 16, 32)
    by_k = {str(k): score(most - (most - mean) * (1 - math.log2(k) / 5) ** 1.6, half) for k in ks}
    return {"mean@32": score(mean, half), "pass@32": score(most, half), "pass@k": by_k}


def rollout(draw: random.Random, k: int, steps: int, end: float, high: float) -> dict[str, Any]:
    """A line of metrics.jsonl: entropy decays from .43 to `end`; a side without bounds clips nothing."""
    fade = math.exp(-3.5 * k / steps)
    entropy = end + (0.43 - end) * fade
    row: dict[str, Any] = {
        "step": k,
        "progress": k / steps,
        "entropy": entropy * (1 + draw.gauss(0, 0.03)),
        "target": None,
        "reward": 0.41 + 0.2 * (1 - fade) + draw.gauss(0, 0.025),
        "clip_low": 0.012 * (1.2 - fade) * (1 + draw.gauss(0, 0.15)),
        "clip_high": 0.0 if math.isinf(high) else 0.008 * (1.2 - fade) * (1 + draw.gauss(0, 0.15)),
    }
    for region, sign in REGION_SIGNS.items():
        change = sign * 0.02 * entropy * (1 + draw.gauss(0, 0.1))
        clipped = sign > 0 or not math.isinf(high)
        row[f"{region}/share"] = 0.25 + draw.gauss(0, 0.01)
        row[f"{region}/change_kept"] = change
        row[f"{region}/change_clipped"] = 0.15 * change if clipped else None
    return row


def write_run(
    folder: Path,
    label: str = "grpo",
    *,
    seed: int = 0,
    steps: int = 100,
    end: float = 0.08,
    mean: float = 0.52,
    most: float = 0.61,
    low: float = 0.2,
    high: float = 0.2,
    target: float | None = None,
    done: int | None = None,
    config: dict[str, Any] | None = None,
    summary: dict[str, Any] | None = None,
) -> Path:
    """Writes a run's folder; with `done` rollouts it is one that was killed in the middle of a line."""
    draw = random.Random(f"{label}{seed}")
    folder.mkdir(parents=True)
    settings = {
        "entrostat": "0.1.0",
        "strategy": {"name": label, "options": {"low": low, "high": high}},
        "label": label,
        "task": "countdown",
        "seed": seed,
        "steps": steps,
        "prompts": 32,
        "samples": 16,
        "updates_per_rollout": 8,
        "learning_rate": 1e-4,
        "reward": "true",
        "model": "",
    }
    (folder / "config.json").write_text(json.dumps(settings | (config or {})), encoding="utf-8")
    rows = [rollout(draw, k, steps, end, high) | {"target": target} for k in range(steps if done is None else done)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines if done is None else lines + '{"step": 9', encoding="utf-8")
    if done is None:
        scores = evaluation(mean, most) | {"entropy_start": rows[0]["entropy"], "entropy_end": rows[-1]["entropy"]}
        whole = scores | {"seconds": 91.5 + seed, "start": evaluation(0.41, 0.98, 0.02)} | (summary or {})
        (folder / "summary.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """`write_run` below the test's own folder: make_run("name", label, ...)."""
    return lambda name, *args, **kwargs: write_run(tmp_path / name, *args, **kwargs)


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """Headless Chromium of the system. Without it these tests skip, or fail under ENTROSTAT_REQUIRE_BROWSER=1."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        reason = f"{' and '.join(missing)} not found on PATH"
        if os.environ.get("ENTROSTAT_REQUIRE_BROWSER") == "1":
            pytest.fail(f"{reason}, and ENTROSTAT_REQUIRE_BROWSER=1 forbids to skip the browser tests")
        pytest.skip(f"{reason}: on Debian, apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs["chromium"])
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(programs["chromedriver"])))
    driver.command_executor.client_config.timeout = PATIENCE
    driver.set_page_load_timeout(PATIENCE)
    try:
        yield driver
    finally:
        driver.quit()
