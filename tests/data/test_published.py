"""Benchmarks as they are published: the files' own formats, columns and types, with made-up problems."""

import pytest

from entrostat.data.benchmarks import load_benchmark
from entrostat.data.prompts import bare, worded
from hub_files import verl_row, write_jsonl, write_parquet

PROBLEMS = ("What is 6 times 12?", "What is 5 squared?")
SOLUTION = "6 * 12 = <<6*12=72>>72 apples.\n#### 72"
GSM8K_WORDED = worded("gsm8k", PROBLEMS[0])
MATH_WORDED = PROBLEMS[0] + " Let's think step by step and output the final answer within \\boxed{}."


def aime_h4(i):
    return {"id": 60 + i, "problem": PROBLEMS[i], "solution": "S", "answer": "025", "url": "u", "year": "2024"}


def aime_maxwell(i):
    return {"ID": f"2024-I-{i}", "Problem": PROBLEMS[i], "Solution": "S", "Answer": 72}


def aime_math_ai(i):
    return {"id": i, "problem": PROBLEMS[i], "solution": "\\boxed{72}", "url": "u"}


def math_500(i):
    more = {"subject": "Algebra", "level": 2, "unique_id": f"test/algebra/{i}.json"}
    return {"problem": PROBLEMS[i], "solution": "S", "answer": "\\frac{1}{2}", **more}


def gsm8k(i):
    return {"question": PROBLEMS[i], "answer": SOLUTION}


def olympiad(i):
    row = {"id": 1606 + i, "question": PROBLEMS[i], "solution": ["S"], "final_answer": ["2", "3"], "context": None}
    row |= {"image_1": None, "modality": "Text-only", "difficulty": "Competition", "is_multiple_answer": True}
    return row | {"unit": None, "answer_type": "Numerical", "error": None, "question_type": "Open-ended"}


def amc23(i):
    return {"id": i, "question": PROBLEMS[i], "answer": 27.0, "url": "u"}


def verl_gsm8k(i):
    more = {"extra_info": {"split": "test", "index": i, "answer": SOLUTION, "question": PROBLEMS[i]}}
    return verl_row("openai/gsm8k", worded("gsm8k", PROBLEMS[i]), "72", **more)


def verl_math(i):
    return verl_row("lighteval/MATH", MATH_WORDED if i == 0 else "P", "\\frac{1}{2}", extra_info={"index": i})


def dapo(i):
    return verl_row("math_dapo", worded("dapo", PROBLEMS[i]), "72", extra_info={"index": f"{i:08d}-0000"})


@pytest.mark.parametrize(
    ("row", "kind", "ids", "problem", "answer", "verifier", "wording"),
    [
        (aime_h4, "parquet", ["60", "61"], PROBLEMS[0], "025", "math", "boxed"),
        (aime_maxwell, "parquet", ["2024-I-0", "2024-I-1"], PROBLEMS[0], "72", "math", "boxed"),
        (aime_maxwell, "jsonl", ["2024-I-0", "2024-I-1"], PROBLEMS[0], "72", "math", "boxed"),
        (aime_math_ai, "parquet", ["0", "1"], PROBLEMS[0], "\\boxed{72}", "math", "boxed"),
        (
            math_500,
            "jsonl",
            ["test/algebra/0.json", "test/algebra/1.json"],
            PROBLEMS[0],
            "\\frac{1}{2}",
            "math",
            "boxed",
        ),
        (gsm8k, "parquet", ["0", "1"], PROBLEMS[0], SOLUTION, "last-number", "gsm8k"),
        (olympiad, "parquet", ["1606", "1607"], PROBLEMS[0], "2, 3", "math", "boxed"),
        (amc23, "parquet", ["0", "1"], PROBLEMS[0], "27", "math", "boxed"),
        (verl_gsm8k, "parquet", ["0", "1"], GSM8K_WORDED, "72", "gsm8k", "none"),
        (verl_math, "parquet", ["0", "1"], MATH_WORDED, "\\frac{1}{2}", "math", "none"),
        (dapo, "parquet", ["0", "1"], worded("dapo", PROBLEMS[0]), "72", "dapo", "none"),
    ],
)
def test_a_published_file_is_read_as_it_is(tmp_path, row, kind, ids, problem, answer, verifier, wording):
    write = write_parquet if kind == "parquet" else write_jsonl
    found = load_benchmark(str(write(tmp_path / f"b.{kind}", [row(0), row(1)])))
    assert [question.id for question in found.questions] == ids
    assert found.questions[0][1:] == (problem, answer)
    assert (found.verifier, found.prompt) == (verifier, wording)
    assert found.notes[0].startswith("read as ") and f"verifier {verifier}" in found.notes[0]


