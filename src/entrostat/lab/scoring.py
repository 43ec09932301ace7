"""The scores of a run: taken once, kept in its folder, found there by whoever goes on with it."""

from typing import Any

from entrostat.lab.config import TrainConfig
from entrostat.lab.evaluate import Draw, evaluate_with, spelt
from entrostat.lab.run import Run
from entrostat.lab.tasks import ProblemSource
from entrostat.lab.watch import Watcher


def scored(
    run: Run,
    when: str,
    config: TrainConfig,
    task: ProblemSource,
    draw: Draw,
    watcher: Watcher,
) -> dict[str, Any]:
    """Scores of the model behind `draw`, as config says; those of scores-WHEN.json where a former process left them.

    None at all where no problem is to be scored.
    """
    if not config.eval_problems:
        return {}
    known = run.read_scores(when)
    if known is None:
        watcher.note(_told(config))
        known = evaluate_with(
            draw,
            task,
            problems=config.eval_problems,
            samples=config.eval_samples,
            split=config.eval_split,
            temperature=config.temperature,
            temperatures=config.temperatures,
        )
        run.write_scores(when, known)
    return known


def _told(config: TrainConfig) -> str:
    which = "held-out" if config.eval_split == "test" else "validation"
    several = sorted({config.temperature, *config.temperatures}, reverse=True)
    at = (
        f" at temperatures {', '.join(map(spelt, several))}"
        if config.temperatures
        else ""
    )
    return (
        f"scoring {config.eval_problems} {which} problems x {config.eval_samples}{at}"
    )
