"""Scores of a model on held-out problems: mean@k, pass@k for k = 1, 2, 4 .. n, and the
sampler's token entropy.

A score at one temperature mixes what a model knows with how sharp it is: training that
only sharpens raises mean@n at temperature 1, and a lower temperature does the same for
nothing. So scores can be taken at several temperatures, and models compared each at its
best one, chosen on other problems than those that are scored.
"""

from collections.abc import Callable, Mapping
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
"""One draw of held-out problems for every run, so that runs are compared on the same
ones."""
VALIDATION_SEED = 20_260_215
SAMPLE_SEED = 7
VALIDATION_SAMPLES = 8
"""Completions of each problem at most that a temperature is chosen on: it takes less to
choose than to score."""
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
"""Settings of a model's own that would bend its distribution, each at the value where
it does nothing."""


class Samples(NamedTuple):
    """Completions of one prompt after another, and the sampler's entropy over all their
    tokens."""

    texts: list[str]
    entropy: float
    """Nats per token, end-of-sequence tokens included, prompts not."""


Draw = Callable[[list[str], int, float, int], Samples]
"""A sampler: draw(prompts, samples, temperature, seed) gives `samples` completions of
each prompt."""
EvalSplit = Literal["test", "validation"]
"""Held-out problems, or a draw of their own from the training split."""


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
    """Draws `samples` completions of each prompt at `temperature`, top-p 1, from a
    generator state of its own, `batch` completions at a time.

    The model's own generation settings do not enter, but for the ids that end a text.
    """
    settings = _settings(model, tokenizer, temperature, max_completion)
    repeated = [prompt for prompt in prompts for _ in range(samples)]
    devices = [model.device] if model.device.type == "cuda" else []
    texts: list[str] = []
    entropy_sum, tokens = 0.0, 0
    was_training = model.training
    model.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for start in range(0, len(repeated), batch):
            inputs = tokenizer(
                repeated[start : start + batch],
                return_tensors="pt",
                padding=True,
                padding_side="left",
            ).to(model.device)
            ids, prompt_mask = inputs["input_ids"], inputs["attention_mask"]
            whole: Tensor = cast(Any, model).generate(
                input_ids=ids, attention_mask=prompt_mask, generation_config=settings
            )
            completions = whole[:, ids.size(1) :]
            texts += tokenizer.batch_decode(completions, skip_special_tokens=True)
            mask = _counted(completions, settings)
            entropy = _entropy(model, whole, prompt_mask, mask, temperature)
            entropy_sum += float(torch.where(mask, entropy, 0).sum())
            tokens += int(mask.sum())
    model.train(was_training)
    return Samples(texts, entropy_sum / max(tokens, 1))


def _settings(
    model: Any, tokenizer: Any, temperature: float, max_completion: int
) -> GenerationConfig:
    own = model.generation_config
    # transformers fills what is None here from the model's own, so what the model sets
    # has to be switched off by name
    off = {}
    for name, value in _OFF.items():
        if getattr(own, name, None) is not None:
            off[name] = value
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
    """Which tokens count, (b t): up to the first end of a text, itself included."""
    end_ids = torch.tensor(settings.eos_token_id, device=completions.device)
    ended = torch.isin(completions, end_ids)
    ends_before = ended.cumsum(1) - ended.long()
    return ends_before == 0


def _entropy(
    model: Any, whole: Tensor, prompt_mask: Tensor, mask: Tensor, temperature: float
) -> Tensor:
    """The sampler's entropy at each completion token, (b t), nats.

    `whole`: ids of prompts and completions; `mask`: the completion tokens that count.
    """
    entropy = completion_stats(
        model,
        whole,
        torch.cat([prompt_mask, mask.long()], dim=1),
        mask.size(1),
        temperature,
        vocabulary=model.config.get_text_config().vocab_size,
    ).entropy
    assert entropy is not None
    return entropy


def held_out(task: ProblemSource, n: int) -> list[Problem]:
    """The first n of the one fixed draw of held-out problems."""
    return task.problems(n, split="test", seed=PROBLEM_SEED)


def validation(task: ProblemSource, n: int) -> list[Problem]:
    """Problems to choose settings on: a fixed draw of their own from the training
    split, so none is held out.

    Training draws from the same pool. Where that is small (countdown) a run has seen
    most of them; where it is large (path) next to none.
    """
    return task.problems(n, split="train", seed=VALIDATION_SEED)


def to_score(task: ProblemSource, n: int, split: EvalSplit) -> list[Problem]:
    """The n problems of `split` that are scored."""
    return held_out(task, n) if split == "test" else validation(task, n)


def to_choose(task: ProblemSource, n: int, split: EvalSplit) -> list[Problem]:
    """Validation problems that a temperature is chosen on: n, less those that are
    scored.

    Where validation problems are scored, these are the next n of the same draw.
    ValueError where none is left.
    """
    drawn = validation(task, n) if split == "test" else validation(task, 2 * n)[n:]
    scored = {problem.key for problem in to_score(task, n, split)}
    apart = [problem for problem in drawn if problem.key not in scored]
    if not apart:
        raise ValueError(
            f"{task.name} has no problem left to choose a temperature on beside the "
            f"{n} that are scored: lower --eval-problems, or leave out --temperatures"
        )
    return apart


