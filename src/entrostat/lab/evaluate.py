"""Scores of a model on held-out problems: mean@k, pass@k for k = 1, 2, 4 .. n, and the sampler's token entropy."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from entrostat.data.prompts import ends
from entrostat.engines.lm_head import completion_stats
from entrostat.estimate import bootstrap_interval, pass_at_k
from entrostat.lab.tasks import Problem, ProblemSource

PROBLEM_SEED = 20_260_214
"""One draw of held-out problems for every run, so that runs are compared on the same ones."""
VALIDATION_SEED = 20_260_215
SAMPLE_SEED = 7
PROBE_PROMPTS, PROBE_SAMPLES = 256, 4
BATCH = 512
"""Completions of the lab's own models that are sampled together."""
_OFF: dict[str, float] = {
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
"""Settings of a model's own that would bend its distribution, each at the value where it does nothing."""


class Samples(NamedTuple):
    """Completions of one prompt after another, `samples` each, and the sampler's entropy over all their tokens."""

    texts: list[str]
    entropy: float
    """Nats per token, end-of-sequence tokens included, prompts not."""


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    *,
    samples: int,
    max_completion: int,
    temperature: float = 1.0,
    batch: int = BATCH,
    seed: int = SAMPLE_SEED,
) -> Samples:
    """Draws `samples` completions of each prompt at `temperature`, top-p 1, from a generator state of its own.

    The model's own generation settings don't enter, but for the ids that end a text.
    """
    texts: list[str] = []
    total, tokens = 0.0, 0
    repeated = [prompt for prompt in prompts for _ in range(samples)]
    devices = [model.device] if model.device.type == "cuda" else []
    settings = _settings(model, tokenizer, temperature, max_completion)
    vocabulary = model.config.get_text_config().vocab_size
    was_training = model.training
    model.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for chunk in _chunks(repeated, batch):
            inputs = tokenizer(chunk, return_tensors="pt", padding=True, padding_side="left")
            inputs = inputs.to(model.device)
            ids, prompt_mask = inputs["input_ids"], inputs["attention_mask"]
            whole: Any = cast(Any, model).generate(
                input_ids=ids, attention_mask=prompt_mask, generation_config=settings
            )
            completions = whole[:, ids.size(1) :]
            texts += tokenizer.batch_decode(completions, skip_special_tokens=True)
            mask = _counted(completions, settings)
            attention, width = torch.cat([prompt_mask, mask.long()], dim=1), completions.size(1)
            entropy = completion_stats(model, whole, attention, width, temperature, vocabulary=vocabulary).entropy
            assert entropy is not None
            total += float(torch.where(mask, entropy, 0).sum())
            tokens += int(mask.sum())
    model.train(was_training)
    return Samples(texts, total / max(tokens, 1))


def _settings(model: Any, tokenizer: Any, temperature: float, max_completion: int) -> GenerationConfig:
    own = model.generation_config
    # transformers fills what is None here from the model's own
    off = {name: value for name, value in _OFF.items() if getattr(own, name, None) is not None}
    return GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_completion,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=ends(own.eos_token_id, tokenizer),
        **off,
    )


def _counted(completions: Tensor, settings: GenerationConfig) -> Tensor:
    """Which tokens count: up to the first end of a text, itself included."""
    ended = torch.isin(completions, torch.tensor(settings.eos_token_id, device=completions.device))
    return (ended.cumsum(1) - ended.long()) == 0


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def held_out(task: ProblemSource, n: int) -> list[Problem]:
    """The first n of the one fixed draw of held-out problems."""
    return task.problems(n, split="test", seed=PROBLEM_SEED)


def validation(task: ProblemSource, n: int) -> list[Problem]:
    """Problems to choose settings on: a fixed draw of their own from the training split, so none is held out.

    Training draws from the same pool. Where that is small (countdown) a run has seen most of them; where it is large
    (path) next to none.
    """
    return task.problems(n, split="train", seed=VALIDATION_SEED)


def held_out_entropy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: ProblemSource, **options: Any
) -> float:
    """Mean token entropy on the fixed held-out prompts, nats, `PROBE_SAMPLES` completions each; options of `sample`."""
    prompts = [problem.prompt for problem in held_out(task, PROBE_PROMPTS)]
    drawn = sample(model, tokenizer, prompts, samples=PROBE_SAMPLES, max_completion=task.max_completion, **options)
    return drawn.entropy


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: ProblemSource,
    *,
    problems: int = 128,
    samples: int = 32,
    split: Literal["test", "validation"] = "test",
    temperature: float = 1.0,
    batch: int = BATCH,
) -> dict[str, Any]:
    """Scores on `problems` held-out (or validation) problems, `samples` completions each, at the training temperature.

    Returns a JSON-able dict: "mean@n", "pass@n" and "pass@k" for k = 1, 2, 4 .. n, each {"value", "low", "high"} with a
    95% bootstrap interval over problems; "entropy", nats per token; "correct", right samples of each problem, and
    "samples" of each.
    """
    chosen = held_out(task, problems) if split == "test" else validation(task, problems)
    drawn = sample(
        model,
        tokenizer,
        [p.prompt for p in chosen],
        samples=samples,
        max_completion=task.max_completion,
        temperature=temperature,
        batch=batch,
    )
    repeated = [problem for problem in chosen for _ in range(samples)]
    # what could not be scored is not right; the source says that there was some
    scored = [int(score or 0) for score in task.judge(repeated, drawn.texts)]
    right = [sum(scored[i : i + samples]) for i in range(0, len(scored), samples)]
    return {**scores(right, samples), "entropy": drawn.entropy, "correct": right, "samples": samples}


def scores(correct: list[int], samples: int) -> dict[str, Any]:
    """mean@n and pass@k from the number of right samples of each problem, with intervals over problems."""
    curve = {str(k): _interval([float(pass_at_k(samples, c, k)) for c in correct]) for k in _powers(samples)}
    mean = _interval([c / samples for c in correct])
    return {f"mean@{samples}": mean, f"pass@{samples}": curve[str(samples)], "pass@k": curve}


def _powers(n: int) -> list[int]:
    ks = [1 << i for i in range(n.bit_length()) if 1 << i <= n]
    return ks if ks[-1] == n else [*ks, n]


def _interval(values: list[float]) -> dict[str, float]:
    value, low, high = bootstrap_interval(np.asarray(values))
    return {"value": float(value), "low": float(low), "high": float(high)}
