"""The lab's character tokens without a library: the same ids as `lab.model.build_tokenizer` gives, in plain torch."""

from collections.abc import Sequence

import torch
from torch import Tensor

SPECIAL = ("<pad>", "<eos>", "<unk>")
"""The first ids, in this order; the alphabet follows, a character each."""


class Characters:
    """Spells the prompts and completions of a task of the lab."""

    def __init__(self, alphabet: str):
        self._ids = {
            character: len(SPECIAL) + i for i, character in enumerate(alphabet)
        }
        self._spelt = ["" for _ in SPECIAL] + list(alphabet)
        self.size = len(self._spelt)
        """Of the vocabulary."""

    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids (q p), padded on the left, and where they are not padding. ValueError for a character outside."""
        width = max(len(prompt) for prompt in prompts)
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        mask = torch.zeros(len(prompts), width, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            if strange := sorted(set(prompt) - set(self._ids)):
                raise ValueError(
                    f"the task's alphabet has no {strange[0]!a}, which the prompt {prompt!a} holds"
                )
            start = width - len(prompt)
            ids[row, start:] = torch.tensor(
                [self._ids[character] for character in prompt]
            )
            mask[row, start:] = True
        return ids, mask

    def decode(self, ids: Tensor, mask: Tensor) -> list[str]:
        """The texts of completions (b t), their special tokens left out. ValueError for an id of no token."""
        kept = torch.where(mask, ids, 0)
        if kept.numel() and not 0 <= int(kept.min()) <= int(kept.max()) < self.size:
            raise ValueError(
                f"ids {int(kept.min())} to {int(kept.max())} are not all in a vocabulary of {self.size}"
            )
        return ["".join([self._spelt[i] for i in row]) for row in kept.tolist()]
