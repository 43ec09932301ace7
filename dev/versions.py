"""Writes the table of docs/versions.md: which versions CI tries together, from what it installs.

With --check it writes nothing, and exits with 1 where the page is out of date.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "versions.md"
START, END = "<!-- table -->", "<!-- end of table -->"
PACKAGES = ["torch", "transformers", "trl", "verl", "skyrl"]


class Environment(NamedTuple):
    """An environment that CI makes and runs tests in."""

    command: str
    constraints: str
    """The file that pins it."""
    python: str = "3.11"
    instead: Mapping[str, str] = MappingProxyType({})
    """Packages laid over the pinned ones."""


def environments() -> list[Environment]:
    makefile = (ROOT / "Makefile").read_text()
    other_trl = re.search(r"^TRL \?= (\S+)$", makefile, re.MULTILINE)[1]
    found = [
        Environment("make test", "constraints.txt"),
        Environment("make test-trl-other", "constraints.txt", instead={"trl": other_trl}),
        Environment("make test-verl", "constraints-verl.txt"),
        Environment("make test-skyrl", "constraints-skyrl.txt", python="3.12"),
    ]
    return [environment for environment in found if (ROOT / environment.constraints).exists()]


def pinned(constraints: str) -> dict[str, str]:
    """Package to version, of a constraints file."""
    lines = (ROOT / constraints).read_text().splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.lower(): version for name, version in pairs}


def table() -> str:
    rows = [["command", "Python", *PACKAGES], ["---"] * (len(PACKAGES) + 2)]
    for environment in environments():
        versions = pinned(environment.constraints) | dict(environment.instead)
        cells = [versions.get(package, "") for package in PACKAGES]
        rows.append([f"`{environment.command}`", environment.python, *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def page() -> str:
    """The page with its table made anew."""
    text = PAGE.read_text()
    before, rest = text.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n\n{table()}\n\n{END}{after}"


def main() -> int:
    if "--check" in sys.argv[1:]:
        if page() == PAGE.read_text():
            return 0
        print("docs/versions.md is out of date: python dev/versions.py writes it", file=sys.stderr)
        return 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
