"""A configuration as a tree: sections of sections, with values at dotted names."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from entrostat.doctor.read import is_interpolation, parsed_word

INTERPOLATION = re.compile(
    r"\$\{(oc\.select:)?(?P<name>[\w.]+)(,(?P<default>[^${}]*))?\}"
)
UNRESOLVED = object()
MAX_INTERPOLATIONS = 10
"""So many values that name another are followed: they may go in a circle."""


def nested(key: str, value: Any) -> dict[str, Any]:
    """The tree that holds one value, at a dotted name."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both trees; where both have a value, that of `above`."""
    both = dict(below)
    for key, value in above.items():
        under = both.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            value = merged(under, value)
        both[key] = value
    return both


def value_at(tree: Any, name: str) -> Any:
    """The value at a dotted name; None where there is none."""
    for part in name.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def resolved_at(tree: Mapping[str, Any], name: str) -> Any:
    """The value, through interpolations ${a.b.c} and ${oc.select:a.b.c,DEFAULT};
    UNRESOLVED where one names what is not there, or does something else."""
    value = value_at(tree, name)
    for _ in range(MAX_INTERPOLATIONS):
        if not is_interpolation(value):
            return value
        match = INTERPOLATION.fullmatch(value)
        if match is None:
            return UNRESOLVED
        found = value_at(tree, match["name"])
        if found is None and match["default"] is None:
            return UNRESOLVED
        value = found if found is not None else parsed_word(match["default"])
    return UNRESOLVED


def dotted_names(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of a tree."""
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from dotted_names(value, f"{prefix}{key}.")


def unknown_names(
    fields: Mapping[str, Any], known: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Dotted names in `fields` that `known` lacks."""
    # a class of one's own may have fields of its own
    both_name_a_class = "_target_" in fields and "_target_" in known
    own_class = both_name_a_class and fields["_target_"] != known["_target_"]
    for key, value in fields.items():
        if key not in known:
            if not own_class:
                yield f"{prefix}{key}"
            continue
        below = known[key]
        # an empty section is one whose names are not checked
        if isinstance(value, Mapping) and isinstance(below, Mapping) and below:
            yield from unknown_names(value, below, f"{prefix}{key}.")


def sections_as_values(
    given: Mapping[str, Any], known: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Sections of `known` that are no section but a value in `given`."""
    for key, below in known.items():
        if key not in given or not isinstance(below, Mapping):
            continue
        if isinstance(given[key], Mapping):
            yield from sections_as_values(given[key], below, f"{prefix}{key}.")
        elif given[key] is not None:
            yield f"{prefix}{key}"
