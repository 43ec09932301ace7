"""What a run looks like in a terminal of 80 columns and wider."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from entrostat.lab.score_cell import ScoreCell
from entrostat.lab.show import Bars, live_line

LABELS = ["grpo", "thermostat target linear:1x:0.5x, seed 12", "a [bracket]"]
LINE = {"step": 49, "entropy": 0.31234, "target": 0.3, "reward": 0.5, "clip_low": 0.1234, "clip_high": 0.0267}


def drawn(thing, columns):
    """The lines of what rich draws in a terminal of so many columns, without colours."""
    console = Console(width=columns, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(thing)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_count_and_time_left_stand_beside_the_bar_and_the_live_text_below(columns):
    bars = Bars(Console(file=io.StringIO()))
    for label in LABELS:
        task = bars.add(label, 100)
        bars.update(task, completed=50, live=live_line(LINE))
    shown = [line for part in bars.get_renderables() for line in drawn(part, columns)]
    assert all(len(line) <= columns for line in shown)
    counts = [line for line in shown if "50/100" in line]
    assert len(counts) == len(LABELS)
    # one column for all bars, and a time behind each count
    assert len({line.index("━") for line in counts}) == 1
    assert all("--:--" in line.split("50/100")[1] for line in counts)
    live = "  entropy 0.312 (target 0.300)  reward 0.500  clipped 12.3% low 2.7% high"
    assert shown.count(live) == len(LABELS)
    # the whole label can be read
    words = " ".join(shown).split()
    assert [word for label in LABELS for word in label.split() if word not in words] == []


def test_what_is_over_has_no_live_text():
    bars = Bars(Console(file=io.StringIO()))
    task = bars.add("grpo", 2)
    bars.update(task, completed=2, live="scoring")
    assert len(list(bars.get_renderables())) == 2
    bars.update(task, live="")
    assert len(list(bars.get_renderables())) == 1


@pytest.mark.parametrize(("columns", "folded"), [(60, True), (80, False)])
def test_an_interval_goes_below_its_number_before_a_label_loses_a_word(columns, folded):
    table = Table()
    table.add_column("")
    for _ in range(2):
        table.add_column("score", justify="right")
    score = ScoreCell("0.127 [0.077, 0.175]")
    table.add_row("clip-lower low 0.02", score, score)
    shown = drawn(table, columns)
    assert any("clip-lower low" in line for line in shown)
    assert not any("…" in line for line in shown)
    assert any("0.127 [0.077, 0.175]" in line for line in shown) is not folded
    assert sum(line.count("[0.077, 0.175]") for line in shown) == 2
