"""Whether a clip setting can move the entropy of a run, from three numbers of its log, in one sentence.

The thresholds are those of docs/regime.md: paired branches with random rewards on one small model. They are orders of
magnitude, and say nothing of what a reward that can be learned does to entropy.
"""

import math

PAGE = "docs/regime.md"
LEAST_CLIPPED = 1e-3
"""Share of trained tokens. With less on either side no cell of the map has an odd part over 1e-4 of ln H a rollout."""
NOISY_KL = 1e-2
"""Of a rollout, nats a token. Over it, with FEW responses, noise is as large as what a clip does."""
FEW, MANY = 256, 1024
"""Responses a rollout: at FEW the map has noise as large, at MANY (a KL of .12) it does not, and between nothing."""


def reach(
    *, clipped: float | int | None, kl: float | int | None, responses: int | None
) -> str:
    """The sentence: too little is clipped, noise is as large, a clip setting can move entropy, or that is not known.

    A number that is not known is None. The sentence says which were not read, unless too little is clipped, which no
    other number changes.

    Args:
        clipped: share of trained tokens that the clip takes, 0 to 1, on the side that takes more.
        kl: of the policy before a rollout's updates from the one after them, nats a token.
        responses: a rollout.

    Raises:
        ValueError: a share not within 0 and 1, a KL that is negative or not finite, responses under 1.

    >>> reach(clipped=0.0002, kl=1e-4, responses=4096).partition(":")[0]
    'Too little is clipped for a clip setting to move entropy'
    """
    _check(clipped, kl, responses)
    if clipped is not None and clipped < LEAST_CLIPPED:
        return (
            f"Too little is clipped for a clip setting to move entropy: {_percent(clipped)} of tokens on the side that "
            f"clips more, and under {_percent(LEAST_CLIPPED)} the map has no effect that a run would notice ({PAGE})."
        )
    noisy = _noisy(kl, responses)
    known, missing = _told(clipped, kl, responses)
    not_read = f"; not read: {' and '.join(missing)}" if missing else ""
    if noisy:
        return (
            f"Noise moves entropy as much as a clip setting would: {', '.join(known)}, and at a KL over {NOISY_KL:g} "
            f"with {FEW} responses or fewer the two are of one size{not_read} ({PAGE})."
        )
    if clipped is not None and noisy is False:
        return f"A clip setting can move entropy here: {', '.join(known)}{not_read} ({PAGE})."
    why = (
        not_read
        or f"; the map has nothing between {FEW} and {MANY:,} responses at a KL over {NOISY_KL:g}"
    )
    told = f"{', '.join(known)}{why}" if known else why.removeprefix("; ")
    return (
        f"Whether a clip setting can move entropy here is not known: {told} ({PAGE})."
    )


def _noisy(kl: float | int | None, responses: int | None) -> bool | None:
    """Whether noise is as large as the effect; None where that is not known."""
    if (kl is not None and kl <= NOISY_KL) or (
        responses is not None and responses >= MANY
    ):
        return False
    return (
        True if kl is not None and responses is not None and responses <= FEW else None
    )


def _told(
    clipped: float | int | None, kl: float | int | None, responses: int | None
) -> tuple[list[str], list[str]]:
    """What is known in words, and the names of what is not."""
    words = {
        "the share of clipped tokens": None
        if clipped is None
        else f"{_percent(clipped)} of tokens clipped on one side",
        "the KL of a rollout": None
        if kl is None
        else f"a KL of {kl:.2g} nats a token a rollout",
        "responses a rollout": None
        if responses is None
        else f"{responses:,} responses a rollout",
    }
    return [text for text in words.values() if text], [
        name for name, text in words.items() if text is None
    ]


def _percent(share: float | int) -> str:
    """To two digits.

    >>> _percent(0.001), _percent(0.0346), _percent(0.0)
    ('0.1%', '3.5%', '0%')
    """
    return f"{100 * share:.2g}%"


def _check(
    clipped: float | int | None, kl: float | int | None, responses: int | None
) -> None:
    if clipped is not None and not 0 <= clipped <= 1:
        raise ValueError(f"clipped must be a share of tokens, 0 to 1, got {clipped}")
    if kl is not None and not 0 <= kl < math.inf:
        raise ValueError(f"kl must be finite and at least 0, in nats a token, got {kl}")
    if responses is not None and responses < 1:
        raise ValueError(f"responses must be at least 1 a rollout, got {responses}")
