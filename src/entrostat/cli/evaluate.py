"""entrostat evaluate."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from entrostat.cli.words import fail, parse, show


def evaluate(args: list[str]) -> int:
    """`entrostat evaluate`: the exit code."""
    from tyro.conf import Positional

    from entrostat.evaluation.presets import PRESETS

    if "--compare" in args:
        return _compare(args)

    @dataclasses.dataclass(frozen=True)
    class Evaluate:
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
        """Where a benchmark's samples are kept, or go on from; runs/evaluate-TIME without it."""
        threads: int = 1
        """CPU threads. 1 leaves the other cores to other runs."""
        json: bool = False
        """Print the result as JSON."""

    Evaluate.__doc__ = (
        "Scores a causal language model on benchmarks (aime24, aime25, amc23, math-500, gsm8k, olympiad, or a JSONL "
        "file), or on the held-out problems of a task of the lab. `entrostat evaluate --compare A B` compares two "
        "folders of benchmarks, with a paired test."
    )
    options = parse(Evaluate, args, "entrostat evaluate")
    here = ("task", "problems") if options.benchmark else _BENCHMARK_ONLY
    defaults = {field.name: field.default for field in dataclasses.fields(Evaluate)}
    for name in here:
        if getattr(options, name) != defaults[name]:
            said = "without" if options.benchmark else "with"
            raise ValueError(f"--{name.replace('_', '-')} goes {said} --benchmark")
    return _benchmarks(options, PRESETS[options.preset]) if options.benchmark else _lab(options)


_BENCHMARK_ONLY = ("preset", "top_p", "top_k", "max_tokens", "seed", "backend", "batch", "out")


def _benchmarks(options: Any, preset: Any) -> int:
    import torch

    from entrostat.data.benchmarks import load_benchmark
    from entrostat.evaluation.load import load_backend
    from entrostat.evaluation.run import evaluate
    from entrostat.evaluation.settings import Settings
    from entrostat.evaluation.show import Screen, scores_table
    from entrostat.lab.train import quiet

    given = {name: getattr(options, name) for name in ("temperature", "top_p", "top_k")}
    sampling = dataclasses.replace(preset, **{name: value for name, value in given.items() if value is not None})
    settings = Settings(
        model=options.model,
        samples=options.samples,
        sampling=sampling,
        max_tokens=options.max_tokens,
        backend=options.backend,
        seed=options.seed,
    )
    if options.batch is not None and options.batch < 1:
        raise ValueError(f"--batch must be at least 1, got {options.batch}")
    quiet()
    torch.set_num_threads(options.threads)
    out = options.out or Path("runs") / f"evaluate-{time.strftime('%Y%m%d-%H%M%S')}"
    benchmarks = [load_benchmark(name) for name in options.benchmark]
    try:
        results = evaluate(
            out, benchmarks, settings, lambda: load_backend(options.backend, options.model, options.batch), Screen()
        )
    except KeyboardInterrupt:
        return fail(f"stopped; the same command with --out {out} goes on", code=130)
    print(f"samples, scores and pass@k: {out}", file=sys.stderr)
    show({"out": str(out), "benchmarks": results}, scores_table(results), options.json)
    return 0


def _compare(args: list[str]) -> int:
    from entrostat.evaluation.compare import compare
    from entrostat.evaluation.show import comparison_table

    @dataclasses.dataclass(frozen=True)
    class Compare:
        """Compares two evaluations of benchmarks, problem by problem."""

        compare: tuple[Path, Path]
        """Folders of the two."""
        json: bool = False
        """Print the result as JSON."""

    options = parse(Compare, args, "entrostat evaluate")
    result = compare(*options.compare)
    for name, keys in result["differ"].items():
        if keys:
            print(f"warning: {name}: A and B differ in {', '.join(keys)}", file=sys.stderr)
    show(result, comparison_table(result), options.json)
    return 0


def _lab(options: Any) -> int:
    import torch

    from entrostat.lab.config import TrainConfig
    from entrostat.lab.evaluate import evaluate
    from entrostat.lab.show import scores_table
    from entrostat.lab.tasks import make_task
    from entrostat.lab.train import load_model, quiet

    config = TrainConfig(
        task=options.task,
        model=options.model,
        eval_problems=options.problems,
        eval_samples=options.samples,
        temperature=1.0 if options.temperature is None else options.temperature,
        threads=options.threads,
    )
    quiet()
    torch.set_num_threads(config.threads)
    model, tokenizer = load_model(config)
    scores = evaluate(
        model,
        tokenizer,
        make_task(config.task),
        problems=config.eval_problems,
        samples=config.eval_samples,
        temperature=config.temperature,
    )
    show(scores, scores_table(scores), options.json)
    return 0