def test_verls_aime_has_each_problem_many_times_and_it_is_asked_once(tmp_path):
    path = write_parquet(tmp_path / "aime-2024.parquet", [dapo(0), dapo(1)] * 32)
    found = load_benchmark(str(path))
    assert [question.id for question in found.questions] == ["0", "1"]
    assert "62 of 64 rows repeat a problem: left out" in found.notes


@pytest.mark.parametrize("source", ["aime2024", "math_dapo_reasoning"])
def test_the_verifier_is_the_one_that_verl_takes(tmp_path, source):
    rows = [verl_row(source, text, "72") for text in PROBLEMS]
    assert load_benchmark(str(write_parquet(tmp_path / "b.parquet", rows))).verifier == "dapo"


def test_what_is_told_goes_before_what_is_found(tmp_path):
    path = str(write_parquet(tmp_path / "b.parquet", [verl_gsm8k(0), verl_gsm8k(1)]))
    found = load_benchmark(path, "answer=extra_info.answer,id=extra_info.index", "last-number", "gsm8k")
    assert found.questions[0] == ("0", PROBLEMS[0], SOLUTION)
    assert (found.verifier, found.prompt) == ("last-number", "gsm8k")
    assert load_benchmark(path, "problem=extra_info.question").prompt == "gsm8k"


def test_a_json_array_is_read(tmp_path):
    (tmp_path / "b.json").write_text('[{"problem": "1?", "answer": 1}, {"problem": "2?", "answer": 2}]')
    assert [q.answer for q in load_benchmark(str(tmp_path / "b.json")).questions] == ["1", "2"]


def test_what_does_not_reach_the_model_is_said_or_refused(tmp_path):
    system = {"role": "system", "content": "S"}
    rows = [verl_row("math", text, "72", before=[system]) for text in PROBLEMS]
    found = load_benchmark(str(write_parquet(tmp_path / "b.parquet", rows)))
    assert any("2 conversations have more than one turn" in note for note in found.notes)
    pictured = [olympiad(0), olympiad(1) | {"image_1": {"bytes": "x", "path": None}}]
    with pytest.raises(ValueError, match=r"row 2: has a picture \(column 'image_1'\)"):
        load_benchmark(str(write_jsonl(tmp_path / "o.jsonl", pictured)))
    strange = [verl_row("searchR1_nq", text, "72") for text in PROBLEMS]
    path = str(write_parquet(tmp_path / "s.parquet", strange))
    with pytest.raises(ValueError, match=r"which verifier judges data_source searchR1_nq .*--verifier$"):
        load_benchmark(path)
    assert load_benchmark(path, verifier="math").verifier == "math"


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [
        ("b.jsonl", ("problem=prompt",), r"row 1: no column 'prompt', it has question, answer: map with --columns"),
        ("b.jsonl", ("question=problem",), "write id=COLUMN,problem=COLUMN,answer=COLUMN"),
        ("b.jsonl", ("", "maths"), "unknown verifier 'maths': did you mean math"),
        ("b.jsonl", ("", "", "box"), "--wording 'box': did you mean boxed"),
        ("aime24", ("problem=x",), "aime24 has its own columns"),
        ("x.parquet", (), "no Parquet file"),
        (".", (), "is a folder, no file"),
        ("HuggingFaceH4/MATH-500", (), "did you mean math-500"),
    ],
)
def test_what_can_not_be_read_is_told_in_a_line(tmp_path, monkeypatch, name, typed, said):
    write_jsonl(tmp_path / "b.jsonl", [gsm8k(0), gsm8k(1)])
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said) as caught:
        load_benchmark(name, *typed)
    assert "\n" not in str(caught.value)


def test_verls_wording_comes_off():
    assert bare(MATH_WORDED) == PROBLEMS[0]
