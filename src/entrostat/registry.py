"""A registry: frozen dataclasses by name, whose fields are their options."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from entrostat.lazy import load
from entrostat.texts import near

T = TypeVar("T")


class Registry(Mapping[str, type[T]]):
    """The classes of one kind of thing by name: strategies, objectives, methods.

    Args:
        what: what an error calls one of them, such as "strategy".
        paths: "module:Class" of frozen dataclasses. A class stands under one name, and
            its module is imported when it is asked for.
    """

    def __init__(self, what: str, paths: Mapping[str, str]):
        self.what = what
        self.paths = dict(paths)
        self._names = {path: name for name, path in self.paths.items()}

    def __getitem__(self, name: str) -> type[T]:
        return load(self.paths[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __contains__(self, name: object) -> bool:
        # that of Mapping would import the class
        return name in self.paths

    def path(self, name: str) -> str:
        """The "module:Class" of that name, which is not imported. ValueError, naming the
        near ones, where there is none."""
        if name not in self.paths:
            raise ValueError(f"unknown {self.what} {name!r}: {near(name, self.paths)}")
        return self.paths[name]

    def kind(self, name: str) -> type[T]:
        """The class of that name; ValueError as of `path`."""
        return load(self.path(name))

    def make(self, name: str, **options: Any) -> T:
        """The thing of that name, its options as keywords.

        Raises ValueError for an unknown name or option, naming the near ones, and for a
        value out of range.
        """
        kind = self.kind(name)
        known = [field.name for field in dataclasses.fields(kind)]  # pyright: ignore[reportArgumentType]
        for option in options:
            if option not in known:
                raise ValueError(
                    f"{self.what} {name!r} has no option {option!r}: "
                    f"{near(option, known)}"
                )
        return kind(**options)

    def name_of(self, thing: Any) -> str:
        """The name of its class, or the class's own name when it is somebody's own."""
        kind = type(thing)
        path = f"{kind.__module__}:{kind.__qualname__}"
        return self._names.get(path, kind.__name__)

    def as_arguments(self, thing: Any) -> list[str]:
        """The thing as words of the command line: its name, and the options that are not
        its defaults."""
        return [self.name_of(thing), *flags(thing)]

    def to_json(self, thing: Any) -> dict[str, Any]:
        """{"name", "options"}, strict JSON: inf is text."""
        return {
            "name": self.name_of(thing),
            "options": finite(dataclasses.asdict(thing)),
        }

    def from_json(self, record: Mapping[str, Any]) -> T:
        """The thing that `to_json` described. KeyError or TypeError where it did not."""
        options = {name: _number(value) for name, value in record["options"].items()}
        return self.make(record["name"], **options)


def finite(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with inf as text: it has no JSON."""
    return {name: _json(value) for name, value in options.items()}


def _json(value: Any) -> Any:
    is_infinite = isinstance(value, float) and not math.isfinite(value)
    return str(value) if is_infinite else value


def _number(value: Any) -> Any:
    return float(value) if value in ("inf", "-inf") else value


def flags(chosen: Any) -> list[str]:
    """A dataclass's options that are not its defaults, as words of the command line.

    As tyro reads them: --name value, --flag or --no-flag, and several words for a tuple.
    """
    words: list[str] = []
    for field in dataclasses.fields(chosen):
        value = getattr(chosen, field.name)
        if value == _default(field):
            continue
        name = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
            continue
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{name}", *map(str, values)]
    return words


def _default(field: Any) -> Any:
    """The default of a dataclass's field, made anew where it has a factory."""
    if field.default_factory is dataclasses.MISSING:
        return field.default
    return field.default_factory()
