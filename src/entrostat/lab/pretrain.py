"""The warm start: supervised learning of a task's demonstrations, from random weights
to a base model folder.

Left out on purpose: evaluation during training, checkpoints, resuming. A run takes a
minute or two on one core, and the same options give the same bytes on one machine with
one set of library versions.
"""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from entrostat.files import written_whole
from entrostat.lab.evaluate import evaluate, held_out
from entrostat.lab.model import EOS_ID, PAD_ID, build_model, build_tokenizer
from entrostat.lab.model_card import model_card
from entrostat.lab.pretrain_options import PretrainConfig, refuse_taken
from entrostat.lab.tasks import Task, make_task

TEMPERATURES = (1.0, 0.8, 0.6, 0.4, 0.2, 0.1)
"""Of the scores on the model card. What a base model can do before any training shows
at the best of them, not at 1."""

_IGNORED = -100
"""Label of a token without loss."""


def pretrain(
    config: PretrainConfig, *, on_step: Callable[[int, float], None] | None = None
) -> dict[str, Any]:
    """Train a base model, measure it and write its folder.

    The folder appears complete or not at all. Randomness comes from generators of its
    own, and torch's number of threads is put back after.

    Args:
        on_step: called after each optimizer step with the steps done and the loss, in
            nats per answer token.

    Returns:
        The scores of `lab.evaluate.evaluate` on held-out problems at temperature 1, as
        on the model card.

    Raises:
        FileExistsError: `config.out` is a file or a folder that is not empty; nothing
            is trained then.
        ValueError: the task has fewer than `config.eval_problems` test problems;
            nothing is trained then.
        OSError: the folder cannot be written; nothing is left of it.
    """
    out = config.out.absolute()
    refuse_taken(out)
    threads = torch.get_num_threads()
    try:
        # the order of a parallel sum depends on the number of threads
        torch.set_num_threads(1)
        with written_whole(out) as folder:
            scores = _make(config, folder, on_step or _ignore)
            # another process may have written there since
            refuse_taken(out)
    except SafetensorError as error:  # a plain Exception, also where the disk is full
        raise OSError(
            f"{out} was not written: {error}; free some space or choose another --out"
        ) from error
    finally:
        torch.set_num_threads(threads)
    return scores


def _ignore(steps: int, loss: float) -> None:
    """Nobody is told of a step."""


def _make(
    config: PretrainConfig, folder: Path, on_step: Callable[[int, float], None]
) -> dict[str, Any]:
    """Trains, measures and writes into `folder`; the scores at temperature 1."""
    task = make_task(config.task)
    # too few problems are an error now, not after the training
    held_out(task, config.eval_problems)
    tokenizer = build_tokenizer(task.alphabet)
    model = build_model(tokenizer, seed=config.seed, size=task.model_size)
    _train(model, tokenizer, task, config, on_step)
    by_temperature = {}
    for temperature in TEMPERATURES:
        by_temperature[temperature] = evaluate(
            model,
            tokenizer,
            task,
            problems=config.eval_problems,
            samples=config.eval_samples,
            temperature=temperature,
        )
    example = task.problems(1, split="train", seed=config.seed)[0]
    card = model_card(
        task,
        command=config.command,
        prompt=example.prompt,
        answer=task.solve(example, random.Random(config.seed)),
        parameters=model.num_parameters(),
        by_temperature=by_temperature,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return by_temperature[1.0]


def _train(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    task: Task,
    config: PretrainConfig,
    on_step: Callable[[int, float], None],
) -> None:
    """Minimise the mean cross-entropy of the answer tokens, end of sequence
    included."""
    problems = task.problems(
        config.steps * config.batch, split="train", seed=config.seed
    )
    rng = random.Random(f"{task.name}/answers/{config.seed}")
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _learning_rate_factor(step, config)
    )
    model.train()
    for step in range(config.steps):
        batch = problems[step * config.batch : (step + 1) * config.batch]
        pairs = [(problem.prompt, task.demonstrate(problem, rng)) for problem in batch]
        ids, labels = _collate(tokenizer, pairs)
        # the logits at a token are those of the next one
        logits = model(input_ids=ids[:, :-1]).logits.flatten(0, 1)
        labels = labels[:, 1:].flatten()
        loss = cross_entropy(logits, labels, ignore_index=_IGNORED)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        on_step(step + 1, loss.item())
    model.eval()


def _learning_rate_factor(step: int, config: PretrainConfig) -> float:
    """What the peak learning rate is multiplied by: a linear rise, then half a
    cosine."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * progress))


def _collate(
    tokenizer: PreTrainedTokenizerFast, pairs: list[tuple[str, str]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels of prompt + answer + eos, (b t) each.

    Padded on the right, so that no answer token sees a pad.
    """
    prompts = tokenizer([prompt for prompt, _ in pairs])["input_ids"]
    answers = tokenizer([answer for _, answer in pairs])["input_ids"]
    rows, row_labels = [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        target = [*answer, EOS_ID]
        rows.append(torch.tensor([*prompt, *target]))
        row_labels.append(torch.tensor([_IGNORED] * len(prompt) + target))
    ids = pad_sequence(rows, batch_first=True, padding_value=PAD_ID)
    labels = pad_sequence(row_labels, batch_first=True, padding_value=_IGNORED)
    return ids, labels
