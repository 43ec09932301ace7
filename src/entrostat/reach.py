"""Whether a clip setting can move the entropy of a run, from three numbers of its log, in
one sentence.

The thresholds are those of docs/regime.md: paired branches with random rewards on one
small model. They are orders of magnitude, and say nothing of what a reward that can be
learned does to entropy.
"""

import math

PAGE = "docs/regime.md"
LEAST_CLIPPED = 1e-3
"""Share of trained tokens. With less on either side, no cell of the map has an odd part
over 1e-4 of ln H per rollout."""
NOISY_KL = 1e-2
"""Of a rollout, nats per token. Over it, with FEW responses, noise is as large as what a
clip does."""
FEW, MANY = 256, 1024
"""Responses per rollout. With FEW, noise on the map is as large as the effect; with MANY
(at a KL of 0.12) it is not. The map has nothing between them."""


def reach(*, clipped: float | None, kl: float | None, responses: int | None) -> str:
    """The sentence: too little is clipped, noise is as large, a clip setting can move
    entropy, or that is not known.

    A number that is not known is None. The sentence names those, unless too little is
    clipped, which no other number changes.

    Args:
        clipped: share of trained tokens that the clip takes, 0 to 1, on the side that
            takes more.
        kl: from the policy before a rollout's updates to the one after them, nats per
            token.
        responses: per rollout.

    Raises:
        ValueError: a share not within 0 and 1, a KL that is negative or not finite,
            responses under 1.

    >>> reach(clipped=0.0002, kl=1e-4, responses=4096).partition(":")[0]
    'Too little is clipped for a clip setting to move entropy'
    """
    _check(clipped, kl, responses)
    if clipped is not None and clipped < LEAST_CLIPPED:
        return (
            "Too little is clipped for a clip setting to move entropy: "
            f"{_percent(clipped)} of tokens on the side that clips more. Under "
            f"{_percent(LEAST_CLIPPED)} the map has no effect that a run would notice "
            f"({PAGE})."
        )
    known, not_read = _told(clipped, kl, responses)
    noisy = _noisy(kl, responses)
    if noisy:
        return (
            f"Noise moves entropy as much as a clip setting would: {', '.join(known)}, "
            f"and at a KL over {NOISY_KL:g} with {FEW} responses or fewer the two are of "
            f"one size{not_read} ({PAGE})."
        )
    if clipped is not None and noisy is False:
        return (
            f"A clip setting can move entropy here: {', '.join(known)}{not_read} "
            f"({PAGE})."
        )
    gap = (
        f"; the map has nothing between {FEW} and {MANY:,} responses at a KL over "
        f"{NOISY_KL:g}"
    )
    why = (", ".join(known) + (not_read or gap)).removeprefix("; ")
    return f"Whether a clip setting can move entropy here is not known: {why} ({PAGE})."


def _noisy(kl: float | None, responses: int | None) -> bool | None:
    """Whether noise is as large as the effect; None where that is not known."""
    if kl is not None and kl <= NOISY_KL:
        return False
    if responses is not None and responses >= MANY:
        return False
    if kl is None or responses is None or responses > FEW:
        return None
    return True


def _told(
    clipped: float | None, kl: float | None, responses: int | None
) -> tuple[list[str], str]:
    """What is known in words, and the end of a sentence that names what is not."""
    known, missing = [], []
    if clipped is None:
        missing.append("the share of clipped tokens")
    else:
        known.append(f"{_percent(clipped)} of tokens clipped on one side")
    if kl is None:
        missing.append("the KL of a rollout")
    else:
        known.append(f"a KL of {kl:.2g} nats per token and rollout")
    if responses is None:
        missing.append("responses per rollout")
    else:
        known.append(f"{responses:,} responses per rollout")
    return known, f"; not read: {' and '.join(missing)}" if missing else ""


def _percent(share: float) -> str:
    """To two digits.

    >>> _percent(0.001), _percent(0.0346), _percent(0.0)
    ('0.1%', '3.5%', '0%')
    """
    return f"{100 * share:.2g}%"


def _check(clipped: float | None, kl: float | None, responses: int | None) -> None:
    if clipped is not None and not 0 <= clipped <= 1:
        raise ValueError(f"clipped must be a share of tokens, 0 to 1, got {clipped}")
    if kl is not None and not 0 <= kl < math.inf:
        raise ValueError(
            f"kl must be finite and at least 0, in nats per token, got {kl}"
        )
    if responses is not None and responses < 1:
        raise ValueError(f"responses must be at least 1 per rollout, got {responses}")
