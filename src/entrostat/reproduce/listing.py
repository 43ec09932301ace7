"""The claims by name, before any of them is imported: they import torch, and a list or a
wrong name needs none."""

import ast
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from entrostat.reproduce.claims import claim_names
from entrostat.texts import near


class Listed(NamedTuple):
    """What the list says of a claim; `Claim` says what each is."""

    name: str
    statement: str
    source: str


def check_names(names: Sequence[str], *, all_of_them: bool) -> None:
    """Raises ValueError for an unknown name, naming near ones, and for names and
    `all_of_them` together."""
    if names and all_of_them:
        raise ValueError(
            f"--all is every claim, got {' '.join(names)} too: give one or the other"
        )
    known = claim_names()
    for name in names:
        if name not in known:
            raise ValueError(f"unknown claim {name!r}: {near(name, known)}")


def check_results(folder: Path) -> None:
    """Raises ValueError where the folder has no result of a claim."""
    if not any((folder / f"{name}.json").is_file() for name in claim_names()):
        raise ValueError(
            f"{folder} holds no result of a claim: entrostat reproduce --all --out "
            f"{folder} makes them"
        )


def listed() -> list[Listed]:
    """All claims, as their files say them."""
    folder = files("entrostat.reproduce.claims")
    claims = []
    for name in claim_names():
        source = (folder / f"{name}.py").read_text(encoding="utf-8")
        texts = _texts(ast.parse(source))
        claims.append(Listed(name, texts["statement"], texts["source"]))
    return claims


def _texts(file: ast.Module) -> dict[str, str]:
    """The plain texts of `CLAIM = Claim(name="a1", ...)`; those with a number of the file
    in them are left out."""
    texts: dict[str, str] = {}
    for node in file.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        if ast.unparse(node.targets[0]) != "CLAIM":
            continue
        for given in node.value.keywords:
            if given.arg and isinstance(given.value, ast.Constant):
                texts[given.arg] = str(given.value.value)
    return texts


def listing() -> Table:
    """Name, statement and source of each."""
    caption = "entrostat reproduce NAME... checks them, --all all of them"
    out = Table("claim", "statement", "source", caption=caption, caption_justify="left")
    for claim in listed():
        out.add_row(claim.name, escape(claim.statement), escape(claim.source))
    return out
