"""slime's `--save-debug-rollout-data`: a torch file per rollout.

Source: THUDM/slime at commit 624b824, observability/rollout_data_utils.py and
utils/types.py: {"rollout_id": int, "samples": [Sample.to_dict(), ...]}, of which are read

    prompt, response   texts; a prompt may be a conversation
    tokens             ids of prompt and response together
    response_length    how many of them are the response's
    loss_mask          one a token of the response; None: all are trained on
    remove_sample      True: none is
    rollout_log_probs  of the inference engine, one a token of the response
    reward             a number, or several by name
    group_index        the prompt

There is no entropy, no log-probability of the trainer and no advantage in it. A file
"eval_ID" holds completions of an evaluation, which nothing was trained on.

It is loaded with weights_only, so that nothing in it can run: a file that holds more than
tensors, numbers and text, such as images or numpy arrays, is refused.
"""

import warnings
from pathlib import Path
from typing import Any

import torch

from entrostat.dump.logs.completion import (
    Completion,
    Known,
    Rollout,
    Tokens,
    grpo_advantages,
    number_of,
    numbered,
    prompt_key,
    prompt_of,
    text_of,
)
from entrostat.texts import first_line

KNOWN = Known(
    trainer="slime",
    what="--save-debug-rollout-data",
    has="token ids, rewards and the inference engine's ln p: rewards, which prompts push "
    "at all, lengths of answers, and an estimate of entropy",
    lacks="entropy, the trainer's ln p, advantages, clip events",
    advantages="worked out as GRPO's by prompt",
)


def is_evaluation(file: Path) -> bool:
    """By its name, as slime gives it."""
    return "eval_" in file.stem


def read_slime(file: Path, reward: str) -> Rollout:
    """The rollout of one file.

    Args:
        reward: the name of the reward, where a sample has several.

    Raises:
        ValueError: one line with file and sample: not slime's, more in it than numbers
            and text, lists of unequal length.
    """
    if is_evaluation(file):
        raise ValueError(
            f"{file}: completions of an evaluation, which nothing was trained on: give "
            "those of a rollout"
        )
    content = _loaded(file)
    step = content["rollout_id"]
    samples = []
    for number, record in enumerate(content["samples"]):
        try:
            samples.append(_sample(record, reward))
        except (ValueError, TypeError, KeyError) as error:
            problem = first_line(error)
            if isinstance(error, KeyError):
                problem = f"field {error} is missing"
            raise ValueError(f"{file}: sample {number}: {problem}") from None
    if not samples:
        raise ValueError(f"{file}: no samples in it: give another")
    groups = numbered(key for key, _ in samples)
    rewards = [completion.reward for _, completion in samples]
    advantages = grpo_advantages(rewards, groups)
    completions = []
    for (_, completion), group, value in zip(samples, groups, advantages, strict=True):
        completions.append(completion._replace(group=group, advantage=value))
    return Rollout(KNOWN, step, completions)


def _loaded(file: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            # of torch, on the form of a foreign file
            warnings.simplefilter("ignore")
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        problem = first_line(error)
        raise ValueError(
            f"{file}: no torch file of plain numbers and text ({problem}): nothing else "
            "is loaded, since it could run code"
        ) from None
    known = isinstance(content, dict) and isinstance(content.get("samples"), list)
    if not known or type(content.get("rollout_id")) is not int:
        raise ValueError(
            f"{file}: no debug rollout of slime: it has not rollout_id and samples"
        )
    return content


def _sample(record: Any, reward: str) -> tuple[Any, Completion]:
    """What samples of its prompt share, and the completion; its advantage is to come."""
    if not isinstance(record, dict):
        raise ValueError("it is no record of slime's Sample")
    prompt = prompt_of(record["prompt"])
    group = record.get("group_index")
    key = prompt_key(prompt) if group is None else ("group", int(group))
    completion = Completion(
        group=0,
        prompt=prompt,
        response=text_of(record["response"], "response"),
        reward=_reward(record.get("reward"), reward),
        advantage=0.0,
        tokens=_tokens(record),
    )
    return key, completion


def _reward(value: Any, name: str) -> float:
    if not isinstance(value, dict):
        return number_of(value, "reward")
    names = ", ".join(map(repr, value))[:100]
    if not name and len(value) == 1:
        name = next(iter(value))
    if name not in value:
        raise ValueError(
            f"its rewards are {names}: say with --reward NAME which of them trains"
        )
    return number_of(value[name], f"reward {name!r}")


def _tokens(record: dict[str, Any]) -> Tokens:
    ids = [int(token) for token in _list(record, "tokens")]
    length = record["response_length"]
    if type(length) is not int or not 0 <= length <= len(ids):
        raise ValueError(
            f"response_length is {length!r:.40}, it must be within 0 and the "
            f"{len(ids)} tokens"
        )
    mask = [True] * length
    if record.get("loss_mask") is not None:
        mask = [value == 1 for value in _list(record, "loss_mask")]
    if record.get("remove_sample"):
        mask = [False] * length
    logprobs = None
    if record.get("rollout_log_probs") is not None:
        logprobs = []
        for value in _list(record, "rollout_log_probs"):
            logprobs.append(number_of(value, "a rollout_log_prob"))
    for name, values in (("loss_mask", mask), ("rollout_log_probs", logprobs)):
        if values is not None and len(values) != length:
            raise ValueError(
                f"{name} has {len(values)} entries, the response {length} tokens"
            )
    start = len(ids) - length
    return Tokens(ids[:start], ids[start:], mask, logprobs)


def _list(record: dict[str, Any], field: str) -> list[Any]:
    values = record[field]
    if isinstance(values, torch.Tensor):
        values = values.flatten().tolist()
    if not isinstance(values, list):
        raise ValueError(f"{field} is {values!r:.40}, it must be a list")
    return values
