"""An evaluation from end to end.

It checks everything, samples what is missing, judges it, keeps it and scores it.
Problems are sampled in batches that the benchmark, the prompts and the batch size fix,
longest prompts first: so an evaluation that goes on makes the batches that it would
have made, and little of a batch is padding.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from entrostat.data.benchmarks import Benchmark, Question
from entrostat.data.prompts import plain_notes
from entrostat.evaluation.backend import Backend, Drawn, Prompt
from entrostat.evaluation.folder import Folder, Sample, check_benchmark, read_record
from entrostat.evaluation.scores import scores
from entrostat.evaluation.settings import Settings, differences
from entrostat.evaluation.spell import spell
from entrostat.evaluation.watch import Watcher
from entrostat.files import held, is_taken, write_atomic, write_json
from entrostat.report.scores import evaluation
from entrostat.report.svg import pass_at_k_svg
from entrostat.verify import VerifierPool, is_solution, readable
from entrostat.verify.extract import extracted

MOST_UNREADABLE = 0.05
"""Share of a benchmark's answers that may be unreadable."""


class _Job(NamedTuple):
    """One benchmark of an evaluation."""

    benchmark: Benchmark
    folder: Folder
    pool: VerifierPool
    """Judges its completions."""
    is_done: bool
    """Whether the samples of all problems are kept."""


def evaluate(
    out: Path,
    benchmarks: Sequence[Benchmark],
    settings: Settings,
    load: Callable[[], Backend],
    watcher: Watcher | None = None,
) -> dict[str, Any]:
    """Scores of the model on each benchmark, {name: `scores`}.

    They are made from samples in `out`, a folder for each benchmark. What `out` has of
    the same evaluation is kept and not sampled again; `load` is called only if
    something is missing. Besides the samples it writes scores.json and pass-at-k.svg,
    of all benchmarks that are finished there.

    Raises:
        ValueError: before anything is sampled, for two benchmarks of one name, an
            answer that the verifier can't read, a prompt that the tokenizer can't
            spell, an `out` that holds something else or another model's samples.
    """
    watcher = watcher or Watcher()
    names = [benchmark.name for benchmark in benchmarks]
    if len(set(names)) < len(names):
        raise ValueError(
            f"--benchmark has two of one name ({', '.join(names)}): rename a file"
        )
    for benchmark in benchmarks:
        for note in benchmark.notes:
            watcher.note(f"{benchmark.name}: {note}")
    _check_out(out)
    with ExitStack() as stack:
        jobs = _jobs(out, benchmarks, settings, stack)
        _check_model(out, jobs[0].folder.record)
        for job in jobs:
            _check_answers(job, watcher)
        missing = [job for job in jobs if not job.is_done]
        if missing:
            _sample_all(missing, settings, load(), watcher)
    results = _summed_up(out)
    return {name: results[name] for name in names}


def _check_out(out: Path) -> None:
    """ValueError where `out` holds files, and none of an evaluation."""
    if is_taken(out) and not any(out.glob("*/settings.json")):
        raise ValueError(
            f"--out {out} holds something else than an evaluation: give a new folder"
        )


def _jobs(
    out: Path, benchmarks: Sequence[Benchmark], settings: Settings, stack: ExitStack
) -> list[_Job]:
    """A job for each benchmark; `stack` closes their pools."""
    # One pool for each verifier. Its workers start once, at the first answer.
    pools: dict[str, VerifierPool] = {}
    jobs = []
    for benchmark in benchmarks:
        folder = Folder.open(out / benchmark.name, settings.record(benchmark))
        kept = check_benchmark(folder, benchmark)
        name = benchmark.verifier
        if name not in pools:
            pools[name] = stack.enter_context(VerifierPool(name))
        is_done = len(kept) == len(benchmark.questions)
        jobs.append(_Job(benchmark, folder, pools[name], is_done))
    return jobs


def _check_model(out: Path, record: dict[str, Any]) -> None:
    """ValueError where a benchmark in `out` was sampled from another model."""
    for file in sorted(out.glob("*/settings.json")):
        recorded = read_record(file.parent)
        differ = differences(recorded, record, ("model", "weights"))
        if differ:
            raise ValueError(
                f"--out {out} holds samples of another model ({'; '.join(differ)}): "
                "give another folder"
            )


