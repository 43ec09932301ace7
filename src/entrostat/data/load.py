"""A data set made ready: read, without what repeats, what a benchmark has and what its
verifier can't read."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from entrostat.data.benchmarks import BENCHMARKS, load_benchmark
from entrostat.data.columns import Item, read_items
from entrostat.data.dedup import drop
from entrostat.data.prompts import bare
from entrostat.data.sources import DataSource, open_splits, train_and_test
from entrostat.verify import VerifierPool, readable

CHECKED = 256
"""Answers that are tried on a verifier of `SLOW`; on the others all are."""
SLOW = ("math",)
"""Verifiers that take milliseconds for an answer."""


class Problems(NamedTuple):
    """What a run draws from."""

    train: list[Item]
    test: list[Item] | None
    """None where the source holds nothing out."""
    counts: dict[str, Any]
    """JSON: "rows", "train", "test", and "dropped", the dropped rows by reason."""
    notes: list[str]
    """What the user is to know, one line each."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all problems and answers, in order."""
        return hashlib.sha256(json.dumps([self.train, self.test]).encode()).hexdigest()


def load_problems(source: DataSource, benchmarks: Sequence[str] = ()) -> Problems:
    """The problems of `source`, less those of `benchmarks`: names or files. Without
    any, a source on the hub loses the problems of all named benchmarks.

    Raises:
        ValueError: one line, with the option to change.
    """
    train_rows, test_rows = train_and_test(open_splits(source), source.where)
    items = read_items(train_rows, source.columns, source.where)
    test = None
    if test_rows is not None:
        test = read_items(test_rows, source.columns, f"{source.where} (test)")
    texts, notes = _benchmark_texts(source, benchmarks)
    if test is not None:
        test, _ = drop(test, {})
        texts["its test split"] = [item.problem for item in test]
    new, dropped = drop(items, texts)
    train = _readable(new, source.verifier, source)
    dropped["unreadable answer"] = len(new) - len(train)
    if test:
        test = _readable(test, source.test_verifier, source)
    if not train:
        raise ValueError(
            f"--dataset {source.where!r} has no problem left of {len(items)}: dropped "
            f"{dropped}"
        )
    reasons = [f"{count} ({reason})" for reason, count in dropped.items() if count]
    if reasons:
        notes.append(
            f"{source.where}: {len(train)} of {len(items)} training rows kept; dropped "
            f"{', '.join(reasons)}"
        )
    counts = {
        "rows": len(items),
        "train": len(train),
        "test": len(test or []),
        "dropped": dropped,
    }
    return Problems(train, test, counts, notes)


def _benchmark_texts(
    source: DataSource, benchmarks: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """The problems of each benchmark, and a note for each that was not asked for and
    can't be had."""
    names = benchmarks
    if not benchmarks and not source.local:
        names = list(BENCHMARKS)
    texts, notes = {}, []
    for name in names:
        try:
            questions = load_benchmark(name).questions
        except ValueError as error:
            if benchmarks:
                raise ValueError(f"--drop-benchmarks: {error}") from None
            notes.append(f"{source.where} is not compared with {name}: {error}")
        else:
            texts[name] = [bare(question.problem) for question in questions]
    return texts, notes


def _readable(items: list[Item], verifier: str, source: DataSource) -> list[Item]:
    """The items whose answer a model can match (`verify.readable`), and with a slow
    verifier those that were not tried.

    ValueError where it can read none.
    """
    step = max(1, len(items) // CHECKED) if verifier in SLOW else 1
    tried = items[::step]
    with VerifierPool(verifier, timeout=30.0) as pool:
        found = readable([item.answer for item in tried], pool)
    bad = set()
    for item, is_readable in zip(tried, found, strict=True):
        if not is_readable:
            bad.add(item)
    if len(bad) == len(set(tried)):
        answer = tried[0].answer if tried else ""
        raise ValueError(
            f"the verifier {verifier!r} can read no answer in column "
            f"{source.columns['answer']!r} of {source.where} (the first: "
            f"{answer[:60]!a}): choose another --verifier, or another column with "
            "--columns answer=..."
        )
    return [item for item in items if item not in bad]
