"""Settings of TRL and verl that do nothing, or something else than they say, found before
a run."""

from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.given import read
from entrostat.doctor.read import Source
from entrostat.doctor.settings import Settings, near_name
from entrostat.doctor.trl import field_names, trl_settings
from entrostat.doctor.trl_checks import trl_findings
from entrostat.doctor.verl import FREE, sections, verl_settings
from entrostat.doctor.verl_checks import verl_findings
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


def settings(source: Source, *, ignore_unknown: bool = False) -> Settings:
    """The configuration as TRL's or verl's. ValueError where it is neither or both, or
    holds a value that cannot be."""
    if source.trainer == "verl":
        return verl_settings(source, ignore_unknown=ignore_unknown)
    if source.trainer == "trl":
        return trl_settings(source, ignore_unknown=ignore_unknown)
    names = set(source.fields)
    names.update(override.key.split(".")[0] for override in source.overrides)
    verl = names & sections()
    others = names - verl - FREE
    # TRL takes seconds to import, and a plain verl file does not need it
    trl = names & field_names() if others else set()
    if verl and trl:
        raise ValueError(
            f"{source.name} is both: {min(verl)} is a section of verl's configuration, "
            f"{min(trl)} a field of GRPOConfig"
        )
    if verl:
        return verl_settings(source, ignore_unknown=ignore_unknown)
    if trl:
        return trl_settings(source, ignore_unknown=ignore_unknown)
    why = "it is empty"
    if names:
        why = near_name(min(names), field_names() | sections())
    raise ValueError(
        f"{source.name} holds no field of TRL's GRPOConfig and no section of verl's "
        f"configuration: {why}"
    )


def findings(
    config: Settings, strategy: Strategy | None = None, *, processes: int = 1
) -> list[Found]:
    """What is wrong with a configuration.

    Args:
        strategy: the one of entrostat that the run will have, if any.
        processes: of the run.
    """
    if config.trainer == "verl":
        return verl_findings(config, strategy)
    return trl_findings(config, strategy, processes=processes)


def warning(found: Found) -> str:
    """A finding in one line, for the start of a run."""
    return f"{found.finding.value.title}: {found.said} ({found.finding.link})"
