"""An engine overrides methods of a trainer that it does not own.

If the trainer's next release renames one, the trainer no longer calls ours, and no error
says so: a controller's state would be missing from every checkpoint. So the names are
checked when the engine's class is created.
"""

from collections.abc import Iterable


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
