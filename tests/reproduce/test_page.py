"""docs/claims.md says what the results beside it say, and the results what the records of their runs say."""

import json
from pathlib import Path

import pytest

from entrostat.cli import main
from entrostat.reproduce import CLAIMS, Mode, Result
from entrostat.reproduce.command import results
from entrostat.reproduce.runs import Records

DOCS = Path(__file__).parents[2] / "docs"
STORED = results(DOCS / "results" / "reproduce")


def test_the_page_is_made_from_the_results(capsys):
    assert main(["reproduce", "--render", str(DOCS / "results" / "reproduce")]) == 0
    assert capsys.readouterr().out == (DOCS / "claims.md").read_text(encoding="utf-8"), "run `make claims`"


# b1 measures inner products again, which takes a minute
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "b1" else name for name in STORED]
)
def test_a_stored_result_follows_from_its_records(name):
    claim, records = CLAIMS[name], Records(DOCS / "results" / "reproduce")
    stored = STORED[name]
    if stored["criterion"] != claim.criterion:
        pytest.skip("its present criterion is still to be measured, as the page says")
    assert stored["mode"] == {"fast": False, "seeds": None}
    assert list(dict.fromkeys(job.command for job in claim.jobs(Mode(), records))) == stored["runs"]
    again = json.loads(json.dumps(claim.report(claim.judge(Mode(), records))))
    for key in ("statement", "criterion", "use", "scale", "verdict", "standing", "reason", "deciding"):
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
    verdict, remark = page.index("| verdict | holds: **reproduced** |"), page.index("\nSeen from here, it holds.\n")
    assert verdict < remark < page.index("| other numbers")
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


def rendered(folder, capsys, **results):
    """The page of these results, as a user makes it."""
    for name, result in results.items():
        (folder / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
    assert main(["reproduce", "--render", str(folder)]) == 0
    return capsys.readouterr().out


def row(page, name):
    """The claim's row in the table of all claims."""
    (line,) = [line for line in page.splitlines() if line.startswith(f"| [{name}]")]
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


def stored(name):
    return json.loads((DOCS / "results" / "reproduce" / f"{name}.json").read_text(encoding="utf-8"))


def test_the_table_shows_the_part_that_fails(tmp_path, capsys):
    """a8's first part, pass@n, holds; what fails is the entropy that is kept."""
    _, _, standing, held, decides = row(rendered(tmp_path, capsys, a8=stored("a8")), "a8")
    assert standing.startswith("**not reproduced at this scale**: rollouts of 256 responses")
    assert held == "4 of 5"
    assert decides == "0.689 [0.632, 0.746]: balanced: entropy at the end / start; wanted > 0.75"


def test_the_table_shows_the_claim_s_own_number_where_it_holds(tmp_path, capsys):
    page = rendered(tmp_path, capsys, a5=stored("a5"), a1=stored("a1"))
    assert row(page, "a5")[2:] == [
        "**reproduced**",
        "2 of 2",
        "-0.000687 [-0.000785, -0.000589]: ln H per rollout and per factor e of low; wanted < 0",
    ]
    assert row(page, "a1")[2:] == ["**reproduced**", "", "2 [2, 2]: slope of ln(error) over ln(eta)"]
    left = f"{len(CLAIMS) - 2} not run in full yet"
    assert f"**2 reproduced, 0 not reproduced at this scale, 0 contradicted, 0 open, {left}**" in page


def test_a_result_by_an_earlier_criterion_says_so(tmp_path, capsys):
    present = f"| present criterion, not measured yet | {CLAIMS['a5'].criterion} |"
    assert present not in rendered(tmp_path, capsys, a5=stored("a5"))
    page = rendered(tmp_path, capsys, a5=stored("a5") | {"criterion": "three seeds agree"})
    assert "| criterion | three seeds agree |" in page
    assert present in page


def test_a_claim_without_an_excuse_is_contradicted(tmp_path, capsys):
    claim = CLAIMS["b1"]
    assert claim.scale is None
    failing = claim.report(Result("fails", 1.0, None))
    written = {key: stored("a8")[key] for key in ("command", "versions", "seconds", "runs")}
    page = rendered(tmp_path, capsys, b1=failing | written)
    assert row(page, "b1")[2] == "**contradicted**"
    assert "**0 reproduced, 0 not reproduced at this scale, 1 contradicted" in page.replace(
        f"Of {len(CLAIMS)} claims: ", ""
    )


def test_few_seeds_are_shown_one_by_one(tmp_path, capsys):
    result = stored("b7")
    few = {"value": 0.25, "low": None, "high": None, "points": [0.1, 0.4]}
    result["parts"][1] |= {"interval": few, "least": None, "verdict": "undecided"}
    page = rendered(tmp_path, capsys, b7=result)
    assert "| 2 | 0.25 (0.1, 0.4) | > 0 | no number | undecided |" in page


def test_no_interval_on_the_page_leaves_its_range():
    """Of what is named a score or a share."""
    seen = 0
    for name, result in STORED.items():
        numbers = result["numbers"] | {part["what"]: part["interval"] for part in result["parts"]}
        for what, value in numbers.items():
            if isinstance(value, dict) and value["low"] is not None:
                signed = any(word in what for word in (" - ", "correlation"))
                if "mean@n" in what or "pass@n" in what or "share" in what or "correlation" in what:
                    assert -signed <= value["low"] <= value["high"] <= 1, (name, what)
                    seen += 1
    assert seen > 60


GPU = {
    "arm": "low .2", "reward": "bernoulli:0.5", "rollouts": 40, "seeds": 6, "effect": 0.0004,
    "low": 0.0001, "high": 0.0007, "device": "NVIDIA H100",
}  # fmt: skip


def with_gpu(tmp_path, rows):
    folder = tmp_path / "reproduce"
    folder.mkdir()
    (tmp_path / "regime-gpu.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def test_runs_on_a_gpu_are_shown_first(tmp_path, capsys):
    one = GPU | {"arm": "high .2", "seeds": 1, "effect": -0.0005, "low": None, "high": None}
    page = rendered(with_gpu(tmp_path, [GPU, one]), capsys, a1=stored("a1"))
    assert page.index("How to read") < page.index("on NVIDIA H100") < page.index("## All claims")
    assert "| low .2 | bernoulli:0.5 | 40 | 6 | 0.0004 [0.0001, 0.0007] |" in page
    assert "| high .2 | bernoulli:0.5 | 40 | 1 | -0.0005 |" in page


def test_without_a_gpu_nothing_is_said_of_one(tmp_path, capsys):
    assert "GPU" not in rendered(tmp_path, capsys, a1=stored("a1"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"rows": []}, "must be a list of rows"),
        (
            [GPU, {key: value for key, value in GPU.items() if key != "device"}],
            "row 2 of the GPU's results has no device",
        ),
    ],
)
def test_rows_of_a_gpu_that_are_none_are_refused(tmp_path, capsys, rows, said):
    folder = with_gpu(tmp_path, rows)
    (folder / "a1.json").write_text(json.dumps(stored("a1")), encoding="utf-8")
    assert main(["reproduce", "--render", str(folder)]) == 2
    assert said in capsys.readouterr().err
