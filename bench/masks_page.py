"""The tables of docs/masks.md from docs/results/masks.jsonl, for bench/masks.py.

A table stands between <!-- NAME --> and <!-- end of NAME -->.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from entrostat.estimate import Interval, seed_interval

PAGE = Path(__file__).parent.parent / "docs" / "masks.md"
SIDES = {"low": -1, "high": 1}
"""Sign with which a side's dropped tokens enter theorem 1."""
STATISTICS = {"ratio": "r - 1", "probability": "p - p_old"}


def write(results: Path) -> None:
    """Makes the page's tables anew."""
    records = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), records), encoding="utf-8")


def filled(text: str, records: Sequence[Mapping[str, Any]]) -> str:
    """The page with its tables made anew. ValueError where it lacks the place of one."""
    for name, table in (("effects", effects(records)), ("dropped", dropped(records))):
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"{PAGE} must hold {start.strip()} and {end.strip()} once")
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n{table}\n{end}{rest.partition(end)[2]}"
    return text


def effects(records: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a line a cell, statistic and side, with the sign of theorem 1 and the effect measured."""
    lines = [
        "| learning rate | mask on | side | dropped | theorem 1 | ln H a rollout, x 1,000 | entropy |",
        "|---" * 7 + "|",
    ]
    for cell, paired in by_cell(records, "paired").items():
        walks = by_cell(records, "dropped")[cell]
        where = f"{cell.removeprefix('lr')} ({len(paired)} rollouts)"
        for statistic, letter in STATISTICS.items():
            for side in SIDES:
                size = chosen(paired, statistic, side)
                share = sum(r["arms"][f"{statistic} {side}"][1] for r in paired) / len(paired)
                said = sign(first_order(walks, f"{statistic} {side} {size:g}"))
                found = seed_interval([1e3 * r["arms"][f"{statistic} {side}"][0] for r in paired])
                mask = f"{letter} {'<' if side == 'low' else '>'} {'-' if side == 'low' else ''}{size:g}"
                lines.append(
                    f"| {where} | {mask} | {side} | {share:.1%} | {said} | {shown(found)} | {WORDS[sign(found)]} |"
                )
                where = ""
            lines.append(_odd_row(statistic, letter, paired, walks))
        lines.append(_difference_row(paired))
    return "\n".join(lines) + "\n"


WORDS = {"+": "rises", "-": "falls", "0": "not decided"}


def _odd_row(statistic: str, letter: str, paired: Sequence[Any], walks: Sequence[Any]) -> str:
    size = chosen(paired, statistic, "low")
    said = seed_interval([_worth(r, f"{statistic} {{}} {size:g}", -1) for r in walks])
    found = seed_interval(odd(paired, statistic))
    rule = {"+": "the papers' rule", "-": "turned round", "0": "not decided"}[sign(found)]
    return f"| | {letter} | odd part | | {sign(said)} | {shown(found)} | {rule} |"


def _difference_row(paired: Sequence[Any]) -> str:
    pairs = zip(odd(paired, "ratio"), odd(paired, "probability"), strict=True)
    found = seed_interval([ratio - probability for ratio, probability in pairs])
    return f"| | r - 1 less p - p_old | odd part | | | {shown(found)} | |"


def odd(paired: Sequence[Any], statistic: str) -> list[float]:
    """(low - high) / 2 of each rollout, x 1,000."""
    return [1e3 * (r["arms"][f"{statistic} low"][0] - r["arms"][f"{statistic} high"][0]) / 2 for r in paired]


def dropped(records: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: which tokens each mask takes, low and high, by its threshold."""
    heads = "learning rate | mask on | threshold | taken | mean p_old | mean bracket | theorem 1: low, high, odd part"
    lines = [f"| {heads} |", "|---" * 7 + "|"]
    for cell, walks in by_cell(records, "dropped").items():
        where = cell.removeprefix("lr")
        total = added(walks)
        for statistic, letter in STATISTICS.items():
            for size in dict.fromkeys(name.split()[-1] for name in total if name.startswith(statistic)):
                both = [total[f"{statistic} {side} {size}"] for side in SIDES]
                shares = ", ".join(f"{numbers[0] / total['all'][0]:.2%}" for numbers in both)
                old = ", ".join(f"{numbers[3] / numbers[0]:.2f}" for numbers in both)
                unit = total["all"][1] / total["all"][0]
                brackets = ", ".join(f"{numbers[1] / numbers[0] / unit:+.2f}" for numbers in both)
                signs = [sign(first_order(walks, f"{statistic} {side} {size}")) for side in SIDES]
                signs.append(sign(seed_interval([_worth(r, f"{statistic} {{}} {size}", -1) for r in walks])))
                lines.append(f"| {where} | {letter} | {size} | {shares} | {old} | {brackets} | {', '.join(signs)} |")
                where = ""
    return "\n".join(lines) + "\n"


def added(walks: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The sums of all rollouts."""
    total: dict[str, list[float]] = {}
    for record in walks:
        for name, numbers in record["sums"].items():
            before = total.get(name, [0.0] * len(numbers))
            total[name] = [a + b for a, b in zip(before, numbers, strict=True)]
    return total


def first_order(walks: Sequence[Mapping[str, Any]], mask: str) -> Interval:
    """Theorem 1's change of entropy by a mask's side, up to a positive factor, over rollouts."""
    side = SIDES[mask.split()[1]]
    return seed_interval([side * record["sums"][mask][1] / record["sums"]["all"][0] for record in walks])


def _worth(record: Mapping[str, Any], mask: str, sign: int) -> float:
    """The odd part of theorem 1's change in one rollout: (low - high) / 2."""
    low, high = (record["sums"][mask.format(side)][1] for side in SIDES)
    return sign * (low + high) / 2 / record["sums"]["all"][0]


def chosen(paired: Sequence[Mapping[str, Any]], statistic: str, side: str) -> float:
    """The threshold of a cell's arm."""
    return paired[0]["sizes"][f"{statistic} {side}"]


def by_cell(records: Sequence[Mapping[str, Any]], kind: str) -> dict[str, list[Mapping[str, Any]]]:
    """The records of one kind."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if record["kind"] == kind:
            found.setdefault(record["cell"], []).append(record)
    return found


def sign(interval: Interval) -> str:
    """+ or - where the interval lies on one side of 0."""
    if interval.low > 0:
        return "+"
    return "-" if interval.high < 0 else "0"


def shown(interval: Interval) -> str:
    return f"{interval.value:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"
