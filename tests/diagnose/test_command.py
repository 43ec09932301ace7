"""entrostat diagnose, from the command line to what is printed."""

import json
import math
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from entrostat import dump
from entrostat.cli import main
from entrostat.diagnose.stream import attribute
from entrostat.diagnose.tables import skipped_lines
from entrostat.diagnose.texts import escaped
from entrostat.dump.schema import KEY
from made_up_dumps import made_up

HOSTILE = (
    "\x1b[31mred",
    "[bold]markup[/bold] [link=http://x]",
    "\r\n\x07\x00",
    "\u202edlrow",
    "</script>",
    "\ud7ff\u2028",
)


def run(capsys, *args):
    code = main(["diagnose", *map(str, args)])
    return code, *capsys.readouterr()


def as_json(capsys, *args):
    code, out, _ = run(capsys, *args, "--json")
    assert code == 0
    return json.loads(out)


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_json_is_strict_and_every_breakdown_adds_up(capsys, make_dump):
    folder, tokens = make_dump((1, 2, 3))
    _, out, _ = run(capsys, folder, "--json")
    made = json.loads(out, parse_constant=refuse)
    change = sum(t["change"] for t in tokens if t["event"] is None) / len(tokens)
    scale = sum(abs(t["change"]) for t in tokens) / len(tokens)
    assert made["change"]["value"] == pytest.approx(change, abs=1e-6 * scale)
    assert made["breakdowns"].keys() == {
        *("region", "advantage", "position", "token", "prompt", "right answers", "rollout")
    }
    for parts in made["breakdowns"].values():
        assert sum(part["kept"] for part in parts) == pytest.approx(made["change"]["value"], abs=1e-12)
        assert sum(part["tokens"] for part in parts) == made["tokens"] == len(tokens)
    assert sum(cause["change"]["value"] for cause in made["causes"]) == pytest.approx(change, abs=1e-6 * scale)
    assert made["change"]["low"] < made["change"]["value"] < made["change"]["high"]


SHARES = {0: "none right", 1: "up to a quarter", 2: "up to a half", 3: "up to three quarters", 4: "all right"}


@pytest.mark.parametrize("samples", [4, 8])
def test_prompts_by_their_share_of_right_answers(capsys, make_dump, samples):
    """Of 4 answers each share stands on the upper edge of its part; of 8 half of them lie within."""
    folder, tokens = make_dump(tuple(range(9)), prompts=4, samples=samples)
    rows = [row for batch in dump.read(folder) for row in batch.to_pylist()]
    right = Counter()
    for row in rows:
        right[row["step"], row["group"]] += row["reward"] == 1
    label = {key: SHARES[math.ceil(4 * n / samples)] for key, n in right.items()}
    label |= {key: "not all right" for key, n in right.items() if 0.75 * samples < n < samples}
    made = as_json(capsys, folder)
    parts = {part["label"]: part for part in made["breakdowns"]["right answers"]}
    assert {name: part["prompts"] for name, part in parts.items()} == Counter(label.values())
    for name, part in parts.items():
        mine = [t for t in tokens if label[t["step"], t["group"]] == name]
        assert part["tokens"] == len(mine)
        kept = sum(t["change"] for t in mine if t["event"] is None) / len(tokens)
        assert part["kept"] == pytest.approx(kept, abs=1e-6)


