"""An evaluation from end to end: check everything, sample what is missing, judge it, keep it, score it.

Problems are sampled in batches that the benchmark, the prompts and the batch size fix, longest prompts first: so an
evaluation that goes on makes the batches that it would have made, and little of a batch is padding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from entrostat.data.benchmarks import Benchmark
from entrostat.data.prompts import plain_notes
from entrostat.evaluation.backend import Backend, Drawn, Prompt
from entrostat.evaluation.folder import Folder, Sample, check_benchmark, read_record
from entrostat.evaluation.scores import scores
from entrostat.evaluation.settings import Settings, differences
from entrostat.evaluation.spell import spell
from entrostat.files import held, is_taken, write_atomic, write_json
from entrostat.report.scores import evaluation
from entrostat.report.svg import pass_at_k_svg
from entrostat.verify import SPELLINGS, VerifierPool
from entrostat.verify.extract import extracted


class Watcher:
    """What hears how an evaluation goes."""

    def warn(self, text: str) -> None:
        """Something that the user should know."""

    def progress(self, benchmark: str, done: int, problems: int) -> None:
        """So many problems of the benchmark are kept."""


class _Job(NamedTuple):
    benchmark: Benchmark
    folder: Folder
    done: int
    """Problems whose samples are kept."""


def evaluate(
    out: Path,
    benchmarks: Sequence[Benchmark],
    settings: Settings,
    load: Callable[[], Backend],
    watcher: Watcher | None = None,
) -> dict[str, Any]:
    """Scores of the model on each benchmark, {name: `scores`}, from samples in `out`, a folder a benchmark.

    What `out` has of the same evaluation is kept and not sampled again; `load` is called only if something is missing.
    Besides the samples it writes scores.json and pass-at-k.svg, of all benchmarks that are finished there.

    Raises:
        ValueError: before anything is sampled, for two benchmarks of one name, an answer that the verifier can't read,
            a prompt that the tokenizer can't spell, an `out` that holds something else or another model's samples.
    """
    watcher = watcher or Watcher()
    names = [benchmark.name for benchmark in benchmarks]
    if len(set(names)) < len(names):
        raise ValueError(
            f"--benchmark has two of one name ({', '.join(names)}): rename a file"
        )
    _check_out(out)
    jobs = [_job(out, benchmark, settings) for benchmark in benchmarks]
    _check_model(out, jobs[0].folder.record)
    with ExitStack() as stack:
        # a pool a verifier: its workers start once, at the first answer
        pools = {
            name: stack.enter_context(VerifierPool(name))
            for name in {one.verifier for one in benchmarks}
        }
        for job in jobs:
            _check_answers(job.benchmark, pools[job.benchmark.verifier], watcher)
        missing = [job for job in jobs if job.done < len(job.benchmark.questions)]
        if missing:
            _sample_all(missing, settings, load(), pools, watcher)
    results = _summed_up(out)
    return {name: results[name] for name in names}


def _summed_up(out: Path) -> dict[str, Any]:
    """Writes the scores of all benchmarks that are finished in `out`; the scores."""
    with held(out):  # two processes may end at once
        results = {}
        for file in sorted(out.glob("*/settings.json")):
            folder = Folder.read(file.parent)
            samples = folder.samples()
            if len(samples) == folder.record["problems"]:
                # an order that needs no benchmark: intervals depend on it in their last digits
                results[file.parent.name] = scores(
                    [samples[key] for key in sorted(samples)]
                )
        write_json(out / "scores.json", results)
        curves = {name: evaluation(found).pass_at for name, found in results.items()}
        write_atomic(out / "pass-at-k.svg", pass_at_k_svg(curves))
    return results


def _check_out(out: Path) -> None:
    if is_taken(out) and not any(out.glob("*/settings.json")):
        raise ValueError(
            f"--out {out} holds something else than an evaluation: give a new folder"
        )


def _check_model(out: Path, record: dict[str, Any]) -> None:
    for file in sorted(out.glob("*/settings.json")):
        if differ := differences(
            read_record(file.parent), record, ("model", "weights")
        ):
            raise ValueError(
                f"--out {out} holds samples of another model ({'; '.join(differ)}): give another folder"
            )


def _job(out: Path, benchmark: Benchmark, settings: Settings) -> _Job:
    folder = Folder.open(out / benchmark.name, settings.record(benchmark))
    return _Job(benchmark, folder, len(check_benchmark(folder, benchmark)))


def _check_answers(benchmark: Benchmark, pool: VerifierPool, watcher: Watcher) -> None:
    """Each answer, put as a right completion, must be right: a user's file is refused, a published set warned of."""
    pairs = [
        (question.answer, SPELLINGS[benchmark.verifier](question.answer))
        for question in benchmark.questions
    ]
    verdicts = pool.score(pairs)
    bad = [
        q
        for q, verdict in zip(benchmark.questions, verdicts, strict=True)
        if verdict.score != 1.0
    ]
    if bad and benchmark.path is not None:
        raise ValueError(
            f"{benchmark.path}, problem {bad[0].id[:80]!r}: the verifier {benchmark.verifier!r} can't read the answer "
            f"{bad[0].answer[:80]!r} ({len(bad)} such in all): mend the column 'answer'"
        )
    if bad:
        ids = ", ".join(question.id for question in bad[:5])
        watcher.warn(
            f"{benchmark.name}: {len(bad)} answers that no completion can match, counted as wrong: {ids}"
        )


