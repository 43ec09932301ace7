"""The tables of docs/results/front.md, from front.jsonl: python bench/front_page.py

What is compared are the seeds that all methods of a task have. Intervals are 95%, from a bootstrap that draws seeds and
problems, the same for all methods, so that differences are paired.
"""

import statistics
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from entrostat.estimate import least_effect, pass_at_k
from front import CHOICE_SEEDS, HORIZONS, METHODS, RATES, RESULT, SAMPLES, SEEDS, Job, choice
from thermostat import hypervolume
from training_runs import Lines, read

PAGE = RESULT.with_suffix(".md")
RESAMPLES = 2000
PLAIN = "grpo"
HARD = 0.01
"""A problem of which the base model solves no larger share of its samples is a hard one."""
Floats = NDArray[np.float64]


class Draws:
    """Resamples of seeds and problems: how often each is in each."""

    def __init__(self, seeds: int, problems: int):
        rng = np.random.default_rng(0)
        self.seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
        self.other_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
        self.problems = rng.multinomial(problems, np.full(problems, 1 / problems), RESAMPLES) / problems

    def means(self, values: Floats) -> Floats:
        """Mean of (seeds, problems) in each resample."""
        return ((self.seeds @ values) * self.problems).sum(axis=1)

    def improvement(self, ours: Floats, theirs: Floats) -> tuple[float, Floats]:
        """The probability that a run of ours scores higher than one of theirs, a tie being a half, and its resamples
        (Agarwal et al., 2108.13264). Scores are (seeds,); the two are resampled apart."""
        above = np.greater.outer(ours, theirs) + 0.5 * np.equal.outer(ours, theirs)
        resampled = np.einsum("rs,st,rt->r", self.seeds, above, self.other_seeds)
        return float(above.mean()), resampled


class Solved(NamedTuple):
    """What a method's runs solved at one horizon and temperature: (seeds, problems) of SAMPLES samples each."""

    counts: NDArray[np.int64]
    entropy: float
    temperatures: list[str]
    """Of the seeds."""

    @property
    def mean(self) -> Floats:
        return self.counts / SAMPLES

    def passed(self, k: int) -> Floats:
        return np.asarray(pass_at_k(SAMPLES, self.counts, k))


def solved(known: Lines, jobs: Iterable[Job], horizon: int, temperature: str | None = None) -> Solved:
    """At each run's best temperature where none is given."""
    counts, entropies, temperatures = [], [], []
    for job in jobs:
        scores = known[job.key]["scores"][str(horizon)]
        taken = temperature or scores["best"]
        at = scores["by_temperature"][taken]
        counts.append(at["correct"])
        # at temperature 1, whatever the scores are taken at
        entropies.append(scores["by_temperature"]["1"]["entropy"])
        temperatures.append(taken)
    return Solved(np.array(counts), statistics.fmean(entropies), temperatures)


def compared(known: Lines, task: str) -> dict[str, list[Job]]:
    """The compared runs of each method whose setting is chosen, of the seeds that all of them have."""
    by_method: dict[str, list[Job]] = {}
    for method in METHODS:
        chosen = choice(known, task, method)
        if chosen:
            by_method[method] = [Job("compared", task, method, *chosen, seed) for seed in SEEDS]
    whole = []
    for seed in SEEDS:
        if by_method and all(jobs[seed].key in known for jobs in by_method.values()):
            whole.append(seed)
    return {method: [jobs[seed] for seed in whole] for method, jobs in by_method.items()}


