"""What an engine says of a run whose numbers have stopped to be numbers."""


def diverged(what: str, value: float, where: str) -> RuntimeError:
    """The error of a run that has diverged.

    Args:
        what: the number that shows it.
        where: such as "update 3".

    >>> str(diverged("the loss", float("nan"), "update 3"))[:48]
    'at update 3 the loss is nan: the run has diverge'
    """
    return RuntimeError(
        f"at {where} {what} is {value}: the run has diverged; resume from an earlier "
        "checkpoint with a lower learning_rate or max_grad_norm"
    )
