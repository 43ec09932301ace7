"""Settings of TRL, verl and other trainers that do nothing, or something else than they
say, found before a run."""

import dataclasses
from typing import TYPE_CHECKING

from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.given import read
from entrostat.doctor.others import OTHERS
from entrostat.doctor.others_checks import other_findings
from entrostat.doctor.others_settings import other_settings
from entrostat.doctor.read import Source
from entrostat.doctor.settings import Settings, near_name
from entrostat.doctor.signature import trainer_of
from entrostat.doctor.trl import trl_settings
from entrostat.doctor.trl_checks import trl_findings
from entrostat.doctor.verl import verl_settings
from entrostat.doctor.verl_checks import verl_findings

if TYPE_CHECKING:
    from entrostat.strategies import Strategy

__all__ = [
    "Finding",
    "Found",
    "Settings",
    "Source",
    "findings",
    "near_name",
    "read",
    "settings",
    "warning",
]


def settings(source: Source) -> Settings:
    """The configuration as its trainer's. ValueError where it is no trainer's that is
    known, or holds a value that cannot be."""
    trainer = source.trainer or trainer_of(source)
    if trainer == "verl":
        return verl_settings(source)
    if trainer == "trl":
        return trl_settings(source)
    return other_settings(dataclasses.replace(source, trainer=trainer))


def findings(
    config: Settings, strategy: "Strategy | None" = None, *, processes: int = 1
) -> list[Found]:
    """What is wrong with a configuration.

    Args:
        strategy: the one of entrostat that the run will have, if any.
        processes: of the run.
    """
    if config.trainer == "verl":
        found = verl_findings(config, strategy)
    elif config.trainer in OTHERS:
        found = other_findings(config)
    else:
        found = trl_findings(config, strategy, processes=processes)
    # by a default that stands in for what is not known, a finding would be a guess
    return [each for each in found if not config.unknown & each.settings.keys()]


def warning(found: Found) -> str:
    """A finding in one line, for the start of a run."""
    return f"{found.finding.value.title}: {found.said} ({found.finding.link})"
