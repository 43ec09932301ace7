"""The five lines: each says what the numbers behind it say, in the terminal, in JSON and on the page alike."""

import html
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from diagnose.test_advice import unsure, world
from entrostat.cli import main
from entrostat.diagnose.command import answer
from entrostat.diagnose.options import Diagnose
from entrostat.diagnose.result import result
from entrostat.diagnose.stream import Skipped, attribute
from entrostat.diagnose.verdict import HEADS

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "grpo"


def lines(found, path):
    return {each["head"]: each["line"] for each in result(found, Skipped(), [path])["verdict"]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.parquet"


def test_it_is_five_lines_of_a_terminal_of_80_columns():
    console = Console(width=80, force_terminal=False)
    _, shown = answer(Diagnose(paths=(EXAMPLE,)))
    with console.capture() as printed:
        console.print(shown)
    printed_lines = printed.get().rstrip().splitlines()
    assert len(printed_lines) == 5
    for line, head in zip(printed_lines, HEADS, strict=True):
        assert line.startswith(head)


def test_text_json_and_page_say_the_same(capsys, tmp_path):
    page = tmp_path / "page.html"
    assert main(["diagnose", str(EXAMPLE), "--json", "--html", str(page)]) == 0
    verdict = json.loads(capsys.readouterr().out)["verdict"]
    pairs = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page.read_text())
    assert [[html.unescape(text) for text in pair] for pair in pairs] == [[v["head"], v["line"]] for v in verdict]
    assert main(["diagnose", str(EXAMPLE)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert told == " ".join(f"{v['head']} {v['line']}" for v in verdict)


def test_causes_and_the_pair_that_holds(path):
    found = world(path, [(1.0, 1.0, 10), (-1.0, 0.92, 8), (-1.0, 1.3, 3)], low=0.05, high=0.2)
    # E1 pushes 10 and the clip takes .92 * 8 of E3's: 58% and 42%
    assert lines(found, path) == {
        "Moved": "first order: down, pushes 58%, clip 42%",
        "Tokens": "likely of right answers (E1) 58%, likely of wrong answers (E3) 42%",
        "Change": "low 0.1, high 0.2 would have held it (now low 0.05, high 0.2)",
        "Sure": "resamples of 30 prompts: helps in 100%; clip's part unknown",
        "Not read": "text. More: --full, --html",
    }


def test_where_the_way_is_up_or_not_sure(path):
    rising = world(path, [(-1.0, 1.0, 10)], low=0.2, high=0.2)
    assert lines(rising, path)["Moved"] == "first order: up, pushes 100%, clip 0%"
    other = path.with_name("b.parquet")
    told = lines(unsure(other), other)
    assert told["Moved"] == "first order: of no sure sign"
    assert told["Tokens"] == "not told, the sign is not sure"
    assert told["Change"] == "no thresholds are advised: the sign of the change is not sure"
    assert told["Sure"].startswith("sign not sure over 30 prompts")


KINDS = [(1.0, 1.0, 10), (-1.0, 0.9, 2)]


@pytest.mark.parametrize(
    ("kinds", "columns", "said"),
    [
        ([(1.0, 1.0, 10)], {"low": 0.2, "high": 0.2}, "not the clip, every ratio is 1"),
        (KINDS, {"notes": {"loss_type": "sapo"}}, "the loss has no window of the ratio"),
        (KINDS, {"old_logprobs": None}, "without old_logprobs no ratio is known"),
        (KINDS, {"sum_p2": None}, "record sum_p2 and sum_p2_logp"),
        (KINDS, {"entropy": None}, "record the entropy"),
        ([(0.0, 1.0, 10), (0.0, 0.9, 1)], {}, "nothing: no token moved entropy"),
    ],
)
def test_why_no_thresholds_are_advised(path, kinds, columns, said):
    found = world(path, kinds, **columns)
    assert said in lines(found, path)["Change"]


def test_entropy_that_went_against_first_order_is_said(path):
    found = world(path, [(1.0, 1.0, 10), (-1.0, 0.92, 2)], step=[0, 4] * 30)
    (path.parent / "dump").mkdir()
    moved = path.rename(path.parent / "dump" / path.name)
    entropies = [0.400, 0.410, 0.420, 0.431, 0.440]
    logged = [json.dumps({"step": k, "entropy": value}) for k, value in enumerate(entropies)]
    (path.parent / "metrics.jsonl").write_text("\n".join(logged))
    told = lines(found, moved)["Moved"]
    assert told == "entropy 0.400 to 0.440 nats; first order says down and does not explain it"


def test_few_prompts_and_what_was_left_out_are_said(path):
    world(path, KINDS, groups=5)
    bad = path.with_name("b.parquet")
    bad.write_bytes(b"PAR1")
    found, skipped = attribute([path.parent], skip_bad=True)
    made = result(found, skipped, [path.parent], ["retold: because", "no column x, nor y: z"])
    told = {each["head"]: each["line"] for each in made["verdict"]}
    assert "5 prompts (few)" in told["Sure"]
    assert told["Not read"].startswith("clipped, text, retold, x, 0 rows and 1 files that can't be read. More")
