"""What a backend is: it samples completions of prompts that are token ids already."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from entrostat.evaluation.presets import Sampling


class Prompt(NamedTuple):
    """A prompt as the model gets it."""

    ids: list[int]
    seed: int
    """Of the random numbers of this prompt's samples, in [0, 2^31). They depend on
    nothing else."""


class Drawn(NamedTuple):
    """One completion."""

    text: str
    """Without special tokens."""
    tokens: int
    """The end of sequence included."""
    entropy: float | None
    """Mean over the tokens of the entropy of softmax(logits / temperature), in nats;
    top-p and top-k do not enter. None where the backend can't give it."""
    ended: bool
    """By an end of sequence; False where it ran into its limit."""


@runtime_checkable
class Backend(Protocol):
    """A model with its tokenizer, ready to sample."""

    @property
    def tokenizer(self) -> object: ...

    @property
    def batch(self) -> int:
        """Sequences sampled at a time, and kept at a time."""
        ...

    @property
    def context(self) -> int | None:
        """Tokens of prompt and completion together, at most.

        None where the model names no limit.
        """
        ...

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, max_tokens: int
    ) -> list[list[Drawn]]:
        """n completions of each prompt, in order, each of at most `room` tokens."""
        ...


def room(max_tokens: int, context: int | None, prompt: Sequence[int]) -> int:
    """Tokens that a completion may have.

    That is what is asked for, or what the prompt leaves of the context.
    """
    if context is None:
        return max_tokens
    return min(max_tokens, context - len(prompt))
