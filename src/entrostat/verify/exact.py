"""The verifier of models that write nothing but the answer: the text is the answer's,
character by character.

Only the standard library: a worker loads this file by itself.
"""

TRIAL = "1"
"""An answer that a worker warms up on."""


def exact(answer: str, completion: str) -> float:
    """1.0 if `completion` is `answer`, but for spaces and line ends around them, else
    0.0."""
    return float(completion.strip() == answer.strip())


def read(completion: str) -> str | None:
    """What is read of a completion: all of it; None where it is empty."""
    return completion.strip() or None


def spell(answer: str) -> str:
    """A right completion."""
    return answer
