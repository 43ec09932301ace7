"""The pool with a verifier that hangs, dies and throws, and with thousands of hostile texts."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import pytest

from entrostat.verify import VERIFIERS, VerifierPool, pool, registry

SPEC = importlib.util.spec_from_file_location("hostile_verifier", Path(__file__).with_name("hostile_verifier.py"))


@pytest.fixture
def obedient(monkeypatch):
    module = importlib.util.module_from_spec(SPEC)
    SPEC.loader.exec_module(module)
    monkeypatch.setattr(registry, "VERIFIERS", {**VERIFIERS, "obey": module.obey})


def test_scores_come_back_in_order(obedient):
    pairs = [(str(i % 7), str(i % 5)) for i in range(500)]
    with VerifierPool("obey", processes=3) as pool:
        assert [verdict.score for verdict in pool.score(pairs)] == [float(a == b) for a, b in pairs]
        assert pool.score([]) == []
        assert pool.timeouts == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_what_hangs_dies_or_throws_is_reported_and_the_rest_is_scored(obedient, processes):
    bad = {3: "hang", 10: "die", 11: "throw", 12: "hang", 40: "die"}
    pairs = [("a", bad.get(i, "a")) for i in range(64)]
    with VerifierPool("obey", processes=processes, timeout=0.5) as pool:
        for round in (1, 2):
            verdicts = pool.score(pairs)
            assert [i for i, verdict in enumerate(verdicts) if verdict.score is None] == sorted(bad)
            assert all(verdict == (1.0, None) for i, verdict in enumerate(verdicts) if i not in bad)
            assert verdicts[3].error == "timed out after 0.5 s"
            assert verdicts[10].error == "the verifier died (exit code 7)"
            assert verdicts[11].error == "threw KeyError: 'no'"
            assert pool.timeouts == 2 * round


def test_what_a_verifier_prints_is_no_score(obedient):
    with VerifierPool("obey", processes=1) as pool:
        assert [verdict.score for verdict in pool.score([("a", "print"), ("a", "a"), ("a", "b")])] == [0.0, 1.0, 0.0]


def test_workers_have_no_torch(obedient):
    with VerifierPool("obey", processes=1) as pool:
        assert pool.score([("", "torch?")]) == [(0.0, None)]


def test_a_worker_that_is_killed_between_calls_costs_no_sample(obedient):
    with VerifierPool("obey", processes=1) as pool:
        pool.score([("a", "a")])
        pool._workers[0].process.kill()
        pool._workers[0].process.wait()
        assert pool.score([("a", "a")]) == [(1.0, None)]


HELD_UP = r"""
import sys
from entrostat.verify import VerifierPool
with VerifierPool("math", processes=1, timeout=2) as pool:
    pool.score([("1", "\\boxed{1}")])
    print(pool._workers[0].process.pid, flush=True)
    pool.score([("1", "\\boxed{9^{9^9}}")])
"""


def is_running(pid):
    """Not one that has ended and waits for its parent, as in a container without an init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ticks(pid):
    """Of processor time, 100 a second."""
    return int(Path(f"/proc/{pid}/stat").read_text().split()[13])


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the worker in /proc")
def test_a_worker_in_the_midst_of_c_code_ends_after_the_process_that_started_it(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", HELD_UP], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    begun, before = time.monotonic(), ticks(worker)
    while ticks(worker) < before + 10:  # it is at the text
        time.sleep(0.01)
    parent.kill()
    parent.communicate()
    try:
        while is_running(worker):
            assert time.monotonic() < begun + 60, "it runs on"
            time.sleep(0.05)
    finally:
        if is_running(worker):
            os.kill(worker, signal.SIGKILL)


def test_a_worker_that_ends_itself_has_timed_out(obedient, monkeypatch):
    """Where this process is held up for longer than that."""
    monkeypatch.setattr(pool, "ORPHANED", 0.1)
    with VerifierPool("obey", processes=1, timeout=5.0) as made:
        assert made.score([("a", "hang"), ("a", "a")]) == [(None, "timed out after 5 s"), (1.0, None)]
        assert made.timeouts == 1


def test_a_megabyte_goes_through(obedient):
    text = "x" * 1_000_000
    with VerifierPool("obey") as pool:
        assert pool.score([(text, text), (text, "x")]) == [(1.0, None), (0.0, None)]


def test_closing_ends_the_workers(obedient):
    pool = VerifierPool("obey")
    pool.score([("a", "a")] * 2)
    processes = [worker.process for worker in pool._workers]
    pool.close()
    assert [process.poll() for process in processes] == [-9, -9]


PIECES = [
    *(
        "0",
        "7",
        "72",
        "٣",
        "²",
        "x",
        "\\pi",
        "\\infty",
        "e",
        "i",
        "+",
        "-",
        "*",
        "**",
        "/",
        "^",
        "_",
        "=",
        "<",
        ",",
        ".",
    ),
    *("{", "}", "(", ")", "[", "]", "\\{", "\\}", "$", "%", "!", "\\frac", "\\sqrt", "\\sum", "\\int", "\\left", "\\"),
    *(
        "\\text{",
        "\\boxed{",
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "&",
        "\\\\",
        "\\cup",
        "\\in",
        "Answer:",
        "####",
        "\n",
    ),
    *(
        "\x00",
        "\u202e",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        " ",
        "1e999",
        "\\log",
        "mod",
    ),
]
WORST = [
    *("9**9**9", "9^{9^9}", "9^{9^{9^9}}", "(" * 5000 + ")" * 5000, "{" * 100_000, "}" * 1000, "\\frac{" * 300),
    *("\\sqrt{" * 500 + "2" + "}" * 500, "1" * 100_000, "x+" * 500_000, "\\frac{1}{" * 15 + "0" + "}" * 15, "100000!"),
    "__import__('os').system('true')",
]


def hostile(n, seed):
    """n texts, most of random pieces, some of the worst ones."""
    rng = random.Random(seed)
    for i in range(n):
        body = WORST[i] if i < len(WORST) else "".join(rng.choices(PIECES, k=rng.randint(1, 25)))
        yield rng.choice(["\\boxed{%s}", "Answer: %s", "#### %s", "<answer>%s</answer>", "%s"][: 1 + i % 5]) % body


@pytest.mark.parametrize(("verifier", "n"), [("gsm8k", 1000), ("last-number", 1000), ("dapo", 1000), ("math", 2000)])
def test_hostile_answers_crash_nothing(verifier, n):
    texts = list(hostile(n, seed=n))
    with VerifierPool(verifier, timeout=2.0) as pool:
        verdicts = pool.score([("918273645", text) for text in texts])
        assert {verdict.score for verdict in verdicts} <= {0.0, None}
        unscored = [verdict.error for verdict in verdicts if verdict.score is None]
        assert set(unscored) <= {"timed out after 2 s"}
        assert pool.timeouts == len(unscored)
        if verifier != "math":
            assert not unscored


def test_long_texts_go_out_a_few_at_a_time():
    """What is out at once is bounded in letters too; a text over the bound goes alone."""
    lengths = [10, 400_000, 700_000, 5 << 20, 1, 1]
    waiting = deque((i, ("1", "x" * n)) for i, n in enumerate(lengths))
    sent = []
    while waiting:
        sent.append([index for index, _ in pool._chunk(waiting, 3)])
    assert sent == [[0, 1], [2], [3], [4, 5]]
