"""Claims and the results of their checks as the Markdown page docs/claims.md."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from entrostat.reproduce.claim import Claim, Standing

Report = dict[str, Any]
"""A result as it is written to a file: `Claim.report` and what command.py adds."""
Cells = list[str]

INTRO = """# The papers' claims

Claims of arXiv 2509.26114 (a1, a2, ...) and arXiv 2602.09782 (b1, b2, ...), and a common
misreading of both (c1). Each check is a command, its criterion fixed before its runs. a1
and a2 are checked on exact policies, the others on a tiny model in minutes of CPU: the
results hold at this scale.
"""

READING = """## How to read this page

| standing | verdict | what it means |
|---|---|---|
| reproduced | holds | the interval of each part lies where the claim wants it |
| open | undecided | no interval lies wholly on the wrong side, some reach over it: the runs do not decide |
| contradicted | fails | an interval lies wholly on the wrong side |
| not reproduced at this scale | fails | the same, and the lab lacks something of the paper's set-up |

| term | meaning |
|---|---|
| not reproduced at this scale | the section says what the lab lacks; no run shows that it is the cause |
| number in the table | of the part furthest on the wrong side, or the claim's own where it is reproduced |
| interval | 95%, over seeds, Student's t, not corrected for the number of parts; under three seeds nothing is decided |
| least effect | what a two-sided 5% t test over as many seeds finds in four cases of five |
| 0.2/inf | low = 0.2, high = inf |
| H; "per rollout" | mean token entropy, nats; by the updates on one rollout |
| clip_low, clip_high | the shares of trained tokens that the sides take |

Other words are in the [glossary](glossary.md). Where a criterion has been replaced, the
section says so. The first checks, whole runs of 256 responses at 1e-4, came out
otherwise: a4, a6, a8, a9 and b3 failed, a7, b2, b4 to b8 and c1 were undecided
([log](../dev/LOG.md), 2026-11-21).
"""

COMMANDS = """## The commands

    entrostat reproduce                 # the list
    entrostat reproduce a4 b1           # some, in full; a stopped set goes on where it was
    entrostat reproduce --all --fast    # signs of all, in minutes

`make claims` writes this page from docs/results/reproduce; CI fails where it differs.
There, runs.jsonl has every run: its command, versions, entropy by rollout, right samples
by problem. NAME.md is the text below a claim's parts, written after the runs.
"""

GPU_COLUMNS = ("arm", "reward", "rollouts", "seeds", "effect", "low", "high", "device")
GPU_TEXT = """512 prompts x 8 responses and 16 updates per rollout, as in arXiv 2509.26114
(bench/regime_gpu.py). The effect of an arm is what its clip does to ln H against the
same updates without a clip. For the arm without a clip it is the drift.
"""


def page(
    claims: Sequence[Claim],
    reports: Mapping[str, Report],
    gpu: Sequence[Mapping[str, Any]] = (),
) -> str:
    """How to read the results, a table of all claims, then each one's section.

    A report's `remark`, written by hand after the runs, stands below its parts. `gpu`:
    rows of `gpu_section`.
    """
    pieces = [INTRO, _counted(claims, reports), READING]
    if gpu:
        pieces.append(gpu_section(gpu))
    heads = ["claim", "statement", "standing", "parts that hold", "what decides it"]
    rows = [_row(claim, reports.get(claim.name)) for claim in claims]
    pieces += ["## All claims\n", _markdown(heads, rows), COMMANDS]
    for claim in claims:
        if claim.name in reports:
            pieces.append(_section(claim, reports[claim.name]))
    return "\n".join(pieces).rstrip("\n")


def gpu_section(rows: Sequence[Mapping[str, Any]]) -> str:
    """A section from rows that were measured in the paper's own batch on a GPU.

    A row has GPU_COLUMNS: a clip, its effect on ln H per rollout with the ends of its
    95% interval (None for one seed), and the GPU's name.

    Raises:
        ValueError: a row without one of these.
    """
    table = []
    for number, row in enumerate(rows, 1):
        missing = [name for name in GPU_COLUMNS if name not in row]
        if missing:
            raise ValueError(
                f"row {number} of the GPU's results has no {missing[0]}: "
                f"needs {', '.join(GPU_COLUMNS)}"
            )
        effect = estimate({**row, "value": row["effect"]})
        counts = [str(row["rollouts"]), str(row["seeds"])]
        table.append([row["arm"], row["reward"], *counts, effect])
    devices = " and ".join(dict.fromkeys(str(row["device"]) for row in rows))
    effect = "effect on ln H per rollout, 95% interval"
    heads = ["clip", "reward", "rollouts", "seeds", effect]
    title = f"## In the paper's own batch, on {devices}"
    return f"{title}\n\n{GPU_TEXT}\n{_markdown(heads, table)}"


def decides(report: Report) -> str:
    """The number that the verdict turns on, what it is, and what was wanted of it."""
    for part in report["parts"]:
        if part["what"] == report["deciding"]:
            # where the claim holds, the deciding part is its own number
            holds = report["verdict"] == "holds"
            what = report["measure"] if holds else part["what"]
            return f"{estimate(part['interval'])}: {what}; wanted {part['wanted']}"
    interval = report["interval"]
    value = estimate(interval) if interval else number(report["effect"])
    return f"{value}: {report['measure']}"


def estimate(interval: Mapping[str, Any]) -> str:
    """The mean and its interval.

    Without an interval it is the mean with the seeds' own numbers, where they are known.
    """
    mean = number(interval["value"])
    if interval["low"] is not None:
        return f"{mean} [{number(interval['low'])}, {number(interval['high'])}]"
    points = interval.get("points", ())
    if interval["value"] is None or not points:
        return mean
    return f"{mean} ({', '.join(map(number, points))})"


def number(value: Any) -> str:
    """To three digits; a text or an integer as it is."""
    if value is None:
        return "no number"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _counted(claims: Sequence[Claim], reports: Mapping[str, Report]) -> str:
    """How many claims have each standing."""
    counts = Counter(report["standing"] for report in reports.values())
    said = [f"{counts[standing]} {standing}" for standing in get_args(Standing)]
    missing = len(claims) - len(reports)
    if missing:
        said.append(f"{missing} not run in full yet")
    return f"Of {len(claims)} claims: **{', '.join(said)}**.\n"


def _row(claim: Claim, report: Report | None) -> Cells:
    """The claim's row in the table of all claims."""
    if report is None:
        return [claim.name, claim.statement, "not run in full yet", "", ""]
    parts = report["parts"]
    held = sum(part["verdict"] == "holds" for part in parts)
    ratio = f"{held} of {len(parts)}" if parts else ""
    link = f"[{claim.name}](#{claim.name})"
    return [link, claim.statement, _standing(report), ratio, decides(report)]


