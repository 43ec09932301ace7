"""The lab's character tokens without a library: the same ids as
`lab.model.build_tokenizer` gives, in plain torch."""

from collections.abc import Sequence

import torch
from torch import Tensor

SPECIAL = ("<pad>", "<eos>", "<unk>")
"""The first ids, in this order; the alphabet follows, a character each."""


class Characters:
    """Spells the prompts and completions of a task of the lab."""

    def __init__(self, alphabet: str):
        ids = range(len(SPECIAL), len(SPECIAL) + len(alphabet))
        self._ids = dict(zip(alphabet, ids, strict=True))
        # special tokens have no text
        self._texts = ["", "", "", *alphabet]
        self.size = len(self._texts)
        """Of the vocabulary."""

    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids (q p), padded on the left, and where they are not padding. ValueError for a
        character that the alphabet does not have."""
        width = max(map(len, prompts))
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        mask = torch.zeros(len(prompts), width, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            start = width - len(prompt)
            ids[row, start:] = torch.tensor(self._ids_of(prompt))
            mask[row, start:] = True
        return ids, mask

    def _ids_of(self, prompt: str) -> list[int]:
        strange = sorted(set(prompt) - set(self._ids))
        if strange:
            raise ValueError(
                f"the task's alphabet has no {strange[0]!a}, "
                f"which the prompt {prompt!a} holds"
            )
        return [self._ids[character] for character in prompt]

    def decode(self, ids: Tensor, mask: Tensor) -> list[str]:
        """The texts of completions (b t), their special tokens left out. ValueError for an
        id of no token."""
        # masked positions may hold anything: 0 is padding, which has no text
        kept = torch.where(mask, ids, 0)
        if kept.numel():
            lowest, highest = int(kept.min()), int(kept.max())
            if lowest < 0 or highest >= self.size:
                raise ValueError(
                    f"ids {lowest} to {highest} are not all in a vocabulary of {self.size}"
                )
        texts = []
        for row in kept.tolist():
            texts.append("".join([self._texts[i] for i in row]))
        return texts
