"""What an evaluation is: everything that its samples depend on.

It is kept beside the samples, and compared when an evaluation goes on.
"""

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
MODEL_FILES = (".safetensors", ".bin", ".json", ".jinja", ".model")
"""Weights, configuration, chat template and vocabulary."""


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
        for option, value in (
            ("--samples", self.samples),
            ("--max-tokens", self.max_tokens),
        ):
            if value < 1:
                raise ValueError(f"{option} must be at least 1, got {value}")

    def record(self, benchmark: Benchmark) -> dict[str, Any]:
        """What settings.json says of this evaluation of `benchmark`."""
        own = dataclasses.asdict(self)
        sampling = own.pop("sampling")
        questions = list(map(list, benchmark.questions))
        return {
            "format": FORMAT,
            "benchmark": benchmark.name,
            "problems": len(benchmark.questions),
            "questions": _digest(questions),
            "verifier": benchmark.verifier,
            "prompt": benchmark.prompt,
            **sampling,
            **own,
            "weights": fingerprint(Path(self.model)),
            "entrostat": entrostat.__version__,
        }

    def seed_of(self, benchmark: str, question: str) -> int:
        """The seed of one problem's samples, in [0, 2^31)."""
        first_32_bits = _digest([self.seed, benchmark, question])[:8]
        return int(first_32_bits, 16) >> 1


def differences(
    recorded: dict[str, Any], now: dict[str, Any], keys: Sequence[str] = ()
) -> list[str]:
    """What of two records makes other samples, as `key: then, now`.

    All keys are compared, or these. A folder that was moved is the same model.
    """
    skipped = {"entrostat"}
    if recorded.get("weights") is not None and now["weights"] is not None:
        skipped.add("model")
    differ = []
    for key in keys or now:
        then = recorded.get(key)
        if key not in skipped and then != now[key]:
            differ.append(f"{key}: {then!r} there, {now[key]!r} now")
    return differ


def fingerprint(folder: Path) -> str | None:
    """A hash of a model's folder. None for no folder.

    Small files are hashed whole, and of weights their sizes and spread blocks. The
    blocks are all over the file, since training moves few of a model's numbers far in
    low precision.
    """
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix not in MODEL_FILES or not path.is_file():
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
