"""entrostat evaluate."""

import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import Any

from entrostat.cli.words import fail, parse, show


def evaluate(args: list[str]) -> int:
    """`entrostat evaluate`: the exit code."""
    from entrostat.evaluation.options import Evaluate
    from entrostat.evaluation.presets import PRESETS

    if "--compare" in args:
        return _compare(args)
    options = parse(Evaluate, args, "entrostat evaluate")
    here = (
        ("task", "problems", "temperatures") if options.benchmark else _BENCHMARK_ONLY
    )
    defaults = {field.name: field.default for field in dataclasses.fields(Evaluate)}
    for name in here:
        if getattr(options, name) != defaults[name]:
            said = "without" if options.benchmark else "with"
            raise ValueError(f"--{name.replace('_', '-')} goes {said} --benchmark")
    return (
        _benchmarks(options, PRESETS[options.preset])
        if options.benchmark
        else _lab(options)
    )


_BENCHMARK_ONLY = (
    "preset",
    "top_p",
    "top_k",
    "max_tokens",
    "seed",
    "backend",
    "batch",
    "out",
)


def _benchmarks(options: Any, preset: Any) -> int:
    import torch

    from entrostat.data.benchmarks import load_benchmark
    from entrostat.evaluation.load import load_backend
    from entrostat.evaluation.run import evaluate
    from entrostat.evaluation.settings import Settings
    from entrostat.evaluation.tables import scores_table
    from entrostat.evaluation.watch import Screen
    from entrostat.lab.train import quiet

    given = {name: getattr(options, name) for name in ("temperature", "top_p", "top_k")}
    sampling = dataclasses.replace(
        preset, **{name: value for name, value in given.items() if value is not None}
    )
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
    out = (
        options.out
        or Path("runs") / f"evaluate-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    )
    benchmarks = [load_benchmark(name) for name in options.benchmark]
    try:
        results = evaluate(
            out,
            benchmarks,
            settings,
            lambda: load_backend(options.backend, options.model, options.batch),
            Screen(),
        )
    except KeyboardInterrupt:
        return fail(f"stopped; the same command with --out {out} goes on", code=130)
    print(f"samples, scores and pass@k: {out}", file=sys.stderr)
    show({"out": str(out), "benchmarks": results}, scores_table(results), options.json)
    return 0


def _compare(args: list[str]) -> int:
    from entrostat.evaluation.compare import compare
    from entrostat.evaluation.tables import comparison_table

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
            print(
                f"warning: {name}: A and B differ in {', '.join(keys)}", file=sys.stderr
            )
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
        temperatures=options.temperatures,
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
        temperatures=config.temperatures,
    )
    show(scores, scores_table(scores), options.json)
    return 0