def _sample_all(
    jobs: list[_Job],
    settings: Settings,
    backend: Backend,
    pools: Mapping[str, VerifierPool],
    watcher: Watcher,
) -> None:
    tokenizer: Any = backend.tokenizer
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {settings.model!r} has no token that ends a text (eos_token): set one"
        )
    for text in plain_notes(tokenizer):
        watcher.warn(text)
    # all prompts before any completion: what can't be asked is said first
    prompts = [spell(backend, job.benchmark) for job in jobs]
    longest = max(len(ids) for of in prompts for ids in of)
    if backend.context is not None and longest + settings.max_tokens > backend.context:
        watcher.warn(
            f"--max-tokens {settings.max_tokens}: the model's context of {backend.context} leaves "
            f"{backend.context - longest} after the longest prompt"
        )
    for job, of in zip(jobs, prompts, strict=True):
        _sample(job, of, settings, backend, pools[job.benchmark.verifier], watcher)


def _sample(
    job: _Job,
    prompts: list[list[int]],
    settings: Settings,
    backend: Backend,
    pool: VerifierPool,
    watcher: Watcher,
) -> None:
    benchmark, folder = job.benchmark, job.folder
    with folder.started():
        kept = check_benchmark(folder, benchmark)
        done = len(kept)
        watcher.progress(benchmark.name, done, len(prompts))
        for batch in _batches(prompts, max(1, backend.batch // settings.samples)):
            todo = [i for i in batch if benchmark.questions[i].id not in kept]
            if not todo:
                continue
            asked = [
                Prompt(
                    prompts[i],
                    settings.seed_of(benchmark.name, benchmark.questions[i].id),
                )
                for i in todo
            ]
            drawn = backend.generate(
                asked, settings.samples, settings.sampling, settings.max_tokens
            )
            folder.save(todo[0], list(_judged(benchmark, todo, drawn, pool)))
            done += len(todo)
            watcher.progress(benchmark.name, done, len(prompts))


def _batches(prompts: list[list[int]], size: int) -> Iterator[list[int]]:
    """The numbers of the prompts, longest first, so many at a time."""
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    yield from (order[start : start + size] for start in range(0, len(order), size))


def _judged(
    benchmark: Benchmark, asked: list[int], drawn: list[list[Drawn]], pool: VerifierPool
) -> Iterator[Sample]:
    flat = [
        (benchmark.questions[i], j, one)
        for i, of in zip(asked, drawn, strict=True)
        for j, one in enumerate(of)
    ]
    verdicts = pool.score([(question.answer, one.text) for question, _, one in flat])
    for (question, number, one), verdict in zip(flat, verdicts, strict=True):
        answer = extracted(benchmark.verifier, one.text)
        found = (one.text, one.tokens, one.ended, one.entropy, answer)
        yield Sample(question.id, number, *found, verdict.score, verdict.error)
