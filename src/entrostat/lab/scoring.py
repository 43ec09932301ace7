"""The scores of a run: taken once, kept in its folder, found there by whoever goes on with
it."""

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
    """Scores of the model behind `draw`, as the config asks for them; empty where no
    problem is to be scored.

    Where a former process of the run left them in scores-WHEN.json, they are those.
    """
    if not config.eval_problems:
        return {}
    kept = run.read_scores(when)
    if kept is not None:
        return kept
    watcher.status(_status(config))
    scores = evaluate_with(
        draw,
        task,
        problems=config.eval_problems,
        samples=config.eval_samples,
        split=config.eval_split,
        temperature=config.temperature,
        temperatures=config.temperatures,
    )
    run.write_scores(when, scores)
    return scores


def _status(config: TrainConfig) -> str:
    """What is being scored: it takes a while."""
    which = "held-out" if config.eval_split == "test" else "validation"
    text = f"scoring {config.eval_problems} {which} problems x {config.eval_samples}"
    if config.temperatures:
        several = sorted({config.temperature, *config.temperatures}, reverse=True)
        text += f" at temperatures {', '.join(map(spelt, several))}"
    return text
