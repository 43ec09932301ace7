"""entrostat evaluate: of a model on the lab's problems or on benchmarks, or of two
evaluations against each other."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from entrostat.cli.words import fail, new_folder, parse, show
from entrostat.lab.options import at_least, option

_BENCHMARK_ONLY = (
    "columns",
    "verifier",
    "wording",
    "preset",
    "top_p",
    "top_k",
    "max_tokens",
    "seed",
    "backend",
    "batch",
    "out",
)
"""Options that go with --benchmark alone."""
_LAB_ONLY = ("task", "problems", "temperatures")
"""Options that go without --benchmark alone."""

# Rooms are imported inside the functions: they load torch and transformers, which takes
# seconds, and other commands need neither.


def evaluate(args: list[str]) -> int:
    """`entrostat evaluate`: the exit code."""
    from entrostat.evaluation.options import Evaluate

    if "--compare" in args:
        return _compare(args)
    options = parse(Evaluate, args, "entrostat evaluate")
    if options.benchmark:
        _check_default(options, _LAB_ONLY, "without")
        return _benchmarks(options)
    _check_default(options, _BENCHMARK_ONLY, "with")
    return _lab(_with_model(options))


def _check_default(options: Any, names: tuple[str, ...], side: str) -> None:
    """Raises ValueError where one of these options was given: it goes with --benchmark, or
    without it."""
    for field in dataclasses.fields(options):
        given = getattr(options, field.name) != field.default
        if field.name in names and given:
            raise ValueError(f"{option(field.name)} goes {side} --benchmark")


def _with_model(options: Any) -> Any:
    """The options with the model's place in them."""
    from entrostat.lab.find_model import find_model

    found = find_model(options.model)
    if found.note:
        print(found.note, file=sys.stderr)
    return dataclasses.replace(options, model=found.where)


def _benchmarks(options: Any) -> int:
    """Scores on benchmarks, with the samples kept in a folder."""
    from entrostat.data.benchmarks import load_benchmark

    # what needs no torch is told first
    if options.batch is not None and options.batch < 1:
        raise ValueError(f"--batch must be at least 1, got {options.batch}")
    _settings(options)
    benchmarks = []
    for name in options.benchmark:
        wanted = (options.columns, options.verifier or "", options.wording or "")
        benchmarks.append(load_benchmark(name, *wanted))
    options = _with_model(options)

    import torch

    from entrostat.evaluation.load import load_backend
    from entrostat.evaluation.run import evaluate
    from entrostat.evaluation.tables import scores_table
    from entrostat.evaluation.watch import Screen
    from entrostat.lab.quiet import quiet

    settings = _settings(options)
    quiet()
    torch.set_num_threads(options.threads)
    # evaluations of several models are started side by side, in the same second
    default = new_folder("evaluate")
    out = options.out or default.with_name(f"{default.name}-{os.getpid()}")
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
    answer = {"out": str(out), "benchmarks": results}
    show(answer, scores_table(results), options.json)
    return 0


def _settings(options: Any) -> Any:
    """How the benchmarks are sampled: the preset's way, but for what was typed."""
    from entrostat.evaluation.presets import PRESETS
    from entrostat.evaluation.settings import Settings

    typed: dict[str, Any] = {}
    for name in ("temperature", "top_p", "top_k"):
        value = getattr(options, name)
        if value is not None:
            typed[name] = value
    return Settings(
        model=options.model,
        samples=options.samples,
        sampling=dataclasses.replace(PRESETS[options.preset], **typed),
        max_tokens=options.max_tokens,
        backend=options.backend,
        seed=options.seed,
    )


def _compare(args: list[str]) -> int:
    """Two evaluations of benchmarks, paired by problem."""
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
            differ = f"A and B differ in {', '.join(keys)}"
            print(f"warning: {name}: {differ}", file=sys.stderr)
    show(result, comparison_table(result), options.json)
    return 0


def _lab(options: Any) -> int:
    """Scores on held-out problems of a task of the lab."""
    from entrostat.lab.config import TrainConfig

    # under the names that they have here
    at_least("problems", options.problems, 2)
    at_least("samples", options.samples, 1)
    temperature = 1.0 if options.temperature is None else options.temperature
    # the options of a run, for their checks
    config = TrainConfig(
        task=options.task,
        model=options.model,
        eval_problems=options.problems,
        eval_samples=options.samples,
        temperature=temperature,
        temperatures=options.temperatures,
        threads=options.threads,
    )
    import torch

    from entrostat.lab.evaluate import evaluate
    from entrostat.lab.load import load_model
    from entrostat.lab.quiet import quiet
    from entrostat.lab.show import scores_table
    from entrostat.lab.tasks import make_task

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