def test_a_run_s_folder_brings_its_measured_entropy(capsys, make_dump, tmp_path):
    folder, _ = make_dump(tuple(range(6)))
    lines = [{"step": k, "entropy": 0.4 - 0.01 * k**2} for k in range(7)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n{cut")
    for path in (tmp_path, folder):
        measured = as_json(capsys, path)["measured"]
        assert measured["from_metrics"] and measured["first"] == [0, 0.4]
        assert [p["measured"] for p in measured["points"]] == pytest.approx([-0.01 * (2 * k + 1) for k in range(6)])
        assert -1 <= measured["correlation"]["low"] < measured["correlation"]["high"] <= 1
    (tmp_path / "metrics.jsonl").unlink()
    measured = as_json(capsys, tmp_path)["measured"]
    assert not measured["from_metrics"] and len(measured["points"]) == 5


def test_texts_of_the_dump_reach_the_terminal_as_escapes(capsys, tmp_path):
    columns, _ = made_up(0)
    columns["text"] = [[HOSTILE[i] for i in row] for row in columns["tokens"]]
    columns["prompt"] = [HOSTILE[i % len(HOSTILE)] for i in columns["group"]]
    dump.write(tmp_path / "a.parquet", **columns)
    code, out, err = run(capsys, tmp_path, "--full")
    assert (code, err) == (0, "")
    assert not set(out) & set("\x1b\r\x07\x00\u202e\u2028")
    assert r'"\x1b[31mred"' in out and "[bold]markup" in out
    json.loads(run(capsys, tmp_path, "--json")[1])


@given(st.text())
def test_escaped_text_is_one_line_without_controls(text):
    shown = escaped(text, 10**6)
    assert shown.isprintable() or all(c.isprintable() or c == "\u3000" or c.isspace() for c in shown)
    assert len((shown + "x").splitlines()) == 1


def test_no_path_and_no_dump_are_one_line(capsys, tmp_path):
    for args, message in (
        ((), "no dump given"),
        ((tmp_path / "gone",), "no such file or folder"),
        ((tmp_path,), "no dump in it"),
        ((tmp_path, "--responses", 0), "--responses must be at least 1"),
    ):
        code, out, err = run(capsys, *args)
        assert (code, out, err.count("\n")) == (2, "", 1) and message in err


def spoilt(folder):
    """A folder with a NaN in a row of one file, a file cut short and one of another kind; the row."""
    table = pa.Table.from_batches(list(dump.read(folder / dump.file_name(0))))
    values = table.column("entropy").to_pylist()
    row = max(i for i, mask in enumerate(table.column("mask").to_pylist()) if any(mask))
    values[row] = [math.nan] * len(values[row])
    at = table.schema.get_field_index("entropy")
    table = table.set_column(at, table.schema.field("entropy"), pa.array(values, pa.list_(pa.float32())))
    pq.write_table(table, folder / dump.file_name(0), row_group_size=4)
    whole = (folder / dump.file_name(1)).read_bytes()
    (folder / dump.file_name(1)).write_bytes(whole[: len(whole) // 2])
    pq.write_table(pa.table({"x": [1]}), folder / dump.file_name(2))
    return row


def test_a_bad_row_is_named_and_can_be_skipped(capsys, make_dump):
    folder, tokens = make_dump((3, 4, 5, 6))
    row = spoilt(folder)
    code, out, err = run(capsys, folder / dump.file_name(0))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"step-000000.parquet: row {row}, column 'entropy': nan" in err
    code, _, err = run(capsys, folder)
    assert code == 2 and "step-000001.parquet" in err
    made = as_json(capsys, folder, "--skip-bad")
    assert (made["skipped"]["rows"], made["skipped"]["files"], len(made["skipped"]["told"])) == (1, 2, 3)
    assert any(f"row {row}, column 'entropy'" in line for line in made["skipped"]["told"])
    left = [t for t in tokens if t["step"] == 3 or (t["step"] == 0 and t["sample"] != row)]
    assert made["tokens"] == len(left)
    assert made["change"]["value"] == pytest.approx(
        sum(t["change"] for t in left if t["event"] is None) / len(left),
        abs=1e-6 * sum(abs(t["change"]) for t in left) / len(left),
    )
    assert "1 rows and 2 files" in run(capsys, folder, "--skip-bad")[1]


HARM = "\x1b[31m\u202e"


def with_a_hostile_version(path):
    table = pq.read_table(path)
    noted = {KEY: json.dumps({"version": HARM, "notes": {}}).encode()}
    pq.write_table(table.replace_schema_metadata(noted), path)


def with_a_hostile_type(path):
    table = pq.read_table(path)
    at = table.schema.get_field_index("update")
    odd = pa.array([{HARM: 1}] * table.num_rows)
    pq.write_table(table.set_column(at, "update", odd).replace_schema_metadata(table.schema.metadata), path)


def with_a_hostile_line(path):
    path.unlink()
    path.with_suffix(".jsonl").write_text(json.dumps({"schema_version": HARM}))


@pytest.mark.parametrize("spoil", [with_a_hostile_version, with_a_hostile_type, with_a_hostile_line])
def test_what_a_file_says_of_itself_reaches_no_terminal(capsys, make_dump, spoil):
    folder, _ = make_dump((3, 4))
    spoil(folder / dump.file_name(1))
    paths = sorted(folder.iterdir())
    assert len(paths) == 2
    for args in (paths, [*paths, "--skip-bad"]):
        _, out, err = run(capsys, *args, "--full")
        assert "\\x1b[31m" in out + err and not set(out + err) & set(HARM[0] + HARM[-1])


def test_a_line_of_what_was_left_out_is_escaped():
    """Whatever it quotes."""
    skipped = {"rows": 1, "files": 0, "told": [f"a: {HARM}"]}
    assert skipped_lines(skipped)[1] == "a: \\x1b[31m\\u202e"


def test_bytes_that_are_no_text_are_shown_as_such(capsys, make_dump):
    folder, _ = make_dump((3,))
    table = pa.Table.from_batches(list(dump.read(folder)))
    at, lists = table.schema.get_field_index("text"), table.column("text").combine_chunks()
    bad = pa.array([b"\xff\xfe<" for _ in lists.flatten()], pa.binary()).view(pa.string())
    texts = pa.ListArray.from_arrays(lists.offsets, bad)
    pq.write_table(table.set_column(at, table.schema.field("text"), texts), folder / dump.file_name(0))
    made = as_json(capsys, folder, "--html", folder / "page.html")
    assert {part["label"] for part in made["breakdowns"]["token"]} == {"\ufffd\ufffd<"}
    assert "\ufffd\ufffd<" in run(capsys, folder, "--full")[1]


@settings(max_examples=50)
@example(b"!", 3464.5 / 7395, False)  # sizes of a column's levels: pyarrow 26 aborts where it is asked of them
@given(st.binary(min_size=1, max_size=8), st.floats(0, 1), st.booleans())
def test_a_damaged_file_is_one_line_or_is_skipped(noise, where, cut):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.parquet"
        columns, _ = made_up(3)
        dump.write(path, **columns)
        whole = bytearray(path.read_bytes())
        at = int(where * (len(whole) - 1))
        path.write_bytes(whole[:at] if cut else whole[:at] + noise + whole[at + len(noise) :])
        for skip_bad in (False, True):
            try:
                found, _ = attribute([path], skip_bad=skip_bad)
            except ValueError as error:
                assert len(str(error).splitlines()) == 1
            else:
                assert found.tokens > 0


def test_files_of_two_kinds_of_ratio_are_not_mixed(capsys, tmp_path):
    for i, level in enumerate(("token", "sequence")):
        columns, _ = made_up(i)
        dump.write(tmp_path / f"{i}.parquet", **columns, notes={"importance_sampling_level": level})
    code, _, err = run(capsys, tmp_path)
    assert code == 2 and "diagnose one at a time" in err


def test_a_dump_without_entropy_says_what_is_left(capsys, make_dump):
    folder, _ = make_dump((3,), without={"entropy", "old_entropy", "text", "group"})
    made = as_json(capsys, folder)
    assert made["change"] is None and made["map"] is None and made["advice"] is None and made["causes"] == []
    assert "region" not in made["breakdowns"] and "prompt" not in made["breakdowns"]
    assert "kept" not in made["breakdowns"]["position"][0]
    code, out, _ = run(capsys, folder, "--full")
    assert code == 0 and "no column entropy" in out.replace("\n", " ") and "By position" in out


def test_a_rollout_without_a_trained_token_has_no_predicted_change(capsys, tmp_path):
    """All its completions were truncated, say, and it shares a file with others."""
    columns, _ = made_up(3, prompts=4)
    rows = len(columns["tokens"])
    columns["step"] = [i * 2 // rows for i in range(rows)]
    for i in range(rows // 2, rows):
        columns["mask"][i] = [False] * len(columns["mask"][i])
    (tmp_path / "dump").mkdir()
    dump.write(tmp_path / "dump" / "a.parquet", **columns)
    lines = [json.dumps({"step": k, "entropy": 0.4 - 0.01 * k}) for k in range(3)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    _, out, _ = run(capsys, tmp_path, "--json")
    made = json.loads(out, parse_constant=refuse)
    assert [point["step"] for point in made["measured"]["points"]] == [0]


def test_without_sums_over_the_vocabulary_no_cause_is_named(capsys, make_dump):
    folder, _ = make_dump((0, 1), without={"sum_p2", "sum_p2_logp"})
    made = as_json(capsys, folder)
    assert made["measure"] == "entropy_change_own_term"
    assert made["causes"] == [] and made["advice"] is None
    said = " ".join(made["sentences"])
    assert "Record sum_p2 and sum_p2_logp" in said
    assert "(E1)" not in said and "would have held" not in said


def test_a_rewritten_dump_says_what_is_taken(capsys, make_dump):
    folder, _ = make_dump((0,))
    file = folder / dump.file_name(0)
    pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)
    left_out = as_json(capsys, folder)["left_out"]
    assert any("1 of 1 files say no version" in line for line in left_out)


def test_tables_come_with_full_alone(capsys, make_dump):
    folder, _ = make_dump((3,))
    short, full = run(capsys, folder)[1], run(capsys, folder, "--full")[1]
    assert "By region" not in short and "More: --full, --html" in short
    assert "By region" in full and full.startswith(short)
