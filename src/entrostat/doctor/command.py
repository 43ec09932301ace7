"""`entrostat doctor`: its options and what it answers."""

import dataclasses
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional

from entrostat.doctor import Found, Settings, findings, read, settings
from entrostat.doctor.reach import reached
from entrostat.doctor.verl_workers import answer_verl
from entrostat.strategies import STRATEGIES, make_strategy


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Settings of a TRL or verl run that do nothing, or something else than they say. Exit 1 when there is one.

    CONFIG is a JSON, YAML or TOML file with the fields of a GRPOConfig or with verl's configuration, or module:object,
    which is imported. KEY=VALUE words behind it, or alone for verl, override it.
    """

    config: Positional[tuple[str, ...]] = ()
    """CONFIG [KEY=VALUE...]"""
    strategy: str | None = None
    """The entrostat strategy that the run will have, with its default options. verl's configuration may name it."""
    processes: int = 1
    """Processes of the run; TRL derives steps_per_generation from them where only generation_batch_size is given."""
    clipped: float | None = None
    """Of the run's log: share of trained tokens that the clip takes on the side that takes more, such as .002."""
    kl: float | None = None
    """Of the run's log: KL of a rollout, of the policy before its updates from the one after, nats a token."""
    ignore_unknown: bool = False
    """Pass over fields that the trainer does not have."""
    verl: bool = False
    """Start a local Ray and ask its workers whether verl finds the plug-in there. Takes no CONFIG."""
    json: bool = False
    """Print the result as JSON."""

    def __post_init__(self):
        if self.verl and (self.config or self.strategy):
            raise ValueError(
                "--verl asks the workers of a local Ray and reads no CONFIG: run it by itself"
            )
        if self.strategy is not None and self.strategy not in STRATEGIES:
            make_strategy(self.strategy)
        if self.processes < 1:
            raise ValueError(f"--processes must be at least 1, got {self.processes}")


def answer(options: Doctor) -> tuple[dict[str, Any], Any, int]:
    """A JSON-able result, the same to print, and the exit code. ValueError or OSError for bad input."""
    if options.verl:
        return answer_verl()
    source = read(options.config)
    config = settings(source, ignore_unknown=options.ignore_unknown)
    strategy = None if options.strategy is None else make_strategy(options.strategy)
    found = findings(config, strategy, processes=options.processes)
    rows = [_row(one, config) for one in found]
    result = {
        "config": source.name,
        "trainer": config.trainer,
        "version": config.version,
        "findings": rows,
    }
    result["reach"] = reached(
        config,
        found,
        clipped=options.clipped,
        kl=options.kl,
        processes=options.processes,
    )
    return result, Group(_table(result), *_reach(result["reach"])), int(bool(found))


def _reach(said: dict[str, Any]) -> list[Text]:
    note = [Text(said["look_at"], style="dim")] if said["look_at"] else []
    return [Text(said["sentence"]), *note]


def _row(found: Found, config: Settings) -> dict[str, Any]:
    advice = found.finding.value
    return {
        "finding": found.finding.name,
        "title": advice.title,
        "found": found.said,
        # JSON has no inf
        "settings": {
            k: str(v) if v in (float("inf"), -float("inf")) else v
            for k, v in found.settings.items()
        },
        "why": advice.why,
        "instead": advice.trl if config.trainer == "trl" else advice.verl,
        "docs": found.finding.link,
    }


def _table(result: dict[str, Any]) -> Any:
    head = f"{result['config']}, read as {'TRL' if result['trainer'] == 'trl' else 'verl'} {result['version']}"
    if not result["findings"]:
        return Text(f"{head}: nothing found")
    table = Table(
        title=Text(f"{head}: {len(result['findings'])} found"),
        show_header=False,
        show_lines=True,
    )
    table.add_column(no_wrap=True)
    table.add_column()
    for row in result["findings"]:
        # Text: what a file holds is never markup
        cell = Text(f"{row['found']}\n{row['why']}\n")
        cell.append(f"Instead: {row['instead']}\n").append(row["docs"], style="dim")
        table.add_row(Text(row["title"], style="bold"), cell)
    return table
