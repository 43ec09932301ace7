"""Whether a clip setting can move entropy: the three numbers against sums by hand, and what is said of whole dumps."""

import json
import math
import statistics
from collections import defaultdict

import pytest

from entrostat import dump
from entrostat.cli import main
from entrostat.diagnose.reach import numbers
from entrostat.diagnose.stream import attribute
from entrostat.reach import reach


def read(folder):
    return numbers(attribute([folder])[0])


def kl_by_hand(folder):
    """Mean over rollouts, of the passes after the most updates."""
    passes = defaultdict(list)
    for batch in dump.read(folder):
        for row in batch.to_pylist():
            for new, old, trained in zip(row["logprobs"], row["old_logprobs"], row["mask"], strict=True):
                if trained:
                    passes[row["step"], row["update"]].append(math.expm1(new - old) - (new - old))
    last = {step: max(update for other, update in passes if other == step) for step, _ in passes}
    return statistics.fmean(statistics.fmean(passes[key]) for key in last.items() if key[1] > 0)


def test_the_numbers_are_those_by_hand(make_dump):
    folder, tokens = make_dump((1, 2, 3), updates=4, high=0.1)
    found = read(folder)
    clipped = [sum(token["event"] == side for token in tokens) for side in ("low", "high")]
    assert min(clipped) > 0 and found.clipped == pytest.approx(max(clipped) / len(tokens))
    assert found.kl == pytest.approx(kl_by_hand(folder), rel=1e-5)
    assert found.responses == 12
    assert found.sentence == reach(clipped=found.clipped, kl=found.kl, responses=12)


def test_a_completion_counts_once_in_several_passes(tmp_path, make_dump):
    folder, _ = make_dump((1,), updates=1)
    (file,) = folder.iterdir()
    rows = [row for batch in dump.read(file) for row in batch.to_pylist()]
    columns = {name: [row[name] for row in rows] * 2 for name in rows[0] if name not in ("step", "update")}
    (tmp_path / "twice").mkdir()
    dump.write(tmp_path / "twice" / file.name, step=0, update=[0] * len(rows) + [3] * len(rows), **columns)
    found = read(tmp_path / "twice")
    assert found.responses == len(rows) == 12 and found.kl == pytest.approx(kl_by_hand(tmp_path / "twice"), rel=1e-5)
    # before the first update the policy is the one that sampled
    assert read(folder).kl is None


def test_what_a_dual_clip_takes_is_no_side_s(make_dump):
    folder, _ = make_dump((1, 2))
    for file in folder.iterdir():
        rows = [row for batch in dump.read(file) for row in batch.to_pylist()]
        columns = {name: [row[name] for row in rows] for name in rows[0] if name not in ("step", "clipped")}
        dual = [[int(a < 0) for a in row["advantages"]] for row in rows]
        dump.write(file, step=rows[0]["step"], clipped=dual, **columns, overwrite=True)
    assert read(folder).clipped == 0.0


@pytest.mark.parametrize(
    ("options", "without", "start"),
    [
        ({"low": 1.0, "high": 1e9}, (), "Too little is clipped"),
        ({}, (), "Noise moves entropy as much"),
        ({"prompts": 64, "samples": 16, "longest": 3}, (), "A clip setting can move entropy here"),
        ({}, ("update",), "Whether a clip setting can move entropy here is not known"),
        ({}, ("old_logprobs", "clipped"), "Whether a clip setting can move entropy here is not known"),
    ],
)
def test_the_sentence_is_in_the_terminal_in_json_and_on_the_page(capsys, make_dump, options, without, start):
    folder, _ = make_dump((1, 2), without=without, **options)
    assert main(["diagnose", str(folder), "--json", "--html", str(folder.parent / "page.html")]) == 0
    said = json.loads(capsys.readouterr().out)["reach"]
    assert said["sentence"].startswith(start)
    assert main(["diagnose", str(folder), "--full"]) == 0
    assert said["sentence"] in " ".join(capsys.readouterr().out.split())
    assert f"<p>{said['sentence']}</p>" in (folder.parent / "page.html").read_text()
    missing = said["sentence"].partition("not read: ")[2]
    assert ("the KL of a rollout" in missing) == (said["kl"] is None) == bool(without)
    assert ("the share of clipped tokens" in missing) == (said["clipped"] is None) == ("clipped" in without)
