"""A configuration of a trainer in doctor/others.py: the settings of its entry, over its
defaults."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from entrostat.doctor.others import OTHERS
from entrostat.doctor.read import Source, is_interpolation
from entrostat.doctor.settings import Settings, checked, listed, unresolved


def other_settings(source: Source) -> Settings:
    """The settings of `source`, by their present names. ValueError for a value of a wrong
    type."""
    trainer = OTHERS[source.trainer or ""]
    given = dict(leaves(source.fields))
    for override in source.overrides:
        given[override.key] = override.value
    notes = [*source.notes]
    values, defaults, named = {}, {}, set()
    older, used, unknown = [], set(), set()
    for setting in trainer.settings.values():
        defaults[setting.name] = values[setting.name] = setting.default
        names = (setting.name, *setting.before)
        if source.open & set(names):
            unknown.add(setting.name)
        name = next((each for each in names if each in given), None)
        if name is None:
            continue
        used.add(name)
        if name != setting.name:
            older.append(f"{name} (now {setting.name})")
        if is_interpolation(given[name]):
            notes.append(unresolved(name, given[name]))
            unknown.add(setting.name)
            continue
        named.add(setting.name)
        values[setting.name] = checked(name, given[name], setting.kind, source.name)
    if older:
        notes.append(f"names of an older {trainer.title}: {listed(older)}")
    unread = [name for name in given if name not in used]
    if unread:
        notes.append(f"not read: {listed(unread)}")
    return Settings(
        source.trainer or "",
        trainer.version,
        values,
        defaults,
        notes=tuple(notes),
        stale=source.stale,
        named=frozenset(named),
        unknown=frozenset(unknown),
    )


def leaves(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested sections, each by its dotted name."""
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def flag_name(text: str) -> str:
    """--eps-clip as the table has it.

    >>> flag_name("--eps-clip")
    'eps_clip'
    """
    return re.sub("-", "_", text.lstrip("-+"))
