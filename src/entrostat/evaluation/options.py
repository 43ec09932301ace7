"""The options of `entrostat evaluate`.

The text under each is its --help, which keeps line breaks: so each is one line.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Scores a causal language model on benchmarks, or on a task's held-out problems.

    Benchmarks are aime24, aime25, amc23, math-500, gsm8k, olympiad, or a file: JSONL or
    Parquet, as published on the hub or made for verl.
    Without any, a task of the lab is scored.
    The same command with the same --out goes on with an evaluation that was stopped.
    `entrostat evaluate --compare A B` compares two of their folders by a paired test.
    """

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A model's folder, a run's folder (its last checkpoint), or a hub name OWNER/NAME."""
    benchmark: Annotated[tuple[str, ...], arg(metavar="NAME|FILE")] = ()
    """Benchmarks by name, or files."""
    columns: Annotated[str, arg(metavar="id=..,problem=..,answer=..")] = ""
    """Columns of the files; known names are found without it."""
    verifier: Literal["math", "last-number", "gsm8k", "dapo", "exact"] | None = None
    """What judges; without it, what the benchmark or the file's answers ask for."""
    wording: Literal["none", "boxed", "gsm8k", "dapo", "verl-math"] | None = None
    """Asks for the answer in the verifier's form; none: the problem as it is."""
    task: str = "countdown"
    """Task of the lab."""
    problems: int = 128
    """Held-out problems of the task. Of a benchmark all are taken."""
    samples: int = 32
    """Completions of each problem."""
    preset: Literal["plain", "2602.09782"] = "plain"
    """How a benchmark is sampled: the model as it is, or as a paper does."""
    temperature: float | None = None
    """Of the sampler, in place of the preset's."""
    temperatures: tuple[float, ...] = ()
    """Score the task at these too, and choose the best on validation problems."""
    top_p: float | None = None
    """In place of the preset's; 1 is off."""
    top_k: int | None = None
    """In place of the preset's; 0 is off."""
    max_tokens: int = 4096
    """Of a completion, in a benchmark."""
    seed: int = 0
    """Of a benchmark's samples."""
    backend: Literal["transformers", "vllm"] = "transformers"
    """What samples a benchmark."""
    batch: int | None = None
    """Sequences sampled and kept at a time, in a benchmark; 64, or 2048 with vLLM."""
    out: Annotated[Path | None, "folder"] = None
    """Where samples are kept. Without it: a new runs/evaluate-TIME-PROCESS."""
    threads: int = 1
    """CPU threads. 1 leaves the other cores to other runs."""
    json: bool = False
    """Print the result as JSON."""
