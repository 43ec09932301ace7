"""What a comparison asks for, checked before torch is imported."""

MOST_SEEDS = 1000


def check_asked(methods: int, seeds: int, target: float | None) -> None:
    """Raises ValueError for no method, for a number of seeds that there is not, and for
    a target that is no entropy in nats."""
    if methods == 0:
        raise ValueError(
            "no method given: entrostat compare METHOD..., each one word, quoted with "
            "its options"
        )
    if not 1 <= seeds <= MOST_SEEDS:
        raise ValueError(f"--seeds must be from 1 to {MOST_SEEDS}, got {seeds}")
    if target is not None and not 0 < target < float("inf"):
        raise ValueError(f"--target must be over 0 nats, got {target}")
