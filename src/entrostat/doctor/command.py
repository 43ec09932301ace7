"""`entrostat doctor`: its options and what it answers."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional

from entrostat.doctor import Found, Settings, findings, read, settings
from entrostat.doctor.finding import instead
from entrostat.doctor.names import TITLES
from entrostat.doctor.others import OTHERS
from entrostat.doctor.reach import reached
from entrostat.doctor.settings import plain
from entrostat.doctor.verl_workers import answer_verl
from entrostat.registry import finite
from entrostat.strategies import STRATEGIES, make_strategy


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Settings of a run of TRL, verl or another trainer that do nothing, or something
    else than they say. Exit code 1 when there is one.

    CONFIG is the script that starts the run (bash, Python, a notebook; nothing is
    executed), a JSON, YAML or TOML file with the fields of a GRPOConfig or with verl's
    configuration, or module:object, which is imported. KEY=VALUE words behind it, or
    alone for verl, override it.
    """

    config: Positional[tuple[str, ...]] = ()
    """CONFIG [KEY=VALUE...]"""
    strategy: str | None = None
    """The entrostat strategy that the run will have, with its default options. verl's
    configuration may name it."""
    processes: int | None = None
    """Processes of the run, 1 unless a script says more; TRL derives steps_per_generation from them where only
    generation_batch_size is given."""
    clipped: float | None = None
    """From the run's log: the share of trained tokens that are clipped, on the side that
    clips more, such as 0.002."""
    kl: float | None = None
    """From the run's log: the KL of a rollout, from the policy before its updates to the
    one after, in nats per token."""
    verl: bool = False
    """Start a local Ray and ask its workers whether verl finds the plug-in there. Takes
    no CONFIG."""
    json: bool = False
    """Print the result as JSON."""

    def __post_init__(self):
        if self.verl and (self.config or self.strategy):
            raise ValueError(
                "--verl asks the workers of a local Ray and reads no CONFIG: run it by "
                "itself"
            )
        if self.strategy is not None:
            STRATEGIES.kind(self.strategy)
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"--processes must be at least 1, got {self.processes}")


def answer(options: Doctor) -> tuple[dict[str, Any], Any, int]:
    """A JSON-able result, the same to print, and the exit code: 1 with a finding.

    Raises ValueError or OSError for bad input. docs/doctor.md says what each field of the
    result is.
    """
    if options.verl:
        return answer_verl()
    source = read(options.config)
    config = settings(source)
    strategy = None if options.strategy is None else make_strategy(options.strategy)
    processes = options.processes
    if processes is None:
        processes = source.processes or 1
    results = findings(config, strategy, processes=processes)
    reach = reached(
        config,
        results,
        clipped=options.clipped,
        kl=options.kl,
        processes=processes,
    )
    answered = {
        "config": plain(source.name, None),
        "trainer": config.trainer,
        "title": _title(config.trainer),
        "version": config.version,
        "findings": [_row(found, config) for found in results],
        "notes": [plain(note, None) for note in config.notes],
        "reach": reach,
    }
    parts = [_table(answered), *_notes(answered["notes"]), Text(reach["sentence"])]
    if reach["look_at"]:
        parts.append(Text(reach["look_at"], style="dim"))
    return answered, Group(*parts), int(bool(results))


def _notes(notes: Sequence[str]) -> list[Text]:
    """What was not read, a line each."""
    return [Text(f"Note: {note}", style="dim") for note in notes]


def _title(trainer: str) -> str:
    return TITLES[trainer] if trainer in TITLES else OTHERS[trainer].title


def _row(found: Found, config: Settings) -> dict[str, Any]:
    """A finding as JSON."""
    advice = found.finding.value
    return {
        "finding": found.finding.name,
        "title": advice.title,
        "found": plain(found.said, None),
        "settings": finite(found.settings),
        "why": advice.why,
        "instead": instead(found.finding, config.trainer),
        "holds": advice.holds or None,
        "docs": found.finding.link,
    }


def _table(answered: dict[str, Any]) -> Any:
    """The findings for a terminal, or one line where there are none."""
    head = f"{answered['config']}, read as {answered['title']} {answered['version']}"
    rows = answered["findings"]
    if not rows:
        # what was not read or judged may hide something
        rest = "; not all was judged, see the notes" if answered["notes"] else ""
        return Text(f"{head}: nothing found{rest}")
    table = Table(
        title=Text(f"{head}: {len(rows)} found"), show_header=False, show_lines=True
    )
    table.add_column(no_wrap=True)
    table.add_column()
    for row in rows:
        # Text: what a file holds is never markup
        cell = Text(f"{row['found']}\n{row['why']}\n")
        cell.append(f"Instead: {row['instead']}\n")
        if row["holds"]:
            cell.append(f"Holds for {row['holds']}.\n")
        cell.append(row["docs"], style="dim")
        table.add_row(Text(row["title"], style="bold"), cell)
    return table
