"""A state file is written whole or not at all, and refused by name when it is not what was written."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from entrostat.files import write_atomic
from entrostat.statefile import read_state, write_state

PAYLOAD = {"state": {"rollouts": 3, "initial_entropy": 0.1 + 0.2}, "name": "od"}


def test_round_trip_is_exact(tmp_path):
    write_state(tmp_path / "s.json", PAYLOAD)
    assert read_state(tmp_path / "s.json") == PAYLOAD
    assert os.listdir(tmp_path) == ["s.json"]


def test_every_truncation_is_refused_by_name(tmp_path):
    path = tmp_path / "s.json"
    write_state(path, PAYLOAD)
    whole = path.read_bytes()
    for length in range(len(whole) - 1):  # the last byte is a newline
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"s\.json") as caught:
            read_state(path)
        assert "\n" not in str(caught.value)


def test_every_changed_digit_is_refused(tmp_path):
    path = tmp_path / "s.json"
    write_state(path, PAYLOAD)
    text = path.read_text()
    for i, char in enumerate(text):
        if char.isdigit():
            edited = text[:i] + str((int(char) + 1) % 10) + text[i + 1 :]
            if json.loads(edited) == json.loads(text):
                continue  # a digit beyond the double's precision
            path.write_text(edited)
            with pytest.raises(ValueError, match=r"s\.json"):
                read_state(path)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b"null", b"{}", b'{"format": "entrostat-state", "version": 9}']
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "s.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"s\.json"):
        read_state(path)


def test_a_number_without_json_is_not_written(tmp_path):
    path = tmp_path / "s.json"
    write_state(path, PAYLOAD)
    with pytest.raises(ValueError):
        write_state(path, {"x": float("nan")})
    assert read_state(path) == PAYLOAD


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_who_may_read_it_is_the_umasks_to_say(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_state(tmp_path / "s.json", PAYLOAD)
        (tmp_path / "plain").touch()
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("s.json", "plain")]
    assert modes == [0o666 & ~umask] * 2


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / "s.json"
    write_atomic(path, json.dumps([0] * 20_000))
    code = (
        "import json, pathlib, sys\nfrom entrostat.files import write_atomic\n"
        "p, i = pathlib.Path(sys.argv[1]), 0\n"
        "print('go', flush=True)\n"
        "while True:\n    i += 1; write_atomic(p, json.dumps([i] * 20_000))"
    )
    for i in range(5):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.013 * i)
            process.send_signal(signal.SIGKILL)
        found = json.loads(path.read_text())
        assert len(found) == 20_000
        assert len(set(found)) == 1
