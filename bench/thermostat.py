"""Does the thermostat hold entropy, over which settings, and what does it buy? One resumable command, about 6 hours.

    python bench/thermostat.py runs/thermostat [tracking|settings|baselines|grid|outcome|path ...] [--render]

Trains what docs/results/thermostat.jsonl has no line for, two runs side by side with a thread each, and appends a line
a run as it ends; a stopped set goes on where it was, also on another machine. Every run: countdown (or path), rollouts
of 16 prompts x 16 samples. Then, or at once with --render, prints the tables of docs/results/thermostat.md. The
criteria stand in that page; they were fixed before the runs. Seeds 100 and up tuned the controller and chose the
settings of the other methods; seeds 0 to 4 are compared.
"""

import dataclasses
import itertools
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from entrostat.estimate import hierarchical_interval, pass_at_k, seed_interval
from entrostat.lab.methods import SETTINGS
from entrostat.lab.options import option
from training_runs import read, train_all

RESULT = Path(__file__).parent.parent / "docs" / "results" / "thermostat.jsonl"
PROBLEMS, SAMPLES = 297, 32
READ_AT = (60, 120, 200)
LATE = 30
"""Tracking is scored from this rollout on."""
AFTER_STEP = 20
"""Rollouts after a step that are left out."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A run: what it belongs to, the words of `entrostat train`, and its seed."""

    part: str
    row: str
    seed: int
    method: tuple[str, ...]
    options: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.part}/{self.row}/seed{self.seed}"

    @property
    def words(self) -> list[str]:
        sizes = [] if "--samples" in self.options else ["--prompts", "16", "--samples", "16"]
        if self.part in ("outcome", "path"):
            scored = ["--steps", str(READ_AT[-1]), "--eval-at", *map(str, READ_AT[:-1])]
            scored += ["--eval-problems", str(PROBLEMS), "--eval-samples", str(SAMPLES)]
        else:
            scored = ["--steps", "100", "--probe-every", "5", "--eval-problems", "2", "--eval-samples", "1"]
        return ["--seed", str(self.seed), *sizes, *scored, "--map-every", "0", *self.options, *self.method]


REFERENCES = {
    "constant .35": "0.35",
    "constant .2": "0.2",
    "constant .5": "0.5",
    "fall .43 to .12": "linear:0.43:0.12",
    "step .3 to .45": "step:0.3:0.45:0.5",
    "sine .35 +- 20%": "sine:0.35:0.07:50",
}
RANDOM = ("--reward", "bernoulli:0.5")
TRACKERS = {
    "adaptive bonus": "trl:adaptive-entropy",
    "EntroPIC": "objective:entropic",
    "MAI": "mai",
    "ADAPO": "adapo",
    "REPO-R": "objective:repo",
    "STARE": "objective:stare",
    "Entrocraft": "objective:entrocraft",
}
"""The other controllers. Those that the fast engine has are run on it: its updates are TRL's."""
TRL_ONLY = ("adaptive bonus", "EntroPIC")
FAST = ("--engine", "fast")
OF_STRATEGIES = {
    "MAI": (("--delta", "0.25"), ("--delta", "0.05"), ("--eps", "0.2")),
    "ADAPO": (("--factor", "1.1"), ("--factor", "1.5"), ("--factor", "1.5", "--most", "10")),
    # its band: the reference, give or take these shares of it
    "Entrocraft": (("--band", "0.05"), ("--band", "0.1"), ("--band", "0.2")),
}
"""What may be chosen for those that entrostat.lab.methods.SETTINGS does not name."""
COMPARED = ("constant .35", "constant .2", "fall .43 to .12")
TUNED_ON = (("constant .35", 100), ("constant .2", 101))
RATES = {"lr 2.5e-5": "2.5e-5", "lr 1e-4": "1e-4", "lr 4e-4": "4e-4"}
NOT_CHOSEN = ("not chosen yet",)
STATIC = "the static ones, all three"
OUTCOMES = {
    "grpo": ("grpo",),
    "clip-higher": ("clip-higher",),
    "clip-lower .02": ("clip-lower", "--low", "0.02"),
    "thermostat .35": ("thermostat", "--hold", "both", "--target", "0.35"),
    "thermostat .25": ("thermostat", "--hold", "both", "--target", "0.25"),
    "thermostat anneal": ("thermostat", "--hold", "both", "--target", "linear:1x:0.3x"),
    "adaptive bonus .35": ("trl:adaptive-entropy", "--target", "0.35"),
    "EntroPIC .35": ("objective:entropic", "--target", "0.35"),
}