def with_interval(value: float, resampled: Floats, *, sign: bool = False) -> str:
    low, high = np.quantile(resampled, [0.025, 0.975])
    form = "+.3f" if sign else ".3f"
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def table(heads: list[str], rows: Iterable[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def choices(known: Lines, task: str) -> str:
    """What was chosen for each method, and every score it was chosen by; in parentheses where a seed is missing."""
    rows = []
    for method, settings in METHODS.items():
        chosen = choice(known, task, method)
        scores = []
        for setting in settings:
            for rate in RATES[task]:
                keys = [Job("choice", task, method, setting, rate, seed).key for seed in CHOICE_SEEDS]
                found = [known[key]["mean@32"] for key in keys if key in known]
                score = f"{statistics.fmean(found):.3f}" if found else "missing"
                if found and len(found) < len(keys):
                    score = f"({score})"
                scores.append(f"**{score}**" if (setting, rate) == chosen else score)
        names = "; ".join(f"`{setting}`" for setting in settings)
        rows.append([method, names, ", ".join(scores)])
    rates = " and ".join(RATES[task])
    return table(["", "settings", f"mean@32 on validation problems, each setting at {rates}"], rows)


def outcomes(jobs: Mapping[str, list[Job]], known: Lines, base: NDArray[np.int64], horizon: int) -> str:
    """One row per method: its scores, and their differences to plain GRPO's."""
    plain = solved(known, jobs[PLAIN], horizon)
    draws = Draws(*plain.counts.shape)
    never = base == 0
    rows = []
    for method, runs in jobs.items():
        found = solved(known, runs, horizon)
        row = [method, "/".join(sorted(set(found.temperatures))), f"{found.entropy:.3f}"]
        over = []
        for values, plain_s in zip(_scores(found), _scores(plain), strict=True):
            row.append(with_interval(values.mean(), draws.means(values)))
            difference = values - plain_s
            over.append(with_interval(difference.mean(), draws.means(difference), sign=True))
        row.append(f"{(found.counts[:, never] > 0).sum(axis=1).mean():.1f}")
        by_seed = found.mean.mean(axis=1)
        plain_by_seed = plain.mean.mean(axis=1)
        if method == PLAIN:
            rows.append([*row, "", "", "", ""])
            continue
        improvement = with_interval(*draws.improvement(by_seed, plain_by_seed))
        least = f"{least_effect(by_seed - plain_by_seed):.3f}" if len(by_seed) > 1 else ""
        rows.append([*row, over[0], over[2], improvement, least])
    heads = ["", "T", "H", "mean@32", "pass@32", "pass@256", f"of {never.sum()} that the base never solves"]
    heads += ["mean@32 over grpo", "pass@256 over grpo", "P(better)", "least effect"]
    return table(heads, rows)


def _scores(found: Solved) -> tuple[Floats, Floats, Floats]:
    return found.mean, found.passed(32), found.passed(256)


def fronts(jobs: Mapping[str, list[Job]], known: Lines) -> str:
    """The area of the (mean@32, pass@256) plane that a method's horizons dominate."""
    areas: dict[str, tuple[float, Floats]] = {}
    for method, runs in jobs.items():
        found = [solved(known, runs, horizon) for horizon in HORIZONS]
        draws = Draws(*found[0].counts.shape)
        points = np.array([[one.mean.mean(), one.passed(256).mean()] for one in found])
        resampled = np.array([[draws.means(one.mean), draws.means(one.passed(256))] for one in found])
        areas[method] = (hypervolume(points), np.array([hypervolume(draw) for draw in np.moveaxis(resampled, -1, 0)]))
    rows = []
    for method, (area, resampled) in areas.items():
        row = [method, with_interval(area, resampled)]
        for other in (PLAIN, "thermostat"):
            less = areas[other]
            row.append("" if method == other else with_interval(area - less[0], resampled - less[1], sign=True))
        rows.append(row)
    return table(["", "hypervolume", "over grpo", "over thermostat"], rows)


def where(jobs: Mapping[str, list[Job]], known: Lines, base: NDArray[np.int64], samples: int) -> str:
    """mean@32 over grpo, by horizon, temperature and difficulty."""
    hard = base <= HARD * samples
    easy = ~hard
    every = np.ones_like(hard)
    cells = [(f"{horizon}", horizon, None, every) for horizon in HORIZONS]
    cells += [(f"{HORIZONS[-1]}, T = 1", HORIZONS[-1], "1", every)]
    cells += [(f"{HORIZONS[-1]}, {hard.sum()} hard problems", HORIZONS[-1], None, hard)]
    cells += [(f"{HORIZONS[-1]}, {easy.sum()} others", HORIZONS[-1], None, easy)]
    rows = []
    for method, runs in jobs.items():
        if method == PLAIN:
            continue
        row = [method]
        for _, horizon, temperature, which in cells:
            found = solved(known, runs, horizon, temperature).mean[:, which]
            difference = found - solved(known, jobs[PLAIN], horizon, temperature).mean[:, which]
            resampled = Draws(*difference.shape).means(difference)
            row.append(with_interval(difference.mean(), resampled, sign=True))
        rows.append(row)
    return table(["", *(name for name, *_ in cells)], rows)


def seeds(jobs: Mapping[str, list[Job]], known: Lines, base: float) -> str:
    """Each seed's mean@32 after the last horizon, and the difference to grpo over the seeds in which neither lost the
    task: a run has lost it whose mean@32 is under the base model's. That seed would carry the whole comparison."""
    by_method = {method: solved(known, runs, HORIZONS[-1]) for method, runs in jobs.items()}
    plain = by_method[PLAIN].mean
    rows = []
    for method, found in by_method.items():
        scores = found.mean.mean(axis=1)
        kept = (scores >= base) & (plain.mean(axis=1) >= base)
        difference = (found.mean - plain)[kept]
        over = ""
        if method != PLAIN and kept.any():
            over = with_interval(difference.mean(), Draws(*difference.shape).means(difference), sign=True)
        rows.append([method, ", ".join(f"{score:.2f}" for score in scores), over])
    numbers = ", ".join(str(job.seed) for job in jobs[PLAIN])
    return table(["", f"mean@32 of seeds {numbers}", "over grpo, where neither lost the task"], rows)


def render(known: Lines) -> str:
    text = "# The bench: all tables\n\n    python bench/front_page.py\n\n"
    text += "Made from [front.jsonl](front.jsonl). Protocol, criteria and verdict: [bench.md](../bench.md).\n"
    for task in RATES:
        text += f"\n## {task}\n\n### Chosen on validation problems\n\n{choices(known, task)}"
        base = [record for key, record in known.items() if key.startswith(f"base/{task}/")]
        jobs = compared(known, task)
        runs = jobs.get(PLAIN, [])
        if not base or not runs or "thermostat" not in jobs:
            text += "\nNothing is compared yet.\n"
            continue
        text += _compared(known, jobs, np.array(base[0]["correct"]), base[0]["samples"])
    return text


def _compared(known: Lines, jobs: Mapping[str, list[Job]], base: NDArray[np.int64], samples: int) -> str:
    runs = jobs[PLAIN]
    start = solved(known, runs, 0)
    lowest = [known[run.key]["scores"]["0"] for run in runs]
    text = (
        f"\nThe base model: mean@32 {start.mean.mean():.3f} at its best temperature ({lowest[0]['best']}), pass@256 "
        f"{start.passed(256).mean():.3f}; {(base == 0).sum()} of {len(base)} problems not solved in {samples:,} "
        f"samples. Compared seeds: {len(runs)}.\n"
    )
    for horizon in HORIZONS:
        text += f"\n### After {horizon:,} rollouts\n\n{outcomes(jobs, known, base, horizon)}"
    text += f"\n### Fronts over the horizons\n\n{fronts(jobs, known)}"
    text += f"\n### Where it pays: mean@32 over grpo\n\n{where(jobs, known, base, samples)}"
    last = f"{HORIZONS[-1]:,}"
    text += f"\n### Seed by seed, after {last} rollouts\n\n{seeds(jobs, known, float(start.mean.mean()))}"
    return text


def main() -> None:
    PAGE.write_text(render(read(RESULT)))


if __name__ == "__main__":
    main()
