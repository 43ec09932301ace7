import os

import pytest

from entrostat.files import written_whole


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_it_appears_at_the_end_with_the_umasks_mode(tmp_path, umask):
    path = tmp_path / "above" / "run"
    before = os.umask(umask)
    try:
        with written_whole(path) as folder:
            (folder / "a").write_text("1")
            assert not path.exists()
    finally:
        os.umask(before)
    assert (path / "a").read_text() == "1" and path.stat().st_mode & 0o777 == 0o777 & ~umask
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_nothing(tmp_path, error):
    with pytest.raises(error), written_whole(tmp_path / "run") as folder:
        (folder / "a").write_text("1")
        raise error
    assert not list(tmp_path.iterdir())


def test_what_came_in_its_place_meanwhile_stays(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(OSError), written_whole(path) as folder:
        (folder / "a").write_text("1")
        path.mkdir()
        (path / "theirs").write_text("2")
    assert [p.name for p in tmp_path.rglob("*")] == ["run", "theirs"]


def test_an_empty_folder_is_replaced(tmp_path):
    (tmp_path / "run").mkdir()
    with written_whole(tmp_path / "run") as folder:
        (folder / "a").write_text("1")
    assert (tmp_path / "run" / "a").is_file()
