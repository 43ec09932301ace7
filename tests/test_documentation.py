"""What the pages say of files and versions is true. The site itself is built by `make docs`, strictly."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_a_relative_link_leads_to_a_file(page):
    # what stands in docs/results/reproduce is put into docs/claims.md, and its links are as from there
    folder = ROOT / "docs" if page.parent.name == "reproduce" else page.parent
    targets = LINK.findall(page.read_text())
    missing = [target for target in targets if not (folder / target).exists()]
    assert missing == []


def test_the_table_of_versions_is_what_ci_installs():
    done = subprocess.run([sys.executable, "dev/versions.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_readme_clones_from_the_address_in_pyproject():
    address = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    assert f"git clone {address} && cd entrostat" in (ROOT / "README.md").read_text()


def test_every_page_stands_in_the_sites_menu():
    menu = (ROOT / "mkdocs.yml").read_text()
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    read_elsewhere = {page for page in pages if page.startswith("results/reproduce/")}
    in_menu = set(re.findall(r"[\w/-]+\.md", menu))
    assert pages - read_elsewhere == in_menu


def test_a_test_that_a_page_names_exists():
    named = []
    for page in PAGES:
        named += re.findall(r"`([a-z_0-9/]+\.py)::(test_[a-z_0-9]+)`", page.read_text())
    assert len(named) > 15
    for file, name in named:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), f"{file}::{name}"
