"""The tables of docs/regime.md from docs/results/regime.json, for bench/regime.py.

A table stands between <!-- NAME --> and <!-- end of NAME -->.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regime_fits import GRID

PAGE = Path(__file__).parent.parent / "docs" / "regime.md"


def filled(text: str, record: Mapping[str, Any]) -> str:
    """The page with its tables made anew. ValueError where it lacks the place of one."""
    for name, table in (("fits", fits_table(record["fits"])), ("map", map_table(record["cells"]))):
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"{PAGE} must hold {start.strip()} and {end.strip()} once")
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n{table}\n{end}{rest.partition(end)[2]}"
    return text


def fits_table(fits: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a line an exponent."""
    lines = ["| | against | exponent | theory |", "|---|---|---|---|"]
    for fit in fits:
        found = _exponent(**fit["exponent"])
        found += "" if fit["known"] else ": not known from these data"
        theory = f"{fit['theory']} ({fit['source']})" if fit["theory"] is not None else ""
        lines.append(f"| {fit['quantity']}, {fit['at']} | {fit['against']} | {found} | {theory} |")
    return "\n".join(lines) + "\n"


def _exponent(value: float, low: float, high: float) -> str:
    """With its interval, of which an end that the grid cuts off is shown as such."""
    start = f"under {low:.2f}" if low <= GRID[0] else f"{low:.2f}"
    end = f"over {high:.2f}" if high >= GRID[-1] else f"{high:.2f}"
    return f"{value:.2f} [{start}, {end}]"


def map_table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a line a cell and threshold; changes of ln H times 1,000."""
    heads = "responses, updates|learning rate|stale by|KL a rollout|drift, no clip|threshold|clipped|odd part|even part"
    lines = [f"| {heads.replace('|', ' | ')} |", "|---" * 9 + "|"]
    for cell in cells:
        point, measured = cell["point"], cell["measured"]
        where = [f"{responses(cell):,}, {point['updates_per_rollout']}", f"{point['learning_rate']:g}"]
        where += [f"{point['staleness']}", f"{kl(cell):.1e}", _shown(measured["drift"])]
        for eps in cell["eps"]:
            clipped = ", ".join(f"{share:.2%}" for share in shares(cell, eps))
            parts = [_shown(part(cell, name, eps)) for name in ("odd", "even")]
            lines.append(f"| {' | '.join([*where, f'{eps:g}', clipped, *parts])} |")
            where = [""] * len(where)
    return "\n".join(lines) + "\n"


def _shown(interval: Mapping[str, float]) -> str:
    return f"{1e3 * interval['value']:+.2f} ± {1e3 * (interval['high'] - interval['low']) / 2:.2f}"


def responses(cell: Mapping[str, Any]) -> int:
    """A rollout."""
    return cell["point"]["prompts"] * cell["point"]["samples"]


def kl(cell: Mapping[str, Any]) -> float:
    """Of a rollout without a clip, nats a token."""
    return cell["measured"]["means"]["no clipping"]["kl"]


def shares(cell: Mapping[str, Any], eps: float) -> tuple[float, float]:
    """Of the trained tokens, those that a threshold takes on each side alone."""
    means = cell["measured"]["means"]
    return means[f"low {eps} alone"]["clip_low"], means[f"high {eps} alone"]["clip_high"]


def part(cell: Mapping[str, Any], name: str, eps: float) -> Mapping[str, float]:
    """The odd or the even part: value, low and high, of ln H a rollout."""
    found = {effect["name"]: effect["log_entropy"] for effect in cell["measured"]["effects"]}
    return found[f"{name} part of {eps}"]
