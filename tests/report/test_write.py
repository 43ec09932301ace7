"""Writing the report: whole or not at all, and over nothing but a report."""

import os
import sys

import pytest

from entrostat.report import write_report
from entrostat.report.plotly_file import shared_name


def test_writes_the_page_and_returns_its_path(make_run, tmp_path):
    out = tmp_path / "new" / "folder" / "report.html"
    assert write_report([make_run("a")], out, title="Mine") == out
    assert "<title>Mine</title>" in out.read_text(encoding="utf-8")
    assert sorted(os.listdir(out.parent)) == [shared_name(), "report.html"]


def test_pages_of_a_folder_share_one_plotly_js(make_run, tmp_path):
    folder = tmp_path / "pages"
    write_report([make_run("a")], folder / "a.html")
    (shared,) = (path for path in folder.iterdir() if path.name != "a.html")
    written = shared.stat().st_ino, shared.stat().st_mtime_ns
    write_report([make_run("b")], folder / "b.html")
    assert (shared.stat().st_ino, shared.stat().st_mtime_ns) == written
    assert {path.name for path in folder.iterdir()} == {"a.html", "b.html", shared.name}
    for page in folder.glob("*.html"):
        assert page.stat().st_size < 200_000
        assert f'src="{shared.name}"' in page.read_text(encoding="utf-8")


def test_an_inline_page_is_one_file(make_run, tmp_path):
    out = write_report([make_run("a")], tmp_path / "pages" / "a.html", inline=True)
    assert os.listdir(out.parent) == ["a.html"]
    html = out.read_text(encoding="utf-8")
    assert out.stat().st_size > 1e6 and "<script src" not in html and "nonce" not in html.split("<style>")[0]


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_plotly_js_is_never_replaced_by_it(make_run, tmp_path, kind):
    out = tmp_path / "pages" / "a.html"
    out.parent.mkdir()
    other = out.parent / shared_name()
    {"file": lambda: other.write_text("mine"), "folder": other.mkdir, "link": lambda: other.symlink_to("gone")}[kind]()
    with pytest.raises(FileExistsError, match=r"min\.js exists and is not the plotly\.js of that name: .* --inline"):
        write_report([make_run("a")], out)
    assert os.listdir(out.parent) == [other.name]
    assert kind != "file" or other.read_text() == "mine"
    write_report([make_run("b")], out, inline=True)
    assert out.exists()


def test_a_report_is_replaced(make_run, tmp_path):
    out, runs = tmp_path / "report.html", [make_run("a")]
    write_report(runs, out, title="First")
    write_report(runs, out, title="Second")
    assert "<title>Second</title>" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["", "<html>my own page</html>", "x" * 5000 + '<meta name="generator"'])
def test_another_file_is_never_replaced(make_run, tmp_path, content):
    out = tmp_path / "report.html"
    out.write_text(content)
    with pytest.raises(FileExistsError, match=r"report\.html exists and is no report of entrostat"):
        write_report([make_run("a")], out)
    assert out.read_text() == content


def test_a_file_that_only_quotes_a_report_is_never_replaced(make_run, tmp_path):
    out = tmp_path / "notes.html"
    write_report([make_run("a")], out)
    quoting = "x" * 2000 + out.read_text(encoding="utf-8")
    out.write_text(quoting, encoding="utf-8")
    with pytest.raises(FileExistsError):
        write_report([make_run("b")], out)
    assert out.read_text(encoding="utf-8") == quoting


def test_a_folder_or_a_dangling_link_is_never_replaced(make_run, tmp_path):
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(tmp_path / "nowhere")
    for out in (folder, link):
        with pytest.raises(FileExistsError, match="give another file name"):
            write_report([make_run(f"run-{out.name}")], out)
    assert folder.is_dir() and link.is_symlink()


def test_a_failed_write_leaves_the_old_report_and_no_other_file(make_run, tmp_path, monkeypatch):
    out = tmp_path / "out" / "report.html"
    write_report([make_run("a")], out, title="Old", inline=True)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_report([make_run("b")], out, title="New")
    assert "<title>Old</title>" in out.read_text(encoding="utf-8")
    assert os.listdir(out.parent) == ["report.html"]


def test_a_path_that_is_no_run_writes_nothing(make_run, tmp_path):
    with pytest.raises(ValueError, match=r"elsewhere: there is no such file or folder"):
        write_report([make_run("a"), tmp_path / "elsewhere"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_report_is_as_readable_as_any_new_file(make_run, tmp_path):
    (tmp_path / "other").write_text("")
    out = write_report([make_run("a")], tmp_path / "report.html")
    assert out.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("module", ["plotly.offline", "jinja2"])
def test_without_its_libraries_the_error_names_the_extra(make_run, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'entrostat\[train\]'") as caught:
        write_report([make_run("a")], tmp_path / "report.html")
    assert "\n" not in str(caught.value) and caught.value.__suppress_context__