def jobs() -> list[Job]:
    """All runs, those that most depends on first."""
    out = []
    for row, target in REFERENCES.items():
        seeds = range(5) if row == "constant .35" else range(3)
        out += [Job("tracking", row, s, ("thermostat", "--hold", "both", "--target", target)) for s in seeds]
    for row in ("constant .35", "fall .43 to .12"):
        seeds = range(5) if row == "constant .35" else range(3)
        method = ("thermostat", "--hold", "both", "--target", REFERENCES[row])
        out += [Job("tracking", f"{row}, random reward", s, method, RANDOM) for s in seeds]
    out += list(grid())
    for name in TRACKERS:
        options = () if name in TRL_ONLY else FAST
        for words in settings(name):
            for row, seed in TUNED_ON:
                out.append(Job("settings", f"{name} / {' '.join(words)}", seed, aimed(name, row, words), options))
    for row in COMPARED:
        for name in TRACKERS:
            options = () if name in TRL_ONLY else FAST
            method = aimed(name, row, chosen(name))
            for seed in range(5) if row == "constant .35" else range(3):
                out.append(Job("baselines", f"{name} / {row}", seed, method, options))
    for part, task, rates in (("outcome", "countdown", RATES), ("path", "path", {"lr 1e-4": "1e-4"})):
        for seed in range(3):
            for rate, value in rates.items():
                for name, method in OUTCOMES.items():
                    extra = chosen(name.rsplit(" ", 1)[0])
                    options = ("--task", task, "--learning-rate", value)
                    out.append(Job(part, f"{name} / {rate}", seed, (*method, *extra), options))
    return out


