"""Benchmarks from files, and from folders that have the hub's names, splits and columns."""

import json

import datasets
import pytest

from entrostat.data.benchmarks import BENCHMARKS, Question, load_benchmark

ROWS = {
    "aime24": [{"id": 60, "problem": "P", "solution": "S", "answer": "204", "url": "u", "year": "2024"}],
    "aime25": [{"problem": "P", "answer": "70", "id": "0"}],
    "amc23": [{"id": 0, "question": "P", "answer": "27.0", "url": "u"}],
    "math-500": [
        {"problem": "P", "solution": "S", "answer": "\\frac{1}{2}", "subject": "s", "level": 2, "unique_id": "t/1.json"}
    ],
    "gsm8k": [{"question": "P", "answer": "6 * 12 = 72\n#### 72"}],
    "olympiad": [{"id": 1606, "question": "P", "solution": ["S"], "final_answer": ["2", "3"], "error": None}],
}
FIRST = {
    "aime24": Question("60", "P", "204"),
    "aime25": Question("0", "P", "70"),
    "amc23": Question("0", "P", "27.0"),
    "math-500": Question("t/1.json", "P", "\\frac{1}{2}"),
    "gsm8k": Question("0", "P", "6 * 12 = 72\n#### 72"),
    "olympiad": Question("1606", "P", "2, 3"),
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_hubs_layouts(name, tmp_path, monkeypatch):
    source = BENCHMARKS[name]
    first = ROWS[name][0]
    key = source.id and {
        source.id: type(first[source.id])(int(first[source.id]) + 1) if name != "math-500" else "t/2.json"
    }
    folder = tmp_path / source.dataset
    folder.mkdir(parents=True)
    datasets.Dataset.from_list([first, first | (key or {})]).to_parquet(folder / "rows.parquet")
    configs = [
        {"config_name": source.config or "default", "data_files": [{"split": source.split, "path": "rows.parquet"}]}
    ]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = load_benchmark(name)
    assert found.questions[0] == FIRST[name] and len(found.questions) == 2 and found.name == name


def write(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


GOOD = {"id": 1, "problem": "1 + 1?", "answer": 2}


def test_a_file(tmp_path):
    rows = [GOOD, "", {"id": "b", "problem": "2 + 2?", "answer": "4", "more": [1]}]
    found = load_benchmark(str(write(tmp_path / "my sums.v2.jsonl", *rows)))
    assert found.questions == (Question("1", "1 + 1?", "2"), Question("b", "2 + 2?", "4"))
    assert (found.name, found.verifier, found.prompt) == ("my-sums.v2", "math", "boxed")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (GOOD, "row 2: id '1' is that of row 1 too"),
        ({"id": 2, "answer": 1}, "row 2: no column 'problem', it has id, answer"),
        ({"id": 2, "problem": "?"}, "row 2: no column 'answer'"),
        ({"problem": "?", "answer": 1}, "row 2: no column 'id'"),
        ({"id": 2, "problem": "?", "answer": None}, "row 2: column 'answer' must hold text or a number, got 'None'"),
        ({"id": 2, "problem": " ", "answer": 1}, "row 2: column 'problem' must hold text"),
        ({"id": True, "problem": "?", "answer": 1}, "row 2: column 'id' must hold text"),
        ({"id": 2, "problem": "?", "answer": {"a": 1}}, "row 2: column 'answer' must hold text"),
        ({"id": 2, "problem": "\ud800", "answer": 1}, "row 2: column 'problem' holds half a character"),
        ("[1, 2]", "row 2: not a JSON object"),
        ("{", "row 2: no JSON"),
        ("[" * 200_000, "row 2: no JSON"),
    ],
)
def test_bad_rows(tmp_path, row, said):
    path = write(tmp_path / "b.jsonl", GOOD, row)
    with pytest.raises(ValueError) as caught:
        load_benchmark(str(path))
    assert str(caught.value).startswith(f"{path}, ") and said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_benchmark(tmp_path):
    with pytest.raises(ValueError, match="is no file and none of aime24, aime25"):
        load_benchmark("aime42")
    with pytest.raises(ValueError, match="at least 2"):
        load_benchmark(str(write(tmp_path / "b.jsonl", GOOD)))
    (tmp_path / "c.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(ValueError, match="row 1: no JSON"):
        load_benchmark(str(tmp_path / "c.jsonl"))
