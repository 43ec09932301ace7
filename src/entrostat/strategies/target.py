"""A target of entropy, as it is written: in nats, or in units of the initial entropy."""

from entrostat.schedule import Schedule, parse_schedule


def parse_target(text: str | float) -> tuple[Schedule, bool]:
    """The schedule, and whether its entropies are in units of the initial one.

    >>> parse_target("0.8x"), parse_target("linear:0.43:0.12")
    ((Constant(value=0.8), True), (Linear(start=0.43, end=0.12), False))

    Raises:
        ValueError: no schedule, or an x behind some of its entropies and not behind
            others.
    """
    if not isinstance(text, str):
        return parse_schedule(text), False
    words = text.split(":")
    entropies = _entropies(words)
    relative = bool(words[entropies]) and all(
        word.endswith("x") for word in words[entropies]
    )
    if relative:
        words[entropies] = [word.removesuffix("x") for word in words[entropies]]
    try:
        return parse_schedule(":".join(words), given=text), relative
    except ValueError as error:
        raise ValueError(
            f"{error}; an x behind every entropy means: of the initial one, as in 0.8x"
        ) from None


def _entropies(words: list[str]) -> slice:
    """Which words of a schedule are entropies. The others are its name, a progress or
    a number of rollouts."""
    if len(words) == 1:
        return slice(0, 1)
    match words[0]:
        case "sine" | "step":
            return slice(1, 3)
        case "piecewise":
            return slice(2, None, 2)
    return slice(1, None)