def grid() -> Iterable[Job]:
    """Centre, eight corners, and one update a rollout."""
    method = ("thermostat", "--hold", "both", "--target", "0.35")
    places = [("1e-4", 8, 16)]
    places += [(rate, updates, group) for rate in ("2.5e-5", "4e-4") for updates in (2, 16) for group in (8, 32)]
    places += [("1e-4", 1, 16), ("4e-4", 1, 16)]
    for rate, updates, group in places:
        sizes = ("--prompts", str(256 // group), "--samples", str(group))
        options = ("--learning-rate", rate, "--updates-per-rollout", str(updates), *sizes)
        yield Job("grid", f"lr {rate}, {updates} updates, groups of {group}", 0, method, options)


def settings(name: str) -> list[tuple[str, ...]]:
    """What may be chosen for another method, as words of the command line."""
    if name in OF_STRATEGIES:
        return list(OF_STRATEGIES[name])
    chosen_from = SETTINGS[TRACKERS[name]]
    return [tuple(word for key, x in one.items() for word in (option(key), f"{x:g}")) for one in chosen_from]


def aimed(name: str, row: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """Another method on a reference, at a setting, as words of the command line."""
    kind, reference = TRACKERS[name], REFERENCES[row]
    if name != "Entrocraft" or words == NOT_CHOSEN:
        return (kind, "--target", reference, *words)
    share = float(words[1])
    return (kind, "--band-low", scaled(reference, 1 - share), "--band-high", scaled(reference, 1 + share))


def scaled(reference: str, factor: float) -> str:
    """A constant or a linear reference times a factor."""
    return ":".join(word if word == "linear" else f"{factor * float(word):.5g}" for word in reference.split(":"))


def chosen(name: str) -> tuple[str, ...]:
    """The setting of another method with the least mean tracking error over TUNED_ON; none for the other methods."""
    if name not in TRACKERS:
        return ()
    found = read(RESULT)
    errors = {}
    for words in settings(name):
        keys = [f"settings/{name} / {' '.join(words)}/seed{seed}" for _, seed in TUNED_ON]
        if all(key in found for key in keys):
            errors[words] = np.mean([found[key]["error"] for key in keys])
    return min(errors, key=errors.__getitem__) if len(errors) == len(settings(name)) else NOT_CHOSEN


def measured(out: Path, _: Job) -> dict[str, Any]:
    """What of a run's folder goes into its line."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((out / "summary.json").read_text())
    share = lambda key: round(float(np.mean([line.get(key) or 0.0 for line in lines])), 5)  # noqa: E731
    record: dict[str, Any] = {
        "versions": json.loads((out / "config.json").read_text())["versions"],
        "seconds": summary["seconds"],
        "clipped": round(share("clip_low") + share("clip_high"), 5),
        "dropped": share("dropped"),
        "entropy": [round(line["entropy"], 4) for line in lines[::5]],
    }
    probes = [line for line in lines if "held_out_entropy" in line]
    if probes:
        record["held_out"] = [round(line["held_out_entropy"], 4) for line in probes]
        record["target"] = [round(line["target"], 4) for line in probes]
        record["error"] = round(tracking_error(probes), 4)
        record["rollout_error"] = round(tracking_error(lines, "entropy"), 4)
    scored = {str(n): out / f"scores-{n}.json" for n in READ_AT} | {str(len(lines)): out / "scores-end.json"}
    found = {n: json.loads(path.read_text()) for n, path in scored.items() if path.exists()}
    if len(found) > 1:
        record["correct"] = {n: scores["correct"] for n, scores in found.items()}
        record["entropy_at"] = {n: round(scores["entropy"], 4) for n, scores in found.items()}
    return record


def tracking_error(lines: list[dict[str, Any]], key: str = "held_out_entropy") -> float:
    """Mean |H - H*| / H* from rollout LATE on, without the AFTER_STEP rollouts after a jump of the target."""
    targets = {line["step"]: line["target"] for line in lines}
    steps = sorted(targets)
    jumps = [b for a, b in itertools.pairwise(steps) if abs(np.log(targets[b] / targets[a])) > 0.2]
    kept = [
        line
        for line in lines
        if line["step"] >= LATE and not any(jump <= line["step"] < jump + AFTER_STEP for jump in jumps)
    ]
    return float(np.mean([abs(line[key] - line["target"]) / line["target"] for line in kept]))


def ready(parts: list[str]) -> Iterable[Job]:
    """All jobs of these parts; a setting that depends on others waits for them."""
    for job in jobs():
        if NOT_CHOSEN[0] not in job.method and (not parts or job.part in parts):
            yield job


# Tables


def by_row(part: str) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for key, record in sorted(read(RESULT).items()):
        if key.startswith(f"{part}/"):
            rows.setdefault(key.split("/", 1)[1].rsplit("/", 1)[0], []).append(record)
    return rows


def table(heads: list[str], rows: Iterable[list[str]]) -> None:
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def mean_interval(values: list[float]) -> str:
    """Mean and 95% interval over seeds, Student's t."""
    if len(values) < 2:
        return f"{100 * values[0]:.1f}% (one seed)"
    value, low, high = seed_interval(values)
    return f"{100 * value:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def hypervolume(points: np.ndarray) -> float:
    """Area that points (n, 2) dominate, from (0, 0)."""
    area, best = 0.0, 0.0
    for x, y in sorted(map(tuple, points), reverse=True):
        area += x * max(0.0, y - best)
        best = max(best, y)
    return area


def render_tracking(part: str) -> None:
    # a setting's runs have different references: both errors, no mean
    each = lambda values: ", ".join(f"{100 * x:.1f}%" for x in values)  # noqa: E731
    shown = each if part == "settings" else mean_interval
    table(
        ["", "seeds", "held-out error", "rollout error", "clipped", "dropped"],
        (
            [
                name,
                str(len(found)),
                shown([r["error"] for r in found]),
                shown([r["rollout_error"] for r in found]),
                f"{100 * np.mean([r['clipped'] for r in found]):.1f}%",
                f"{100 * np.mean([r['dropped'] for r in found]):.1f}%",
            ]
            for name, found in by_row(part).items()
        ),
    )


def scores(found: list[dict[str, Any]], at: str) -> tuple[np.ndarray, np.ndarray]:
    correct = np.array([record["correct"][at] for record in found])
    return correct / SAMPLES, np.asarray(pass_at_k(SAMPLES, correct, SAMPLES))


def render_outcome(part: str) -> None:
    """A table for each learning rate and horizon; differences to grpo are paired by seed and problem."""
    rows = by_row(part)
    for rate in dict.fromkeys(name.split(" / ")[1] for name in rows):
        runs = {name.split(" / ")[0]: found for name, found in rows.items() if name.split(" / ")[1] == rate}
        for at in map(str, READ_AT):
            print(f"{rate}, after {at} rollouts:\n")
            heads = ["", "seeds", "entropy", "mean@32", "pass@32", "mean@32 over grpo", "pass@32 over grpo"]
            table(heads, (outcome_row(name, found, runs["grpo"], at) for name, found in runs.items()))
    render_fronts(rows, np.random.default_rng(0))


def outcome_row(name: str, runs: list[dict[str, Any]], plain: list[dict[str, Any]], at: str) -> list[str]:
    cells = [f"{x.value:.3f} [{x.low:.3f}, {x.high:.3f}]" for x in map(interval, scores(runs, at))]
    n = min(len(runs), len(plain))
    pairs = zip(scores(runs[:n], at), scores(plain[:n], at), strict=True)
    over = [f"{x.value:+.3f} [{x.low:+.3f}, {x.high:+.3f}]" for x in (interval(mine - other) for mine, other in pairs)]
    entropy = f"{np.mean([r['entropy_at'][at] for r in runs]):.3f}"
    return [name, str(len(runs)), entropy, *cells, *(over if name != "grpo" else ["", ""])]


def interval(values: np.ndarray) -> Any:
    return hierarchical_interval(values, resamples=2000)


def render_fronts(rows: dict[str, list[dict[str, Any]]], rng: np.random.Generator) -> None:
    """Area of the (mean@32, pass@32) plane that a method's points dominate; bootstrap over seeds and problems."""
    methods: dict[str, list[list[dict[str, Any]]]] = {}
    for name, found in rows.items():
        methods.setdefault(name.split(" / ")[0], []).append(found)
    seeds = min(len(found) for found in rows.values())
    groups: dict[str, Callable[[str], bool]] = {name: (lambda m, n=name: m == n) for name in methods}
    groups[STATIC] = lambda m: m == "grpo" or m.startswith("clip-")
    groups["thermostat, all three"] = lambda m: m.startswith("thermostat")
    cubes = {}
    for group, takes in groups.items():
        points = [
            np.stack(scores(found[:seeds], at))
            for method, settings in methods.items()
            if takes(method)
            for found in settings
            for at in map(str, READ_AT)
        ]
        cubes[group] = np.stack(points)  # points, (mean, pass), seeds, problems
    problems = next(iter(cubes.values())).shape[-1]
    draws: dict[str, list[float]] = {group: [] for group in groups}
    for _ in range(2000):
        s, p = rng.integers(0, seeds, seeds), rng.integers(0, problems, problems)
        for group, cube in cubes.items():
            draws[group].append(hypervolume(cube[:, :, s][..., p].mean((2, 3))))
    lines = []
    for group, cube in cubes.items():
        value, (low, high) = hypervolume(cube.mean((2, 3))), np.quantile(draws[group], [0.025, 0.975])
        line = [group, str(len(cube)), f"{value:.3f} [{low:.3f}, {high:.3f}]"]
        for other in ("grpo", STATIC):
            over = np.quantile(np.array(draws[group]) - np.array(draws[other]), [0.025, 0.975])
            difference = value - hypervolume(cubes[other].mean((2, 3)))
            line.append("" if group == other else f"{difference:+.3f} [{over[0]:+.3f}, {over[1]:+.3f}]")
        lines.append(line)
    print(f"Fronts over learning rates and horizons, {seeds} seeds:\n")
    table(["", "points", "hypervolume", "over grpo", f"over {STATIC}"], lines)


def main() -> None:
    root, *rest = [word for word in sys.argv[1:] if word != "--render"]
    if "--render" not in sys.argv:
        train_all(Path(root), RESULT, lambda known: ready(rest), measured)
    for part in ("tracking", "settings", "baselines", "grid", "outcome", "path"):
        if by_row(part) and (not rest or part in rest):
            print(f"### {part}\n")
            render_outcome(part) if part in ("outcome", "path") else render_tracking(part)


if __name__ == "__main__":
    main()
