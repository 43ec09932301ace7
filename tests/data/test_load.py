"""Data sets in the hub's schemas: read, mapped, deduplicated, told apart from benchmarks, refused."""

import pytest

from entrostat.data.columns import Item, parse_columns
from entrostat.data.dedup import drop, normalised
from entrostat.data.load import load_problems
from entrostat.data.sources import SOURCES, DataSource, find_source, open_splits, train_and_test
from entrostat.verify import VERIFIERS
from hub_files import sums, write_dapo, write_gsm8k, write_jsonl


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def local(name, folder):
    """A named source, with a folder in the hub's place."""
    source = SOURCES[name]
    return DataSource(str(folder), source.config, source.columns, source.verifier, source.test_verifier)


def test_gsm8k_as_the_hub_has_it(tmp_path):
    found = load_problems(local("gsm8k", write_gsm8k(tmp_path / "g")))
    text, a, b = sums(52)[0]
    assert found.train[0].problem == text
    assert found.train[0].answer.endswith(f"#### {a + b:,}")
    assert (len(found.train), len(found.test)) == (40, 12)
    assert found.counts["dropped"] == {"repeated": 0, "its test split": 0, "unreadable answer": 0}


def test_dapo_as_the_hub_has_it_loses_its_wording_and_its_copies(tmp_path):
    found = load_problems(local("dapo-math-17k", write_dapo(tmp_path / "d", n=20, copies=5)))
    assert found.train == [Item(text, str(a + b)) for text, a, b in sums(20)]
    assert found.test is None
    assert found.counts == {
        **{"rows": 100, "train": 20, "test": 0},
        "dropped": {"repeated": 80, "unreadable answer": 0},
    }
    assert "20 of 100 training rows kept; dropped 80 (repeated)" in found.notes[0]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_file_of_ones_own(tmp_path, kind):
    rows = [{"q": f" What is {i} + {i}? ", "a": {"value": 2 * i}} for i in range(8)]
    path = tmp_path / f"mine.{kind}"
    if kind == "jsonl":
        write_jsonl(path, rows)
    else:
        import datasets

        datasets.Dataset.from_list(rows).to_parquet(str(path))
    found = load_problems(find_source(str(path), "problem=q,answer=a.value", "last-number"))
    assert found.train == [Item(f"What is {i} + {i}?", str(2 * i)) for i in range(8)]


def test_what_a_benchmark_has_is_dropped_and_counted(tmp_path):
    rows = [{"problem": f"What is ${i}+{i}$?", "answer": str(2 * i)} for i in range(8)]
    path = write_jsonl(tmp_path / "mine.jsonl", rows)
    other = [{"id": str(i), "problem": f"WHAT is  {i} + {i}", "answer": str(2 * i)} for i in (2, 5)]
    bench = str(write_jsonl(tmp_path / "bench.jsonl", other))
    found = load_problems(find_source(str(path), "", "dapo"), (bench,))
    assert [item.answer for item in found.train] == ["0", "2", "6", "8", "12", "14"]
    assert found.counts["dropped"][bench] == 2
    assert found.fingerprint != load_problems(find_source(str(path), "", "dapo")).fingerprint


def test_problems_of_the_test_split_are_not_trained_on():
    items = [Item("1 + 1?", "2"), Item("1 - 1?", "0"), Item("1+1", "2")]
    assert drop(items, {"test": ["1+1 ?"]}) == ([items[1]], {"repeated": 0, "test": 2})
    assert drop(items, {}) == (items[:2], {"repeated": 1})


def test_signs_tell_problems_apart_and_spelling_does_not():
    assert normalised("Is 1 < 2?") != normalised("Is 1 > 2?")
    assert normalised("Café ½") == normalised("CAFE\u0301 1\u20442")


def test_answers_that_the_verifier_cannot_read_are_dropped(tmp_path):
    rows = [{"problem": f"{i}?", "answer": str(i) if i % 2 else "none"} for i in range(10)]
    found = load_problems(find_source(str(write_jsonl(tmp_path / "a.jsonl", rows)), "", "gsm8k"))
    assert [item.answer for item in found.train] == ["1", "3", "5", "7", "9"]
    assert found.counts["dropped"]["unreadable answer"] == 5


def test_whole_numbers_stay_whole_beside_a_fraction(tmp_path):
    """Arrow makes floats of all: 72.0 would be wrong for 72 by the strict rules."""
    answers = [72, 3.5, -4, 0]
    path = write_jsonl(tmp_path / "a.jsonl", [{"problem": f"{i}?", "answer": x} for i, x in enumerate(answers)])
    found = load_problems(find_source(str(path), "", "gsm8k"))
    assert [item.answer for item in found.train] == ["72", "3.5", "-4", "0"]
    assert VERIFIERS["gsm8k"](found.train[0].answer, "#### 72") == 1.0


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        ([{"q": "1?", "answer": "1"}], "", "row 1: no column 'problem', it has q, answer: map with --columns"),
        ([{"problem": "1?", "answer": {"x": 1}}], "answer=answer.y", "row 1: no column 'answer.y'"),
        ([{"problem": "1?", "answer": "1"}, {"problem": "2?", "answer": " "}], "", "row 2: column 'answer' must hold"),
        ([{"problem": "1?", "answer": "one"}], "", "the verifier 'gsm8k' can read no answer in column 'answer'"),
    ],
)
def test_bad_columns_are_told(tmp_path, rows, columns, said):
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(ValueError) as error:
        load_problems(find_source(str(path), columns, "gsm8k"))
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", '{"problem": 1}\n{"problem', "\x00\xff", ""])
def test_files_that_are_none_are_told(tmp_path, text):
    path = tmp_path / "a.jsonl"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"^--dataset '.*' can't be read") as error:
        open_splits(find_source(str(path)))
    assert "\n" not in str(error.value)


def test_places_that_are_none_are_told(tmp_path):
    for where, said in (
        ("./nowhere", "is no file and no folder; names are: gsm8k, dapo-math-17k"),
        (str(tmp_path), "can't be read"),
        ("gsm8k", "without the hub, give the path of a copy"),
    ):
        with pytest.raises(ValueError, match=said):
            open_splits(find_source(where))
    with pytest.raises(ValueError, match="has its own columns and verifier"):
        find_source("gsm8k", "problem=x")
    with pytest.raises(ValueError, match="has the splits a, b: one must be named train"):
        train_and_test({"a": 1, "b": 2}, "x")
    assert train_and_test({"a": 1, "test": 2}, "x") == (1, 2)


@pytest.mark.parametrize("text", ["question", "question=problem", "problem=", "problem=a,,answer=b"])
def test_column_maps_that_are_none_are_told(text):
    with pytest.raises(ValueError, match="write problem=COLUMN,answer=COLUMN"):
        parse_columns(text)


def test_a_hub_name_may_have_a_part():
    assert find_source("open-r1/x:en", "problem=prompt") == DataSource(
        "open-r1/x", "en", {"problem": "prompt", "answer": "answer"}, "math", "math"
    )
