"""A dump of a rollout that a trainer logged, with what it lacks recomputed from a model.

The model is one policy. So it is one rollout's, the one that it sampled, and every ratio
is 1: which tokens later updates of the rollout clipped, nothing tells. Whether the model
is the one that sampled can be checked: under the policy that samples, ln p + H has the
mean 0 over tokens (entrostat.excess_surprisal).
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from entrostat import dump
from entrostat.diagnose.retokenise import Retokeniser
from entrostat.dump.logs import Completion, Rollout, Tokens
from entrostat.entropy import TokenStats, token_stats
from entrostat.evaluation.on_transformers import TransformersBackend

_LOGITS = 2**28
"""Logits of a batch at most, 1 GiB in float32; a sequence alone may have more."""
_ODD_MEAN = 0.02
"""Nats by which the mean of ln p + H may be off 0 without being mentioned: rounding."""
_SURE = 4.0
"""Standard errors from which on it is not chance."""


class _Sequence(NamedTuple):
    """A completion and its ids."""

    number: int
    completion: Completion
    tokens: Tokens


def recompute(
    rollout: Rollout, source: str, out: Path, *, temperature: float
) -> list[str]:
    """Writes the rollout as a dump to `out`, its numbers those of the model `source`.

    The columns are step, sample, group, reward, prompt, tokens, text, mask, advantages,
    logprobs, entropy and the sums; not those of a second policy.

    Returns:
        What can't be said of the result, or is not certain, a line each.

    Raises:
        ValueError: no model in `source`, a temperature that is not positive, ids that the
            model has not, or no completion that fits into its context.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature must be positive, got {temperature}")
    backend = TransformersBackend.load(source)
    retokeniser = Retokeniser(backend.tokenizer)
    sequences = []
    too_long = 0
    for number, completion in enumerate(rollout.completions):
        tokens = retokeniser.tokens(completion)
        sequence = _Sequence(number, completion, tokens)
        if backend.context is not None and _size(sequence) > backend.context:
            too_long += 1
            continue
        sequences.append(sequence)
    if not sequences:
        raise ValueError(
            f"all {too_long} completions are longer than the {backend.context} tokens of "
            f"{source!r}: give the model that sampled them"
        )
    parts = []
    vocabulary = backend.model.get_input_embeddings().weight.shape[0]
    _check_ids(sequences, vocabulary, source)
    for some in _batches(sequences, vocabulary):
        stats = _stats(backend.model, some, temperature)
        parts.append(_rows(rollout, some, stats, backend.tokenizer))
    # as they were logged
    table = pa.Table.from_batches(parts).sort_by("sample").combine_chunks()
    notes = {"temperature": temperature, "recomputed": True}
    dump.save(out, table.to_batches(), notes=notes)
    lines = [*rollout.notes, *retokeniser.notes()]
    if too_long:
        lines.append(
            f"{too_long} completions: longer than the {backend.context} tokens of the "
            "model"
        )
    lines += _fit(table, sequences)
    return lines


def _check_ids(sequences: Sequence[_Sequence], vocabulary: int, source: str) -> None:
    """ValueError for a token that the model has not, and for a prompt without any."""
    for sequence in sequences:
        tokens = sequence.tokens
        if not tokens.prompt:
            raise ValueError(
                f"completion {sequence.number} has an empty prompt: no state to sample "
                "its first token at"
            )
        ids = tokens.prompt + tokens.response
        if min(ids) < 0 or max(ids) >= vocabulary:
            raise ValueError(
                f"completion {sequence.number} has token ids {min(ids)} to {max(ids)}, "
                f"{source!r} has {vocabulary} tokens: give the model that sampled it"
            )


def _batches(
    sequences: Sequence[_Sequence], vocabulary: int
) -> Iterator[list[_Sequence]]:
    """Batches of sequences of like length, of at most _LOGITS logits."""
    batch: list[_Sequence] = []
    for sequence in sorted(sequences, key=_size):
        logits = (len(batch) + 1) * _size(sequence) * vocabulary
        if batch and logits > _LOGITS:
            yield batch
            batch = []
        batch.append(sequence)
    yield batch


def _size(sequence: _Sequence) -> int:
    """Its tokens, the prompt's too."""
    tokens = sequence.tokens
    return len(tokens.prompt) + len(tokens.response)