def _check_answers(job: _Job, watcher: Watcher) -> None:
    """A model must be able to write each answer, and the verifier must then take it for
    right.

    Where few are otherwise the user is warned; with more the benchmark is refused.
    """
    benchmark = job.benchmark
    found = readable([question.answer for question in benchmark.questions], job.pool)
    unreadable: list[Question] = []
    for question, is_readable in zip(benchmark.questions, found, strict=True):
        if not is_readable:
            unreadable.append(question)
    if not unreadable:
        return
    count = f"{len(unreadable)} of {len(found)}"
    first = unreadable[0]
    if len(unreadable) > MOST_UNREADABLE * len(found):
        hint = "name another --verifier, or another column with --columns answer=COLUMN"
        if is_solution(first.answer):
            hint = "it is a worked solution: --verifier last-number reads its number"
        raise ValueError(
            f"{benchmark.path or benchmark.name}, problem {first.id[:80]!r}: no "
            f"completion can match the answer {first.answer[-80:]!r} by the verifier "
            f"{benchmark.verifier!r} ({count} such): {hint}"
        )
    ids = ", ".join(question.id[:80] for question in unreadable[:5])
    watcher.warn(
        f"{benchmark.name}: {count} answers that no completion can match, "
        f"counted as wrong: {ids}"
    )


def _sample_all(
    jobs: list[_Job], settings: Settings, backend: Backend, watcher: Watcher
) -> None:
    """Samples the problems that are missing."""
    tokenizer: Any = backend.tokenizer
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {settings.model!r} has no token that ends a text "
            "(eos_token): set one"
        )
    for text in plain_notes(tokenizer):
        watcher.warn(text)
    # All prompts before any completion: what can't be asked is said first.
    prompts: dict[str, list[list[int]]] = {}
    longest = 0
    for job in jobs:
        ids = spell(backend, job.benchmark)
        prompts[job.benchmark.name] = ids
        longest = max(longest, *map(len, ids))
    if backend.context is not None and longest + settings.max_tokens > backend.context:
        watcher.warn(
            f"--max-tokens {settings.max_tokens}: the model's context of "
            f"{backend.context} leaves {backend.context - longest} after the longest "
            "prompt"
        )
    for job in jobs:
        _sample(job, prompts[job.benchmark.name], settings, backend, watcher)


def _sample(
    job: _Job,
    prompts: list[list[int]],
    settings: Settings,
    backend: Backend,
    watcher: Watcher,
) -> None:
    """Samples, judges and keeps the missing problems of a benchmark."""
    benchmark, folder = job.benchmark, job.folder
    problems_at_a_time = max(1, backend.batch // settings.samples)
    with folder.started():
        # anew: another process may have sampled some in between
        kept = check_benchmark(folder, benchmark)
        done = len(kept)
        watcher.progress(benchmark.name, done, len(prompts))
        for batch in _batches(prompts, problems_at_a_time):
            missing: dict[int, Question] = {}
            asked = []
            for i in batch:
                question = benchmark.questions[i]
                if question.id not in kept:
                    missing[i] = question
                    seed = settings.seed_of(benchmark.name, question.id)
                    asked.append(Prompt(prompts[i], seed))
            if not missing:
                continue
            drawn = backend.generate(
                asked, settings.samples, settings.sampling, settings.max_tokens
            )
            samples = list(_judged(job, list(missing.values()), drawn))
            folder.save(next(iter(missing)), samples)
            done += len(missing)
            watcher.progress(benchmark.name, done, len(prompts))


def _batches(prompts: list[list[int]], size: int) -> Iterator[list[int]]:
    """The numbers of the prompts, longest first, so many at a time."""
    longest_first = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    for start in range(0, len(longest_first), size):
        yield longest_first[start : start + size]


def _judged(
    job: _Job, questions: list[Question], drawn: list[list[Drawn]]
) -> Iterator[Sample]:
    """The rows of a batch: the completions of each question, with their verdicts."""
    pairs = []
    for question, completions in zip(questions, drawn, strict=True):
        for completion in completions:
            pairs.append((question.answer, completion.text))
    verdicts = iter(job.pool.score(pairs))
    for question, completions in zip(questions, drawn, strict=True):
        for number, completion in enumerate(completions):
            verdict = next(verdicts)
            yield Sample(
                id=question.id,
                sample=number,
                text=completion.text,
                tokens=completion.tokens,
                ended=completion.ended,
                entropy=completion.entropy,
                answer=extracted(job.benchmark.verifier, completion.text),
                score=verdict.score,
                error=verdict.error,
            )


def _summed_up(out: Path) -> dict[str, Any]:
    """Writes and returns the scores of all benchmarks that are finished in `out`."""
    with held(out):  # two processes may end at once
        results: dict[str, Any] = {}
        curves = {}
        for file in sorted(out.glob("*/settings.json")):
            folder = Folder.read(file.parent)
            samples = folder.samples()
            if len(samples) < folder.record["problems"]:
                continue
            # An order that needs no benchmark: intervals depend on it in their last
            # digits.
            in_order = [samples[key] for key in sorted(samples)]
            name = file.parent.name
            results[name] = scores(in_order)
            curves[name] = evaluation(results[name]).pass_at
        write_json(out / "scores.json", results)
        write_atomic(out / "pass-at-k.svg", pass_at_k_svg(curves))
    return results
