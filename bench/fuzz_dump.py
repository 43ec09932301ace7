"""Fuzzes the dump reader, and diagnose behind it, with atheris: damaged Parquet, wrong columns, hostile token exports.

    pip install atheris
    python bench/fuzz_dump.py [-max_total_time=600]      # libFuzzer's own options

Each input becomes one file: bytes written over a whole dump, a whole Parquet file whose columns have other types or
lengths, or lines of prime-rl's export. The reader must either take it or raise ValueError with one line; anything else,
a crash of the process or 20 s for one input stops the fuzzer, which keeps the input. The reader rests on pyarrow's own
native code, which is not instrumented: coverage guides through ours alone.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris  # pyright: ignore
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

with atheris.instrument_imports(include=["entrostat.dump", "entrostat.diagnose"]):  # pyright: ignore
    from entrostat import dump
    from entrostat.diagnose.stream import attribute

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
WHOLE = FOLDER / "step-000000.parquet"
WORDS = ("", "\x1b[2J", "<script>", "\u202e", "\ud800", "\x00", "9" * 400)
TYPES = (pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.bool_(), pa.string(), pa.binary(), pa.null())


def make_whole() -> bytes:
    """A small dump with every column that a per-token reader may ask for."""
    rng = np.random.default_rng(0)
    shape = (4, 5)
    dump.write(
        WHOLE,
        step=0,
        group=np.arange(4) // 2,
        reward=np.ones(4, np.float32),
        tokens=rng.integers(0, 9, shape),
        mask=np.ones(shape, bool),
        text=[[f"t{i}" for i in range(5)] for _ in range(4)],
        advantages=rng.normal(size=shape).astype(np.float32),
        logprobs=-rng.exponential(size=shape).astype(np.float32),
        old_logprobs=-rng.exponential(size=shape).astype(np.float32),
        entropy=rng.exponential(size=shape).astype(np.float32),
        clipped=np.zeros(shape, np.int8),
    )
    return WHOLE.read_bytes()


BYTES = make_whole()
TABLE = pq.read_table(WHOLE)


def damaged(data: Any) -> Path:
    """The dump with stretches of its bytes replaced, and perhaps its end cut off."""
    found = bytearray(BYTES)
    for _ in range(data.ConsumeIntInRange(1, 6)):
        at = data.ConsumeIntInRange(0, len(found) - 1)
        noise = data.ConsumeBytes(data.ConsumeIntInRange(1, 16))
        found[at : at + len(noise)] = noise
    path = FOLDER / "damaged.parquet"
    path.write_bytes(found[: data.ConsumeIntInRange(0, len(found))] if data.ConsumeBool() else found)
    return path


def miscast(data: Any) -> Path:
    """The dump as a whole Parquet file, some columns with other types, entries or lengths, and other metadata."""
    table = TABLE
    for _ in range(data.ConsumeIntInRange(1, 4)):
        at = data.ConsumeIntInRange(0, table.num_columns - 1)
        name = table.column_names[at]
        entries = [value(data) for _ in range(data.ConsumeIntInRange(0, 6))]
        rows = [entries[: data.ConsumeIntInRange(0, 6)] if data.ConsumeBool() else value(data) for _ in range(4)]
        kind = data.PickValueInList(list(TYPES))
        try:
            column = pa.array(rows, pa.list_(kind) if data.ConsumeBool() else kind)
            table = table.set_column(at, name, column)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            continue  # no such column can be written
    if data.ConsumeBool():
        noted = {data.ConsumeBytes(8): data.ConsumeBytes(30), b"entrostat": data.ConsumeBytes(60)}
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **noted})
    path = FOLDER / "miscast.parquet"
    pq.write_table(table, path)
    return path


def value(data: Any) -> Any:
    """A number, a word, nothing, or a list."""
    kind = data.ConsumeIntInRange(0, 6)
    if kind == 0:
        return data.ConsumeFloat()
    if kind == 1:
        return data.ConsumeInt(8)
    if kind == 2:
        return data.PickValueInList(list(WORDS)) + data.ConsumeUnicode(8)
    return (None, float("nan"), True, [[]])[kind - 3]


def export(data: Any) -> Path:
    """Lines of prime-rl's token export: an honest one with fields replaced, or any bytes."""
    names = ("token_ids", "loss_mask", "is_masked_low", "is_masked_high", "advantages", "trainer_logprobs")
    names += ("inference_logprobs", "entropy", "rewards", "losses", "step")
    lines = []
    for _ in range(data.ConsumeIntInRange(1, 4)):
        if data.ConsumeBool():
            lines.append(data.ConsumeBytes(40))
            continue
        honest = {name: [1, 0, 1] for name in names} | {"step": 1, "losses": None}
        hostile = {name: value(data) for name in names if data.ConsumeIntInRange(0, 3) == 0}
        record = {"schema_version": 1} | honest | hostile
        lines.append(json.dumps(record).encode("utf-8", "surrogatepass"))
    path = FOLDER / "token_export.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def one_input(raw: bytes) -> None:
    data = atheris.FuzzedDataProvider(raw)  # pyright: ignore
    path = (damaged, miscast, export)[data.ConsumeIntInRange(0, 2)](data)
    for skip_bad in (False, True):
        try:
            attribute([path], skip_bad=skip_bad)
        except ValueError as error:
            if len(str(error).splitlines()) != 1:
                raise AssertionError(f"more than one line: {error}") from error


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], "-timeout=20", "-max_len=512", *sys.argv[1:]], one_input)
    atheris.Fuzz()