@torch.no_grad()
def _stats(
    model: Any, sequences: Sequence[_Sequence], temperature: float
) -> list[TokenStats]:
    """Statistics of the tokens of each response, (1 t) each."""
    texts = []
    for sequence in sequences:
        tokens = sequence.tokens
        texts.append(torch.tensor(tokens.prompt + tokens.response))
    ones = [torch.ones_like(text) for text in texts]
    # padded on the right, where a causal model's tokens do not look
    ids = pad_sequence(texts, batch_first=True)
    mask = pad_sequence(ones, batch_first=True)
    device = model.device
    output = model(
        input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
    )
    taken = ids[:, 1:].to(device)
    stats = token_stats(output.logits[:, :-1], taken, temperature=temperature)
    found = []
    for row, sequence in enumerate(sequences):
        # a token's logits stand at the place before it
        start = len(sequence.tokens.prompt) - 1
        end = start + len(sequence.tokens.response)
        cut = [_known(values)[row : row + 1, start:end].cpu() for values in stats]
        found.append(TokenStats(*cut))
    return found


def _known(values: Tensor | None) -> Tensor:
    assert values is not None
    return values


def _rows(
    rollout: Rollout,
    sequences: Sequence[_Sequence],
    stats: Sequence[TokenStats],
    tokenizer: Any,
) -> pa.RecordBatch:
    """The sequences as rows of a dump."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("logprobs", "entropy", "sum_p2", "sum_p2_logp")
    }
    for each in stats:
        for name, values in each._asdict().items():
            columns[name].append(values[0].numpy())
    completions = [sequence.completion for sequence in sequences]
    return dump.rows(
        decode=tokenizer.decode,
        step=rollout.step,
        sample=np.array([sequence.number for sequence in sequences]),
        group=np.array([completion.group for completion in completions]),
        reward=np.array([completion.reward for completion in completions]),
        prompt=[_shown_prompt(completion) for completion in completions],
        tokens=[np.array(each.tokens.response, np.int64) for each in sequences],
        mask=[np.array(each.tokens.mask, bool) for each in sequences],
        advantages=np.array([completion.advantage for completion in completions]),
        **columns,
    )


def _shown_prompt(completion: Completion) -> str:
    """The text of a prompt; of a conversation, what was said last."""
    prompt = completion.prompt
    if isinstance(prompt, str):
        return prompt
    return prompt[-1]["content"] if prompt else ""


# Whether the model is the one that sampled


def _fit(table: pa.Table, sequences: Sequence[_Sequence]) -> list[str]:
    """A line where the model is not the one that sampled, and one on recorded ln p."""
    (batch,) = table.to_batches()
    columns = dump.per_token(batch)
    if not len(columns["row"]):
        return []
    lines = []
    excess = columns["logprobs"].astype(float) + columns["entropy"]
    sums = np.bincount(columns["row"], excess, batch.num_rows)
    mean = sums.sum() / len(excess)
    # completions are independent, their tokens are not
    error = math.sqrt(np.square(sums).sum()) / len(excess)
    if abs(mean) > max(_ODD_MEAN, _SURE * error):
        lines.append(
            f"the policy that sampled (the model fits ill): the mean of ln p + H is {mean:+.3f} nats and under "
            "it would be 0, so the model is another checkpoint, the temperature was "
            "another, or the sampler cut its distribution (top-p, top-k)"
        )
    lines += _against_recorded(columns, sequences)
    return lines


def _against_recorded(
    columns: dict[str, np.ndarray], sequences: Sequence[_Sequence]
) -> list[str]:
    """How far the log-probabilities are from those that the log has, where it has."""
    recorded = []
    for sequence in sorted(sequences, key=lambda sequence: sequence.number):
        tokens = sequence.tokens
        if tokens.logprobs is None:
            return []
        recorded += [
            logprob
            for logprob, trained in zip(tokens.logprobs, tokens.mask, strict=True)
            if trained
        ]
    apart = float(np.abs(columns["logprobs"] - np.array(recorded)).mean())
    return [
        f"the engine's ln p: it is {apart:.3f} nats from the model's in the mean, and the "
        "model's is taken"
    ]
