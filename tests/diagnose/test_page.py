"""What the page embeds: packed tokens come back, limits hold, nothing of the dump leaves its place."""

import base64
import re

import numpy as np
import pytest

from entrostat import dump
from entrostat.diagnose import packed
from entrostat.diagnose import viewer as room
from entrostat.diagnose.page import page
from entrostat.diagnose.result import result
from entrostat.diagnose.stream import attribute
from entrostat.diagnose.viewer import viewer
from made_up_dumps import VOCABULARY, made_up


def unpacked(response):
    """The columns of a response: (text, change over unit, six numbers, flags)."""
    data, n = base64.b64decode(response["data"]), response["shown"]
    assert len(data) == n * (4 + 4 + 12 + 1)
    halves = np.frombuffer(data, "<f2", 6 * n, 8 * n).reshape(6, n)
    return (
        np.frombuffer(data, "<u4", n),
        np.frombuffer(data, "<f4", n, 4 * n),
        halves,
        np.frombuffer(data, "u1", n, 20 * n),
    )


def shown(path, responses=200):
    found, skipped = attribute([path])
    return viewer(found, responses), result(found, skipped, [path])


def test_packed_tokens_are_those_of_the_dump(make_dump):
    folder, tokens = make_dump((1, 2))
    found, _ = shown(folder)
    rows = {(row["step"], row["sample"]): row for batch in dump.read(folder) for row in batch.to_pylist()}
    of = {(token["step"], token["sample"], token["position"]): token for token in tokens}
    seen = 0
    for prompt in found["prompts"]:
        for response in prompt["responses"]:
            text, change, halves, flags = unpacked(response)
            row = rows.pop((prompt["step"], response["sample"]))
            assert (row["group"], row["reward"], row["update"]) == (
                prompt["group"],
                response["reward"],
                response["update"],
            )
            assert [found["texts"][i][0] for i in text] == row["tokens"] and row["prompt"] == prompt["text"]
            assert [found["texts"][i][1] for i in text] == row["text"]
            for position in range(len(text)):
                token = of.get((prompt["step"], response["sample"], position))
                if token is None:
                    assert flags[position] == 0 and np.isnan(halves[:, position]).all() and np.isnan(change[position])
                    continue
                seen += 1
                event = {None: 0, "low": 2, "high": 4}[token["event"]]
                assert flags[position] == 1 + event + 8 * token["region"]
                assert change[position] * found["unit"] == pytest.approx(token["change"], rel=1e-5, abs=1e-6)
                numbers = (row["logprobs"][position], row["entropy"][position], token["logratio"], token["advantage"])
                assert halves[:4, position].tolist() == pytest.approx(numbers, rel=2**-10, abs=1e-7)
    assert not rows and seen == len(tokens)


def test_prompts_that_moved_entropy_most_come_first_and_no_more_responses_than_asked(make_dump):
    folder, tokens = make_dump((1, 2, 3), prompts=5)
    found, made = shown(folder, 10)
    moved = {}
    for token in tokens:
        key = (token["step"], token["group"])
        moved[key] = moved.get(key, 0) + (token["change"] if token["event"] is None else 0)
    order = sorted(moved, key=lambda key: -abs(moved[key]))
    assert [(p["step"], p["group"]) for p in found["prompts"]] == order[:3]
    assert [len(p["responses"]) for p in found["prompts"]] == [4, 4, 2] and found["prompts"][2]["all"] == 4
    assert found["prompts"][0]["change"] == pytest.approx(moved[order[0]] / len(tokens), abs=1e-6)
    assert made["tokens"] == len(tokens)


def test_long_responses_and_texts_are_cut_and_size_is_bounded(tmp_path, monkeypatch):
    n = room.MOST_TOKENS + 7
    columns = {"tokens": [[1] * n] * 4, "logprobs": [[-0.5] * n] * 4, "entropy": [[0.5] * n] * 4}
    dump.write(tmp_path / "a.parquet", **columns, advantages=1.0, text=[["x" * 500] * n] * 4, prompt=["p" * 9999] * 4)
    found, _ = shown(tmp_path / "a.parquet")
    first = found["prompts"][0]["responses"][0]
    assert (first["tokens"], first["shown"]) == (n, room.MOST_TOKENS)
    assert len(found["texts"]) == 1 and found["texts"][0][1] == "x" * packed.LONGEST_TOKEN + "…"
    assert found["prompts"][0]["text"] == "p" * room.LONGEST_PROMPT + "…"
    each = room.MOST_TOKENS * 21 * 4 // 3
    monkeypatch.setattr(room, "MOST_BYTES", 2 * each + 2000)
    found, _ = shown(tmp_path / "a.parquet")
    assert sum(len(prompt["responses"]) for prompt in found["prompts"]) == 2


def test_numbers_too_large_for_half_precision_do_not_warn(tmp_path):
    dump.write(tmp_path / "a.parquet", tokens=[[1]], logprobs=[[-1e6]], entropy=[[0.5]], advantages=[[1e6]])
    found, _ = shown(tmp_path / "a.parquet")
    halves = unpacked(found["prompts"][0]["responses"][0])[2]
    assert halves[0, 0] == -np.inf and halves[3, 0] == np.inf


def test_hostile_text_can_end_nothing(tmp_path):
    hostile = ["</script><script>", "<!--", "\u2028\u2029", "\x00", "{{ 7 * 7 }}", "]]>&lt;"]
    columns, _ = made_up(2)
    assert len(hostile) == VOCABULARY
    columns["text"] = [[hostile[i] for i in row] for row in columns["tokens"]]
    columns["prompt"] = [hostile[i] for i in columns["group"]]
    dump.write(tmp_path / "a.parquet", **columns)
    found, made = shown(tmp_path / "a.parquet")
    html = page(made, found)
    assert len(re.findall(r"</?script", html, re.IGNORECASE)) == 4
    assert not set(html) & set("\u2028\u2029\x00") and "<!--" not in html and "49" not in found["prompts"][0]["text"]
    script = re.search(r"<script>(.*)</script>\n</body>", html, re.DOTALL)
    assert script and "innerHTML" not in script[1] and "insertAdjacent" not in script[1]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy and "default-src 'none'" in policy[1] and "unsafe-eval" not in policy[1]


@pytest.mark.parametrize("without", ["entropy", "group", "text", "old_logprobs", "reward", "prompt", "update"])
def test_a_page_is_made_of_what_there_is(make_dump, without):
    folder, _ = make_dump((1, 2), without={without})
    found, made = shown(folder)
    html = page(made, found)
    assert sum(len(prompt["responses"]) for prompt in found["prompts"]) == 24
    assert ("Prompts: 6. Completions: 24." if without != "group" else "Rollouts dumped: 2. Completions: 24.") in html
    assert ('<h2 id="map">' in html) == (without not in ("entropy", "old_logprobs"))
    assert "NaN" not in html.split("<script>")[0] and "nan" not in html.split("<script>")[0].split("</style>")[1]
