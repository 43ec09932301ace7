"""docs/diagnose.md: what it quotes is what the shipped dump gives."""

import contextlib
import json
import re
from pathlib import Path

from entrostat.cli import main

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_quotes_the_shipped_dump(capsys):
    assert main(["diagnose", str(DOCS / "examples" / "grpo"), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    lines = (DOCS / "diagnose.md").read_text(encoding="utf-8").splitlines()
    assert made["left_out"] == [] and made["rollouts"] == 8
    for each in made["verdict"]:
        assert f"    {each['head']:<10}{each['line']}" in lines


def test_every_option_is_in_it(capsys):
    with contextlib.suppress(SystemExit):
        main(["diagnose", "--help"])
    options = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)) - {"--help", "--dump-every"}
    page = (DOCS / "diagnose.md").read_text(encoding="utf-8")
    assert options and all(option in page for option in options)
