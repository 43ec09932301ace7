"""Sampling by transformers' own generate, with random numbers and entropy of ours in a logits processor.

The random numbers are the prompt's own, drawn on the CPU, so that a sample depends on neither what was sampled before
nor which other prompts share its batch, but for the rounding of the model's arithmetic. Entropy is taken from the
logits on their way to the sampler: it costs no second pass.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
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


class TransformersBackend:
    """A causal language model in memory, on the GPU where there is one."""

    def __init__(self, model: Any, tokenizer: Any, *, batch: int = BATCH):
        self.model, self.tokenizer, self.batch = model.eval(), tokenizer, batch
        self.stops = ends(model.generation_config.eos_token_id, tokenizer)
        # Padding is masked, so any token does.
        self.pad = next(
            i for i in (tokenizer.pad_token_id, *self.stops, 0) if i is not None
        )
        # A hub model's own settings (a repetition penalty, top-p) would change what is measured.
        model.generation_config = GenerationConfig(
            eos_token_id=self.stops or None, pad_token_id=self.pad
        )

    @classmethod
    def load(cls, source: str, *, batch: int = BATCH) -> "TransformersBackend":
        """From a folder or a hub name: float32 on a CPU, the checkpoint's own type on a GPU. ValueError, one line."""
        # what can only be a folder is not looked up on the hub
        if not Path(source).is_dir() and (
            source.count("/") > 1 or source.startswith((".", "/", "~"))
        ):
            raise ValueError(
                f"MODEL {source!r} is no folder: give one with a model and its tokenizer, or a hub name"
            )
        gpu = torch.cuda.is_available()
        try:
            tokenizer = AutoTokenizer.from_pretrained(source)
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype="auto" if gpu else torch.float32
            )
        except Exception as error:
            said = first_line(error)
            raise ValueError(
                f"no causal language model with a tokenizer in {source!r} ({said})"
            ) from None
        return cls(
            cast(Any, model).to("cuda" if gpu else "cpu"), tokenizer, batch=batch
        )

    @property
    def context(self) -> int | None:
        """Positions that the model was made for."""
        return getattr(self.model.config, "max_position_embeddings", None)

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, max_tokens: int
    ) -> list[list[Drawn]]:
        """n completions of each prompt, `batch` sequences at a time."""
        rows = _rows(prompts, n, max_tokens)
        drawn: list[Drawn] = []
        while part := list(islice(rows, self.batch)):
            drawn += self._generate(
                [ids for ids, _ in part], torch.stack([u for _, u in part]), sampling
            )
        return [drawn[i * n : (i + 1) * n] for i in range(len(prompts))]

    def _generate(
        self, prompts: list[list[int]], uniform: Tensor, sampling: Sampling
    ) -> list[Drawn]:
        """A completion of each, in rounds: each ends where the context ends for the longest that goes on."""
        limits = [room(uniform.size(1), self.context, prompt) for prompt in prompts]
        texts = [list(prompt) for prompt in prompts]
        entropy: list[list[Tensor]] = [[] for _ in prompts]
        going, done = list(range(len(prompts))), 0
        while going:
            until = min(limits[i] for i in going)
            found = self._round(
                [texts[i] for i in going], uniform[going, done:until], sampling
            )
            for i, (tokens, nats) in zip(going, found, strict=True):
                texts[i] += tokens
                entropy[i].append(nats)
            done = until
            going = [
                i for i in going if limits[i] > done and texts[i][-1] not in self.stops
            ]
        return [
            self._one(text[len(prompt) :], torch.cat(nats))
            for text, prompt, nats in zip(texts, prompts, entropy, strict=True)
        ]

    @torch.no_grad()
    def _round(
        self, prompts: list[list[int]], uniform: Tensor, sampling: Sampling
    ) -> Iterator[tuple[list[int], Tensor]]:
        """The next tokens of each, up to its end or one for each of its random numbers, and their entropies."""
        width, device = max(map(len, prompts)), self.model.device
        ids = torch.tensor(
            [[self.pad] * (width - len(p)) + p for p in prompts], device=device
        )
        mask = torch.tensor(
            [[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device
        )
        sampler = _Sampler(width, uniform.to(device), sampling)
        whole = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,  # the processor leaves one token
            max_new_tokens=uniform.size(1),
            logits_processor=LogitsProcessorList([sampler]),
        )
        completions = whole[:, width:].cpu()
        entropy = torch.stack(sampler.entropy, dim=1).cpu()
        for completion, nats in zip(completions, entropy, strict=True):
            stop = torch.isin(completion, torch.tensor(self.stops)).nonzero()
            tokens = int(stop[0]) + 1 if len(stop) else len(completion)
            yield completion[:tokens].tolist(), nats[:tokens]

    def _one(self, completion: list[int], entropy: Tensor) -> Drawn:
        ended = completion[-1] in self.stops
        text = self.tokenizer.decode(
            completion[: len(completion) - ended], skip_special_tokens=True
        )
        return Drawn(text, len(completion), float(entropy.mean()), ended)


class _Sampler(LogitsProcessor):
    """Leaves one token of each sequence, by the next of its random numbers, and notes the entropy before."""

    def __init__(self, width: int, uniform: Tensor, sampling: Sampling):
        self.width, self.uniform, self.sampling = width, uniform, sampling
        self.entropy: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        tokens = draw(
            scores, self.uniform[:, input_ids.size(1) - self.width], self.sampling
        )
        entropy = token_stats(
            scores[:, None], tokens[:, None], temperature=self.sampling.temperature
        ).entropy
        assert entropy is not None
        self.entropy.append(entropy[:, 0])
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0.0)


def _rows(
    prompts: Sequence[Prompt], n: int, max_tokens: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Each prompt n times, with the random numbers of a sample's tokens."""
    for prompt in prompts:
        generator = torch.Generator().manual_seed(prompt.seed)
        for _ in range(n):
            yield (
                prompt.ids,
                torch.rand(max_tokens, generator=generator, dtype=torch.float64),
            )
