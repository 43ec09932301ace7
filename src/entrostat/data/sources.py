"""Where a data set is and what its columns mean: the papers' two by name, a file, a
folder, or any on the hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from entrostat.data.columns import parse_columns
from entrostat.texts import first_line

_READERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}
"""What `datasets` calls the reader of a file, by the file's ending."""


@dataclass(frozen=True)
class DataSource:
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
        return _is_local(self.where)


SOURCES: Mapping[str, DataSource] = MappingProxyType(
    {
        # arXiv 2110.14168; columns question, answer: a worked solution that ends in
        # "#### 72". 2509.26114 trains on the strict rule and validates on the last
        # number
        "gsm8k": DataSource(
            "openai/gsm8k",
            "main",
            {"problem": "question", "answer": "answer"},
            verifier="gsm8k",
            test_verifier="last-number",
        ),
        # arXiv 2503.14476; columns data_source, prompt (a conversation), ability,
        # reward_model, extra_info. Each of its some 17,000 problems stands there about
        # a hundred times
        "dapo-math-17k": DataSource(
            "BytedTsinghua-SIA/DAPO-Math-17k",
            None,
            {"problem": "prompt", "answer": "reward_model.ground_truth"},
            verifier="dapo",
            test_verifier="dapo",
        ),
    }
)


def find_source(dataset: str, columns: str = "", verifier: str = "") -> DataSource:
    """The source that --dataset names. `verifier` and `columns` are those of an unnamed
    one; "math" without.

    ValueError for options that a named source has already.
    """
    if dataset in SOURCES:
        if columns or verifier:
            raise ValueError(
                f"--dataset {dataset} has its own columns and verifier: leave "
                "--columns, --verifier out"
            )
        return SOURCES[dataset]
    where, config = dataset, None
    # a path may have a colon in it, which on the hub names a part
    if ":" in dataset and not _is_local(dataset):
        where, _, config = dataset.partition(":")
    verifier = verifier or "math"
    return DataSource(where, config, parse_columns(columns), verifier, verifier)


def open_splits(source: DataSource) -> dict[str, Any]:
    """Its splits, each a datasets.Dataset. ValueError, one line, for what can't be
    read."""
    path = Path(source.where).expanduser()
    if source.local and not path.exists():
        raise ValueError(
            f"--dataset {source.where!r} is no file and no folder; names are: "
            f"{', '.join(SOURCES)}"
        )
    if path.is_file() and path.suffix not in _READERS:
        raise ValueError(
            f"--dataset {source.where!r}: give a .jsonl or .parquet file, a folder, or "
            "a hub name"
        )
    try:
        return dict(_loaded(source, path))
    except Exception as error:
        # what datasets raises is a wrapper; the cause says where
        said = first_line(error.__cause__ or error, 300)
        hint = "" if source.local else "; without the hub, give the path of a copy"
        raise ValueError(
            f"--dataset {source.where!r} can't be read ({said}){hint}"
        ) from None


def _loaded(source: DataSource, path: Path) -> Any:
    """All splits, from the file or the folder at `path`, or from the hub."""
    # loads slowly, and not every command reads a data set
    import datasets

    if path.is_file():
        files = {"train": str(path)}
        return datasets.load_dataset(_READERS[path.suffix], data_files=files)
    where = str(path) if path.exists() else source.where
    return datasets.load_dataset(where, source.config)


def train_and_test(splits: Mapping[str, Any], where: str) -> tuple[Any, Any | None]:
    """The split to train on, and the one that is held out, if there is one. ValueError
    where it is not plain which one to train on."""
    others = {name: rows for name, rows in splits.items() if name != "test"}
    if "train" not in others and len(others) != 1:
        raise ValueError(
            f"--dataset {where!r} has the splits {', '.join(splits)}: one must be "
            "named train"
        )
    train = others.get("train", next(iter(others.values())))
    return train, splits.get("test")


def _is_local(where: str) -> bool:
    """Whether it is a path: there, or spelt as no hub name is (NAME or OWNER/NAME)."""
    if Path(where).expanduser().exists() or where.count("/") > 1:
        return True
    return where.startswith((".", "/", "~")) or where.endswith(tuple(_READERS))
