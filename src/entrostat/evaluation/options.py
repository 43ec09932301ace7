"""The options of `entrostat evaluate`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Scores a causal language model on benchmarks, or on the held-out problems of a task of the lab.

    Benchmarks are aime24, aime25, amc23, math-500, gsm8k, olympiad, or a JSONL file. `entrostat evaluate --compare A B`
    compares two folders of benchmarks, with a paired test.
    """

    model: Positional[str]
    """Folder or hub name."""
    benchmark: tuple[str, ...] = ()
    """Benchmarks by name, or JSONL files with id, problem and answer. Without any: a task of the lab."""
    task: str = "countdown"
    """Task of the lab."""
    problems: int = 128
    """Held-out problems of the task. Of a benchmark all are taken."""
    samples: int = 32
    """Completions of each."""
    preset: Literal["plain", "2602.09782"] = "plain"
    """How a benchmark is sampled: the model as it is, or a paper's temperature, top-p and top-k."""
    temperature: float | None = None
    """Of the sampler, in place of the preset's."""
    temperatures: tuple[float, ...] = ()
    """Score the task's problems at these temperatures beside that one, and choose the best on validation problems."""
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
    """Where a benchmark's samples are kept, or go on from; runs/evaluate-TIME-PROCESS without it."""
    threads: int = 1
    """CPU threads. 1 leaves the other cores to other runs."""
    json: bool = False
    """Print the result as JSON."""
