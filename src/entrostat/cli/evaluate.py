"""entrostat evaluate."""

import dataclasses

from entrostat.cli.words import parse, show


def evaluate(args: list[str]) -> int:
    """`entrostat evaluate`: the exit code."""
    import torch
    from tyro.conf import Positional

    from entrostat.lab.config import TrainConfig
    from entrostat.lab.evaluate import evaluate
    from entrostat.lab.show import scores_table
    from entrostat.lab.tasks import make_task
    from entrostat.lab.train import load_model, quiet

    @dataclasses.dataclass(frozen=True)
    class Evaluate:
        """Scores a causal language model on a task's held-out problems."""

        model: Positional[str]
        """Folder or hub name."""
        task: str = "countdown"
        """Task of the lab."""
        problems: int = 128
        """Held-out problems."""
        samples: int = 32
        """Completions of each."""
        temperature: float = 1.0
        """Of the sampler."""
        threads: int = 1
        """CPU threads. 1 leaves the other cores to other runs."""
        json: bool = False
        """Print the result as JSON."""

    options = parse(Evaluate, args, "entrostat evaluate")
    config = TrainConfig(
        task=options.task,
        model=options.model,
        eval_problems=options.problems,
        eval_samples=options.samples,
        temperature=options.temperature,
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
