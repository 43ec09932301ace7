"""docs/dump.md: its example runs, and its table is the schema."""

import doctest
from pathlib import Path

from entrostat.dump.schema import COLUMNS

PAGE = Path(__file__).parents[2] / "docs" / "dump.md"


def test_the_example_runs():
    assert doctest.testfile(str(PAGE), module_relative=False).failed == 0


def test_the_table_is_the_schema():
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    kinds = {"float": "float32"}
    want = []
    for name, column in COLUMNS.items():
        kind = ("list of " if column.per_token else "") + kinds.get(str(column.kind), str(column.kind))
        want.append([f"| `{name}`", kind, "yes" if column.required else "", f"{column.about} |"])
    assert rows == want
