"""An engine overrides methods of a trainer that it does not own, and reads what the
trainer's methods read.

If the trainer's next release renames one, the trainer no longer calls ours, and no error
says so: a controller's state would be missing from every checkpoint. So the names are
checked when the engine's class is created.
"""

import inspect
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any


def methods_of(surface: type) -> tuple[str, ...]:
    """Every method of a trainer's that a class which lists them has."""
    return tuple(
        name
        for name, member in vars(surface).items()
        if inspect.isfunction(member) and not name.startswith("__")
    )


def check_overrides(cls: type, base: type, names: Iterable[str], what: str) -> None:
    """Raises RuntimeError where `base` lacks one of the methods that `cls` overrides.

    Args:
        cls: our class.
        base: the trainer's class.
        names: every method of ours that the trainer is to call.
        what: the release that fits, such as "trl==1.16.0".
    """
    missing = [name for name in names if not hasattr(base, name)]
    if missing:
        raise RuntimeError(
            f"{base.__module__}.{base.__qualname__} has no {', '.join(missing)}, which "
            f"{cls.__name__} overrides: install {what}"
        )


def check_used(
    trainer: type,
    functions: Iterable[Any],
    names: Iterable[str],
    what: str,
    *,
    where: str = "",
) -> None:
    """Raises RuntimeError for those of `names` that occur in none of the functions.

    Args:
        trainer: whose functions they are; the error names it.
        what: the release that fits.
        where: completes "does not use NAME", such as " in compute_loss".
    """
    used: set[str] = set()
    for function in functions:
        used |= _names_in(inspect.unwrap(function).__code__)
    unused = [name for name in names if name not in used]
    if unused:
        raise RuntimeError(
            f"{trainer.__module__}.{trainer.__qualname__} does not use "
            f"{', '.join(unused)}{where}, which entrostat rests on: install {what}"
        )


def functions_of(cls: type) -> Iterator[Any]:
    """The methods of a class and of its bases."""
    for base in cls.__mro__:
        for member in vars(base).values():
            if inspect.isfunction(member):
                yield member


def versions_of(cls: type, name: str) -> Iterator[Any]:
    """A method as each base of the class defines it, the outermost first."""
    for base in cls.__mro__:
        if name in vars(base):
            yield vars(base)[name]


def trainer_below(cls: type, ours: type, trainer: type) -> type | None:
    """The trainer that `cls` mixes ours into; None where it is a mixin still.

    Args:
        ours: the base of our mixins.
        trainer: the one that they are made for.
    """
    for base in cls.__mro__:
        # only a trainer has `train`
        theirs = issubclass(base, trainer) or hasattr(base, "train")
        if theirs and not issubclass(base, ours):
            return base
    return None


def stands_before(cls: type, trainer: type, ours: type) -> bool:
    """Whether `cls` names the trainer before one of our mixins, whose methods would never
    run."""
    order = cls.__mro__
    return any(issubclass(base, ours) for base in order[order.index(trainer) :])


def _names_in(code: CodeType) -> set[str]:
    """Attributes and whole strings that compiled code mentions.

    The compiled code is read, and not the source, because it is exact (no comments) and
    there also where the source is not.
    """
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # a function inside, or a comprehension
            names |= _names_in(constant)
        elif isinstance(constant, str):
            names.add(constant)
        elif isinstance(constant, tuple):  # the keys of a dict
            names.update(part for part in constant if isinstance(part, str))
    return names
