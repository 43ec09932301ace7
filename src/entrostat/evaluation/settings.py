"""What an evaluation is: everything that its samples depend on, kept beside them and compared when it goes on."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import entrostat
from entrostat.data.benchmarks import Benchmark
from entrostat.evaluation.presets import Sampling

FORMAT = "entrostat-evaluation"
BLOCKS, BLOCK = 16, 1 << 16
"""Of each weight file so many blocks of so many bytes are read for `fingerprint`."""


@dataclass(frozen=True)
class Settings:
    """How one model is evaluated. ValueError for settings that can't be."""

    model: str
    """Folder or hub name."""
    samples: int = 32
    """Completions of each problem."""
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    max_tokens: int = 4096
    """Of a completion."""
    backend: str = "transformers"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("samples", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}"
                )

    def record(self, benchmark: Benchmark) -> dict[str, Any]:
        """What settings.json says of this evaluation of `benchmark`."""
        mine = dataclasses.asdict(self)
        return {
            "format": FORMAT,
            "benchmark": benchmark.name,
            "problems": len(benchmark.questions),
            "questions": _digest([list(question) for question in benchmark.questions]),
            "verifier": benchmark.verifier,
            "prompt": benchmark.prompt,
            **mine.pop("sampling"),
            **mine,
            "weights": fingerprint(Path(self.model)),
            "entrostat": entrostat.__version__,
        }

    def seed_of(self, benchmark: str, question: str) -> int:
        """The seed of one problem's samples, in [0, 2^31)."""
        return int(_digest([self.seed, benchmark, question])[:8], 16) >> 1


def differences(
    recorded: dict[str, Any], now: dict[str, Any], keys: Sequence[str] = ()
) -> list[str]:
    """What of two records makes other samples, as `key: then, now`; of all keys, or of these.

    A folder that was moved is the same model.
    """
    known = recorded.get("weights") is not None and now["weights"] is not None
    skipped = {"entrostat"} | ({"model"} if known else set())
    found = [
        key
        for key in keys or now
        if key not in skipped and recorded.get(key) != now[key]
    ]
    return [f"{key}: {recorded.get(key)!r} there, {now[key]!r} now" for key in found]


def fingerprint(folder: Path) -> str | None:
    """A hash of a model's folder: small files whole, of weights their sizes and spread blocks. None for no folder.

    Blocks all over the file, since training moves few of a model's numbers far in low precision.
    """
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if (
            path.suffix not in (".safetensors", ".bin", ".json", ".jinja", ".model")
            or not path.is_file()
        ):
            continue
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            if size <= BLOCKS * BLOCK:
                digest.update(file.read())
                continue
            for i in range(BLOCKS):
                file.seek(i * (size - BLOCK) // (BLOCKS - 1))
                digest.update(file.read(BLOCK))
    return digest.hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