def held_out_entropy(
    draw: Draw, task: ProblemSource, *, temperature: float, seed: int
) -> float:
    """Mean token entropy on the fixed held-out prompts, nats, `PROBE_SAMPLES`
    completions of each."""
    prompts = [problem.prompt for problem in held_out(task, PROBE_PROMPTS)]
    return draw(prompts, PROBE_SAMPLES, temperature, seed).entropy


def drawing(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: ProblemSource,
    batch: int = BATCH,
) -> Draw:
    """A transformers model's sampler, for `evaluate_with`."""

    def draw(
        prompts: list[str], samples: int, temperature: float, seed: int
    ) -> Samples:
        return sample(
            model,
            tokenizer,
            prompts,
            samples=samples,
            max_completion=task.max_completion,
            temperature=temperature,
            batch=batch,
            seed=seed,
        )

    return draw


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: ProblemSource,
    *,
    batch: int = BATCH,
    **options: Any,
) -> dict[str, Any]:
    """`evaluate_with`, with its options, of a transformers model."""
    return evaluate_with(drawing(model, tokenizer, task, batch), task, **options)


def evaluate_with(
    draw: Draw,
    task: ProblemSource,
    *,
    problems: int = 128,
    samples: int = 32,
    split: EvalSplit = "test",
    temperature: float = 1.0,
    temperatures: tuple[float, ...] = (),
) -> dict[str, Any]:
    """Scores on `problems` held-out (or validation) problems, `samples` completions
    each, whatever samples them.

    Returns a JSON-able dict, of the training temperature: "mean@n", "pass@n" and
    "pass@k" for k = 1, 2, 4 .. n, each {"value", "low", "high"} with a 95% bootstrap
    interval over problems; "entropy", nats per token; "correct", right samples of each
    problem, and "samples" of each.

    With `temperatures` beside the training one there are four keys more:
    "by_temperature", the same dict for each of them by its spelling (`spelt`), the
    training one too; "validation", mean@n of each on as many problems of the training
    split, none of them scored, with "validation_samples" completions each; and
    "best_temperature", the one that is largest there.
    """
    scored = to_score(task, problems, split)
    records = {}
    for each in sorted({temperature, *temperatures}, reverse=True):
        records[each] = _record(draw, task, scored, samples, each)
    record = records[temperature]
    if len(records) == 1:
        return record
    choosing = to_choose(task, problems, split)
    fewer = min(VALIDATION_SAMPLES, samples)
    means = {}
    for each in records:
        means[each] = _mean_right(draw, task, choosing, fewer, each)
    # of equal ones the higher temperature, which keeps more of the model's diversity
    best = max(means, key=lambda each: (means[each], each))
    return {
        **record,
        "by_temperature": {spelt(each): records[each] for each in records},
        "validation": {spelt(each): means[each] for each in means},
        "validation_samples": fewer,
        "best_temperature": float(best),
    }


def _mean_right(
    draw: Draw,
    task: ProblemSource,
    problems: list[Problem],
    samples: int,
    temperature: float,
) -> float:
    right, _ = _count_right(draw, task, problems, samples, temperature)
    # a ratio of whole numbers: equal counts are equal, in whatever order they come
    return sum(right) / (len(problems) * samples)


def spelt(temperature: float) -> str:
    """A temperature as a key of JSON.

    >>> spelt(1.0), spelt(0.4)
    ('1', '0.4')
    """
    return str(float(temperature)).removesuffix(".0")


def at_best(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The scores of a record of `evaluate_with` at its best temperature; the record
    itself where there is only one."""
    if "best_temperature" not in record:
        return record
    return record["by_temperature"][spelt(record["best_temperature"])]


def _record(
    draw: Draw,
    task: ProblemSource,
    problems: list[Problem],
    samples: int,
    temperature: float,
) -> dict[str, Any]:
    """All scores at one temperature."""
    right, entropy = _count_right(draw, task, problems, samples, temperature)
    record = scores(right, samples)
    return {**record, "entropy": entropy, "correct": right, "samples": samples}


def _count_right(
    draw: Draw,
    task: ProblemSource,
    problems: list[Problem],
    samples: int,
    temperature: float,
) -> tuple[list[int], float]:
    """Right samples of each problem, and the sampler's entropy."""
    prompts = [problem.prompt for problem in problems]
    drawn = draw(prompts, samples, temperature, SAMPLE_SEED)
    repeated = [problem for problem in problems for _ in range(samples)]
    verdicts = task.judge(repeated, drawn.texts)
    right = []
    for start in range(0, len(verdicts), samples):
        group = verdicts[start : start + samples]
        # what could not be scored is not right; the source says that there was some
        right.append(sum(int(verdict or 0) for verdict in group))
    return right, drawn.entropy


def scores(correct: list[int], samples: int) -> dict[str, Any]:
    """mean@n and pass@k from the number of right samples of each problem, with
    intervals over problems."""
    curve = {}
    for k in _powers(samples):
        passed = [pass_at_k(samples, right, k) for right in correct]
        curve[str(k)] = _interval(passed)
    return {
        f"mean@{samples}": _interval([right / samples for right in correct]),
        f"pass@{samples}": curve[str(samples)],
        "pass@k": curve,
    }


def _powers(n: int) -> list[int]:
    """1, 2, 4 .. n, n itself last whether it is one or not."""
    powers = [1 << i for i in range(n.bit_length())]
    return powers if powers[-1] == n else [*powers, n]


def _interval(values: list[float]) -> dict[str, float]:
    value, low, high = bootstrap_interval(np.asarray(values))
    return {"value": float(value), "low": float(low), "high": float(high)}
