"""Runs to report on, and a browser to read the report in."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from made_up_runs import write_run

PATIENCE = 600
"""Seconds until a browser counts as hung. A page takes three; on a busy machine, much more."""


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
