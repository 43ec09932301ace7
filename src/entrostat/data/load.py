"""A data set made ready: read, without what repeats, what a benchmark has and what its verifier can't read."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from entrostat.data.benchmarks import SOURCES as BENCHMARKS
from entrostat.data.benchmarks import load_benchmark
from entrostat.data.columns import Item, read_items
from entrostat.data.dedup import drop
from entrostat.data.sources import Source, open_splits, train_and_test
from entrostat.verify import SPELLINGS, VerifierPool

CHECKED = 256
"""Answers that are tried on a verifier that takes milliseconds for each; of the others all are."""
SLOW = ("math",)


class Problems(NamedTuple):
    """What a run draws from."""

    train: list[Item]
    test: list[Item] | None
    """None where the source holds nothing out."""
    counts: dict[str, Any]
    """Problems that are there, and dropped ones by why: JSON."""
    notes: list[str]
    """What the user is to know, a line each."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all problems and answers, in order."""
        return hashlib.sha256(json.dumps([self.train, self.test]).encode()).hexdigest()


def load_problems(source: Source, benchmarks: Sequence[str] = ()) -> Problems:
    """The problems of `source`, less those of `benchmarks`: names or files. Of a source on the hub, all named ones.

    Raises:
        ValueError: one line, with the option to change.
    """
    train_rows, test_rows = train_and_test(open_splits(source), source.where)
    items = read_items(train_rows, source.columns, source.where)
    test = (
        None
        if test_rows is None
        else read_items(test_rows, source.columns, f"{source.where} (test)")
    )
    texts, notes = _benchmark_texts(source, benchmarks)
    if test is not None:
        test, _ = drop(test, {})
        texts["its test split"] = [item.problem for item in test]
    kept, dropped = drop(items, texts)
    readable = _readable(kept, source.verifier, source)
    if test:
        test = _readable(test, source.test_verifier, source)
    dropped["unreadable answer"] = len(kept) - len(readable)
    counts = {
        "rows": len(items),
        "train": len(readable),
        "test": len(test or []),
        "dropped": dropped,
    }
    if not readable:
        raise ValueError(
            f"--dataset {source.where!r} has no problem left of {len(items)}: dropped {dropped}"
        )
    told = ", ".join(f"{n} ({why})" for why, n in dropped.items() if n)
    if told:
        notes.append(
            f"{source.where}: {len(readable)} of {len(items)} training rows kept; dropped {told}"
        )
    return Problems(readable, test, counts, notes)


def _benchmark_texts(
    source: Source, benchmarks: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """The problems of each benchmark, and a note for each that was not asked for and can't be had."""
    texts, notes = {}, []
    for name in benchmarks or ([] if source.local else BENCHMARKS):
        try:
            texts[name] = [
                question.problem for question in load_benchmark(name).questions
            ]
        except ValueError as error:
            if benchmarks:
                raise ValueError(f"--drop-benchmarks: {error}") from None
            notes.append(f"{source.where} is not compared with {name}: {error}")
    return texts, notes


def _readable(items: list[Item], verifier: str, source: Source) -> list[Item]:
    """The items whose answer the verifier takes for right when it is spelt out to it; of a slow one, those not tried.

    ValueError where it can read none.
    """
    step = max(1, len(items) // CHECKED) if verifier in SLOW else 1
    tried = items[::step]
    spell = SPELLINGS[verifier]
    with VerifierPool(verifier, timeout=30.0) as pool:
        verdicts = pool.score([(item.answer, spell(item.answer)) for item in tried])
    bad = {
        item
        for item, verdict in zip(tried, verdicts, strict=True)
        if verdict.score != 1.0
    }
    if len(bad) == len(set(tried)):
        answer = tried[0].answer if tried else ""
        raise ValueError(
            f"the verifier {verifier!r} can read no answer in column {source.columns['answer']!r} of {source.where} "
            f"(the first: {answer[:60]!a}): choose another --verifier, or another column with --columns answer=..."
        )
    return [item for item in items if item not in bad]
