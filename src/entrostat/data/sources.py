"""Where a data set is and what its columns mean: the papers' two by name, a file, a folder, or any on the hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from entrostat.data.columns import parse_columns
from entrostat.texts import first_line


@dataclass(frozen=True)
class Source:
    """A data set of problems with answers."""

    where: str
    """A hub name, or a path."""
    config: str | None
    """The hub's name for one of several parts."""
    columns: Mapping[str, str]
    """Of "problem" and of "answer"; a dot goes into a field."""
    verifier: str
    """Of the training reward: a key of entrostat.verify.VERIFIERS."""
    test_verifier: str
    """Of the held-out problems."""

    @property
    def local(self) -> bool:
        """A path, not a hub name."""
        return Path(self.where).expanduser().exists() or _must_be_path(self.where)


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        # arXiv 2110.14168; columns question, answer: a worked solution that ends in "#### 72". 2509.26114 trains on
        # the strict rule and validates on the last number
        "gsm8k": Source(
            "openai/gsm8k",
            "main",
            {"problem": "question", "answer": "answer"},
            "gsm8k",
            "last-number",
        ),
        # arXiv 2503.14476; columns data_source, prompt (a conversation), ability, reward_model, extra_info. Each of
        # its some 17,000 problems stands there about a hundred times
        "dapo-math-17k": Source(
            "BytedTsinghua-SIA/DAPO-Math-17k",
            None,
            {"problem": "prompt", "answer": "reward_model.ground_truth"},
            "dapo",
            "dapo",
        ),
    }
)


def find_source(dataset: str, columns: str = "", verifier: str = "") -> Source:
    """The source that --dataset names. `verifier` and `columns` are those of an unnamed one; "math" without.

    ValueError for options that a named source has already.
    """
    if dataset in SOURCES:
        if columns or verifier:
            raise ValueError(
                f"--dataset {dataset} has its own columns and verifier: leave --columns, --verifier out"
            )
        return SOURCES[dataset]
    where, config = dataset, None
    if (
        not Path(dataset).expanduser().exists()
        and not _must_be_path(dataset)
        and ":" in dataset
    ):
        where, _, config = dataset.partition(":")
    verifier = verifier or "math"
    return Source(where, config, parse_columns(columns), verifier, verifier)


def open_splits(source: Source) -> dict[str, Any]:
    """Its splits, each a datasets.Dataset. ValueError, one line, for what can't be read."""
    import datasets

    path = Path(source.where).expanduser()
    if source.local and not path.exists():
        raise ValueError(
            f"--dataset {source.where!r} is no file and no folder; names are: {', '.join(SOURCES)}"
        )
    kind = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}.get(path.suffix)
    if path.is_file() and kind is None:
        raise ValueError(
            f"--dataset {source.where!r}: give a .jsonl or .parquet file, a folder, or a hub name"
        )
    try:
        if path.is_file():
            return dict(
                datasets.load_dataset(str(kind), data_files={"train": str(path)})
            )  # pyright: ignore
        return dict(
            datasets.load_dataset(
                str(path) if path.exists() else source.where, source.config
            )
        )  # pyright: ignore
    except Exception as error:
        # what datasets raises is a wrapper; the cause says where
        said = first_line(error.__cause__ or error, 300)
        hint = "" if source.local else "; without the hub, give the path of a copy"
        raise ValueError(
            f"--dataset {source.where!r} can't be read ({said}){hint}"
        ) from None


def train_and_test(splits: Mapping[str, Any], where: str) -> tuple[Any, Any | None]:
    """The split to train on, and the one that is held out, if there is one. ValueError where it isn't plain."""
    test = splits.get("test")
    others = {name: rows for name, rows in splits.items() if name != "test"}
    if "train" not in others and len(others) != 1:
        raise ValueError(
            f"--dataset {where!r} has the splits {', '.join(splits)}: one must be named train"
        )
    return others.get("train", next(iter(others.values()))), test


def _must_be_path(where: str) -> bool:
    return (
        where.count("/") > 1
        or where.startswith((".", "/", "~"))
        or where.endswith((".jsonl", ".json", ".parquet"))
    )
