"""Settings of TRL and verl that do nothing, or something else than they say, found before a run."""

from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.read import Source, read
from entrostat.doctor.settings import Settings, near_name
from entrostat.doctor.trl import field_names, trl_findings, trl_settings
from entrostat.doctor.verl import FREE, sections, verl_findings, verl_settings
from entrostat.strategies import Strategy

__all__ = [
    "Finding",
    "Found",
    "Settings",
    "Source",
    "findings",
    "read",
    "settings",
    "warning",
]


def settings(source: Source, *, ignore_unknown: bool = False) -> Settings:
    """The configuration as TRL's or verl's. ValueError where it is neither or both, or holds what cannot be."""
    names = set(source.fields) | {key.split(".")[0] for key, _, _ in source.overrides}
    verl = names & sections()
    # TRL takes seconds to import, and a plain verl file has no need of it
    trl = names & field_names() if names - verl - FREE else set()
    if verl and trl:
        raise ValueError(
            f"{source.name} is both: {min(verl)} is a section of verl's configuration, {min(trl)} a field of GRPOConfig"
        )
    if verl:
        return verl_settings(source, ignore_unknown=ignore_unknown)
    if not trl:
        near = (
            near_name(min(names), field_names() | sections())
            if names
            else "it is empty"
        )
        raise ValueError(
            f"{source.name} holds no field of TRL's GRPOConfig and no section of verl's configuration: {near}"
        )
    return trl_settings(source, ignore_unknown=ignore_unknown)


def findings(
    found: Settings, strategy: Strategy | None = None, *, processes: int = 1
) -> list[Found]:
    """What is wrong with it. `strategy`: the one of entrostat that it will run with, if any."""
    if found.trainer == "verl":
        return verl_findings(found, strategy)
    return trl_findings(found, strategy, processes=processes)


def warning(found: Found) -> str:
    """A finding in one line, for the start of a run."""
    return f"{found.finding.value.title}: {found.said} ({found.finding.link})"
