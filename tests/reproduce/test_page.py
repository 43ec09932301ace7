"""docs/claims.md says what the results beside it say, and the results what the records of their runs say."""

import json
from pathlib import Path

import pytest

from entrostat.cli import main
from entrostat.reproduce import CLAIMS, Mode
from entrostat.reproduce.command import results
from entrostat.reproduce.runs import Records

DOCS = Path(__file__).parents[2] / "docs"
STORED = results(DOCS / "results" / "reproduce")


def test_the_page_is_made_from_the_results(capsys):
    assert main(["reproduce", "--render", str(DOCS / "results" / "reproduce")]) == 0
    assert capsys.readouterr().out == (DOCS / "claims.md").read_text(encoding="utf-8"), "run `make claims`"


@pytest.mark.parametrize("name", STORED)
def test_a_stored_result_follows_from_its_records(name):
    claim, records = CLAIMS[name], Records(DOCS / "results" / "reproduce")
    stored = STORED[name]
    assert stored["mode"] == {"fast": False, "seeds": None}
    assert list(dict.fromkeys(job.command for job in claim.jobs(Mode(), records))) == stored["runs"]
    again = json.loads(json.dumps(claim.report(claim.judge(Mode(), records))))
    for key in ("statement", "criterion", "verdict"):
        assert again[key] == stored[key]
    assert _numbers(again) == pytest.approx(_numbers(stored), rel=1e-3, abs=1e-9, nan_ok=True)


def _numbers(value):
    """All numbers in a report, in order."""
    if isinstance(value, dict):
        return [x for key in ("effect", "interval", "parts", "numbers") if key in value for x in _all(value[key])]
    return _all(value)


def _all(value):
    if isinstance(value, dict):
        return [x for inner in value.values() for x in _all(inner)]
    if isinstance(value, list):
        return [x for inner in value for x in _all(inner)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def test_a_folder_without_results_is_refused(capsys, tmp_path):
    assert main(["reproduce", "--render", str(tmp_path)]) == 2
    assert "holds no result of a claim" in capsys.readouterr().err


def test_a_remark_stands_with_its_result(capsys, tmp_path):
    stored = DOCS / "results" / "reproduce" / "a1.json"
    (tmp_path / "a1.json").write_bytes(stored.read_bytes())
    (tmp_path / "a1.md").write_text("Seen from here, it holds.\n", encoding="utf-8")
    (tmp_path / "a2.md").write_text("Nobody ran this one.\n", encoding="utf-8")
    assert main(["reproduce", "--render", str(tmp_path)]) == 0
    page = capsys.readouterr().out
    assert (
        page.index("**Verdict: holds.**") < page.index("\nSeen from here, it holds.\n") < page.index("| other numbers")
    )
    assert "Nobody ran" not in page


@pytest.mark.parametrize(
    ("names", "heads", "rows"),
    [
        (["a: x", "b: x", "a: y", "b: y", "c: y", "c: x"], ["x", "y"], ["a", "b", "c"]),
        (["a: x", "a: y", "a: z", "b: z", "b: x", "b: y"], ["a", "b"], ["x", "y", "z"]),
        (["a: x", "a: y", "b: x"], [""], ["a: x", "a: y", "b: x"]),  # one is missing
        (["a: x", "b: x"], [""], ["a: x", "b: x"]),
        (["a", "b: x"], [""], ["a", "b: x"]),
    ],
)
def test_numbers_named_each_with_each_are_a_table(capsys, tmp_path, names, heads, rows):
    """No number is lost, and each stands in the row and under the head that its name has."""
    result = json.loads((DOCS / "results" / "reproduce" / "a1.json").read_text(encoding="utf-8"))
    result["numbers"] = {name: i + 100 for i, name in enumerate(names)}
    (tmp_path / "a1.json").write_text(json.dumps(result), encoding="utf-8")
    assert main(["reproduce", "--render", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.split("| other numbers |")[1].splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    assert cells[0] == heads and [row[0] for row in cells[2 : 2 + len(rows)]] == rows
    shown = {}
    for row in cells[2 : 2 + len(rows)]:
        for head, cell in zip(heads, row[1:], strict=True):
            shown |= {name: int(cell) for name in names if set(name.split(": ")) == {head, *row[0].split(": ")} - {""}}
    assert shown == result["numbers"]
