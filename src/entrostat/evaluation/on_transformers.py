"""Sampling by transformers' own generate, with random numbers and entropy of ours.

Both come in by a logits processor. The random numbers are the prompt's own, drawn on
the CPU. So a sample depends on neither what was sampled before nor which other prompts
share its batch, but for the rounding of the model's arithmetic. Entropy is taken from
the logits on their way to the sampler: it costs no second pass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
)

from entrostat.data.prompts import ends
from entrostat.entropy import token_stats
from entrostat.evaluation.backend import Drawn, Prompt, room
from entrostat.evaluation.draw import draw
from entrostat.evaluation.presets import Sampling
from entrostat.texts import first_line

BATCH = 64
"""Sequences at a time: 7B parameters and 4096 tokens of each fit 80 GB."""


@dataclass
class _Completion:
    """A completion on its way."""

    prompt: list[int]
    uniform: Tensor
    """(max tokens,): its random numbers, in [0, 1), float64."""
    limit: int
    """Tokens at most."""
    tokens: list[int] = field(default_factory=list)
    entropy: list[Tensor] = field(default_factory=list)
    """Nats: (tokens of a round,) for each round."""


class TransformersBackend:
    """A causal language model in memory, on the GPU where there is one."""

    def __init__(self, model: Any, tokenizer: Any, *, batch: int = BATCH):
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.batch = batch
        self.stops = ends(model.generation_config.eos_token_id, tokenizer)
        self.pad = tokenizer.pad_token_id
        if self.pad is None:
            # padding is masked, so any token does
            self.pad = next(iter(self.stops), 0)
        # A hub model's own settings (a repetition penalty, top-p) would change what is
        # measured.
        model.generation_config = GenerationConfig(
            eos_token_id=self.stops or None, pad_token_id=self.pad
        )

    @classmethod
    def load(cls, source: str, *, batch: int = BATCH) -> "TransformersBackend":
        """From a folder or a hub name. ValueError, one line, where there is no model.

        Float32 on a CPU, the checkpoint's own type on a GPU.
        """
        gpu = torch.cuda.is_available()
        dtype = "auto" if gpu else torch.float32
        try:
            tokenizer = AutoTokenizer.from_pretrained(source)
            model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
        except Exception as error:
            raise ValueError(
                f"no causal language model with a tokenizer in {source!r} "
                f"({first_line(error)})"
            ) from None
        placed = cast(Any, model).to("cuda" if gpu else "cpu")
        return cls(placed, tokenizer, batch=batch)

    @property
    def context(self) -> int | None:
        """Positions that the model was made for."""
        return getattr(self.model.config, "max_position_embeddings", None)

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, max_tokens: int
    ) -> list[list[Drawn]]:
        """n completions of each prompt, `batch` sequences at a time."""
        completions = self._completions(prompts, n, max_tokens)
        drawn: list[Drawn] = []
        while part := list(islice(completions, self.batch)):
            self._complete(part, sampling)
            drawn += map(self._drawn, part)
        return [drawn[start : start + n] for start in range(0, len(drawn), n)]

    def _completions(
        self, prompts: Sequence[Prompt], n: int, max_tokens: int
    ) -> Iterator[_Completion]:
        """Each prompt n times, with the random numbers of a sample's tokens."""
        for prompt in prompts:
            limit = room(max_tokens, self.context, prompt.ids)
            generator = torch.Generator().manual_seed(prompt.seed)
            for _ in range(n):
                # as many numbers whatever the limit is, so that the next sample's are
                # the same on a model with another context
                uniform = torch.rand(
                    max_tokens, generator=generator, dtype=torch.float64
                )
                yield _Completion(prompt.ids, uniform, limit)

    def _complete(self, going: list[_Completion], sampling: Sampling) -> None:
        """Samples all to their ends.

        They go in rounds, since the context ends first for the longest prompt: a round
        ends where the first of those that go on reaches its limit.
        """
        while going:
            until = min(completion.limit for completion in going)
            self._round(going, until, sampling)
            going = [completion for completion in going if self._goes_on(completion)]

    def _goes_on(self, completion: _Completion) -> bool:
        has_room = len(completion.tokens) < completion.limit
        return has_room and completion.tokens[-1] not in self.stops

    @torch.no_grad()
    def _round(self, going: list[_Completion], until: int, sampling: Sampling) -> None:
        """Gives each its tokens up to the end of sequence, or up to `until` of them."""
        # all that go on have as many tokens
        done = len(going[0].tokens)
        texts = []
        uniforms = []
        for completion in going:
            texts.append(torch.tensor(completion.prompt + completion.tokens))
            uniforms.append(completion.uniform[done:until])
        uniform = torch.stack(uniforms)
        device = self.model.device
        ids = pad_sequence(texts, True, self.pad, "left").to(device)
        masks = list(map(torch.ones_like, texts))
        mask = pad_sequence(masks, True, 0, "left").to(device)
        width = ids.size(1)
        sampler = _Sampler(width, uniform.to(device), sampling)
        whole = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,  # the processor leaves one token
            max_new_tokens=until - done,
            logits_processor=LogitsProcessorList([sampler]),
        )
        new = whole[:, width:].cpu()
        entropy = torch.stack(sampler.entropy, dim=1).cpu()
        stops = torch.isin(new, torch.tensor(self.stops))
        for row, completion in enumerate(going):
            ends_at = stops[row].nonzero()
            tokens = int(ends_at[0]) + 1 if len(ends_at) else new.size(1)
            completion.tokens += new[row, :tokens].tolist()
            completion.entropy.append(entropy[row, :tokens])

    def _drawn(self, completion: _Completion) -> Drawn:
        """What is handed over of a completion that has ended."""
        tokens = completion.tokens
        ended = tokens[-1] in self.stops
        spoken = tokens[:-1] if ended else tokens
        text = self.tokenizer.decode(spoken, skip_special_tokens=True)
        entropy = float(torch.cat(completion.entropy).mean())
        return Drawn(text, len(tokens), entropy, ended)


class _Sampler(LogitsProcessor):
    """Leaves one token of each sequence, and notes the entropy before.

    Args:
        width: of the prompts, in tokens.
        uniform: (sequences, new tokens), the random number that chooses each token.
    """

    def __init__(self, width: int, uniform: Tensor, sampling: Sampling):
        self.width = width
        self.uniform = uniform
        self.sampling = sampling
        self.entropy: list[Tensor] = []
        """(sequences,) for each new token."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        token = input_ids.size(1) - self.width
        ids = draw(scores, self.uniform[:, token], self.sampling)[:, None]
        stats = token_stats(scores[:, None], ids, temperature=self.sampling.temperature)
        assert stats.entropy is not None
        self.entropy.append(stats.entropy[:, 0])
        return torch.full_like(scores, -torch.inf).scatter_(1, ids, 0.0)