def _standing(report: Report) -> str:
    reason = f": {report['reason']}" if report["reason"] else ""
    return f"**{report['standing']}**{reason}"


def _section(claim: Claim, report: Report) -> str:
    paragraphs = [f"## {report['claim']}", _card(claim, report)]
    if report["parts"]:
        paragraphs.append(_parts(report["parts"]))
    if report.get("remark"):
        paragraphs.append(report["remark"])
    if report["numbers"]:
        paragraphs.append(_numbers(report["numbers"]))
    return "\n\n".join(map(str.rstrip, paragraphs)) + "\n"


def _card(claim: Claim, report: Report) -> str:
    """What was asked, how it was judged, what follows, and the command."""
    rows = [
        ["verdict", f"{report['verdict']}: {_standing(report)}"],
        ["in practice", report["use"]],
        ["criterion", report["criterion"]],
    ]
    if report["criterion"] != claim.criterion:
        rows.append(["present criterion, not measured yet", claim.criterion])
    rows.append(["command", f"`{report['command']}`: {_cost(report)}"])
    heads = ["claim", f"{report['statement']} ({report['source']})"]
    return _markdown(heads, rows)


def _parts(parts: Sequence[Mapping[str, Any]]) -> str:
    heads = ["part", "seeds", "mean, 95% interval", "wanted", "least effect", "verdict"]
    rows = []
    for part in parts:
        interval = part["interval"]
        seeds, least = str(len(interval["points"])), number(part["least"])
        mean = estimate(interval)
        rows.append([part["what"], seeds, mean, part["wanted"], least, part["verdict"]])
    return _markdown(heads, rows)


def _cost(report: Report) -> str:
    """How many runs were trained, how long it took, and by which versions."""
    versions = ", ".join(map(" ".join, report["versions"].items()))
    runs = len(report["runs"])
    trained = f"{runs} run{'s' if runs > 1 else ''}, " if runs else ""
    return f"{trained}{report['seconds']:.0f} s of one core, {versions}"


def _numbers(values: Mapping[str, Any]) -> str:
    """A table of the other numbers.

    Where all are named `THIS: THAT`, each THIS with each THAT, it is a table of the two,
    with the longer one down the page. Otherwise each number has a row.
    """
    grid: dict[tuple[str, str], str] = {}
    for name, value in values.items():
        this, _, that = name.rpartition(": ")
        grid[this, that] = _value(value)
    these, those = zip(*grid, strict=True)
    down, across = list(dict.fromkeys(these)), list(dict.fromkeys(those))
    complete = len(down) * len(across) == len(grid)
    if not complete or min(len(down), len(across)) < 2:
        rows = [[name, _value(value)] for name, value in values.items()]
        return _markdown(["other numbers", ""], rows)
    if len(across) > len(down):
        down, across = across, down
        grid = {(that, this): text for (this, that), text in grid.items()}
    rows = [[this, *(grid[this, that] for that in across)] for this in down]
    return _markdown(["other numbers", *across], rows)


def _value(value: Any) -> str:
    return estimate(value) if isinstance(value, dict) else number(value)


def _markdown(heads: Cells, rows: Sequence[Cells]) -> str:
    """A table of these heads and rows."""
    lines = [_line(heads), "|" + "---|" * len(heads)]
    for row in rows:
        lines.append(_line(map(_escaped, row)))
    return "\n".join(lines) + "\n"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
