"""`entrostat reproduce`: its options, what it trains and judges, and what it answers.

OUT/runs.jsonl     a record a run (runs.py)
OUT/a4.json        a claim's result; OUT/a4.fast.json, OUT/a4.seeds2.json that of its fast version, or over fewer seeds
OUT/a4.md          what its reader should know of it, if anybody wrote that down
OUT/../regime-gpu.json  rows of the paper's own batch on a GPU (show.gpu_section), if somebody had one
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from tyro.conf import Positional

import entrostat
from entrostat.files import write_json
from entrostat.lab.train import quiet
from entrostat.reproduce import CLAIMS, Claim, Mode, chosen
from entrostat.reproduce.judge import undecided
from entrostat.reproduce.runs import Records
from entrostat.reproduce.show import Bar, listing, page, table

CHUNK = 32
"""Runs between two writings of results."""
GPU_FILE = "regime-gpu.json"


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Checks claims of arXiv 2509.26114 and 2602.09782; without a name it lists them. Exit 1 when one fails.

    A set that was stopped goes on where it was: give the same command again.
    """

    claims: Positional[tuple[str, ...]] = ()
    """Names of claims."""
    all: bool = False
    """Check every claim: about 3 hours on two cores; with --fast under 15 minutes."""
    fast: bool = False
    """Few seeds and short runs: the signs, and that the check works. A criterion speaks of the full runs, so what
    stands on runs stays `undecided`."""
    seeds: int | None = None
    """Repetitions of each check, seeds 0, 1, ...; by default each claim's own number. Under 3 a run decides nothing."""
    out: Path = Path("runs") / "reproduce"
    """Folder of the runs' records and the results. What it already holds is not trained again."""
    render: Path | None = None
    """Folder of results to print as a Markdown page, and nothing else."""
    json: bool = False
    """Print the result as JSON."""


def answer(options: Reproduce) -> tuple[Any, Any, int]:
    """JSON-able rows, the same as a table, and the exit code: 1 when a claim fails.

    Raises:
        ValueError: an unknown claim, names beside --all, too few seeds, a folder with unreadable records.
        KeyboardInterrupt: Ctrl-C; the same command goes on.
    """
    if options.render is not None:
        found, gpu = results(options.render), gpu_rows(options.render)
        return list(found.values()), page(CLAIMS.values(), found, gpu), 0
    claims, mode = (
        chosen(options.claims, all_of_them=options.all),
        Mode(options.fast, options.seeds),
    )
    if not claims:
        return (
            [claim.described() for claim in CLAIMS.values()],
            listing(CLAIMS.values()),
            0,
        )
    quiet()
    torch.set_num_threads(1)
    rows = check(claims, mode, options.out)
    return rows, table(rows), int(any(row["verdict"] == "fails" for row in rows))


def check(claims: list[Claim], mode: Mode, out: Path) -> list[dict[str, Any]]:
    """The claims' results, after training what they still need; each is written as soon as its runs are there."""
    records = Records(out)
    found: dict[str, dict[str, Any]] = {}
    with Bar() as bar:
        while True:
            needed = {claim.name: claim.jobs(mode, records) for claim in claims}
            for claim in claims:
                if claim.name not in found and records.have(needed[claim.name]):
                    bar.note(f"{claim.name}: judging")
                    found[claim.name] = _settle(claim, mode, records, out)
                    bar.note(f"{claim.name}: {found[claim.name]['verdict']}")
            todo = list(
                {
                    job.command: job
                    for jobs in needed.values()
                    for job in jobs
                    if job not in records
                }.values()
            )
            if not todo:
                return [found[claim.name] for claim in claims]
            bar.expect(todo)
            if not records.train(todo if mode.fast else todo[:CHUNK], bar.watcher):
                raise KeyboardInterrupt


def _settle(claim: Claim, mode: Mode, records: Records, out: Path) -> dict[str, Any]:
    """The claim's result, judged and written."""
    start = time.perf_counter()
    jobs = claim.jobs(mode, records)
    judged = claim.judge(mode, records)
    result = claim.report(undecided(judged) if mode.fast and jobs else judged)
    used = {job.command: records[job] for job in jobs}
    seconds = (
        time.perf_counter() - start + sum(record["seconds"] for record in used.values())
    )
    result |= {
        "mode": dataclasses.asdict(mode),
        "command": " ".join(["entrostat reproduce", claim.name, *_words(mode)]),
        "versions": _versions(list(used.values())),
        "seconds": round(seconds, 1),
        "runs": list(used),
    }
    out.mkdir(parents=True, exist_ok=True)
    name = [
        claim.name,
        *(["fast"] if mode.fast else []),
        *([f"seeds{mode.seeds}"] if mode.seeds else []),
    ]
    write_json(out / f"{'.'.join(name)}.json", result)
    return result


def _versions(records: list[dict[str, Any]]) -> dict[str, str]:
    """What trained the runs, several versions of one thing beside each other; without runs, what is judging."""
    here = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }
    found = [
        {"entrostat": record["entrostat"], **record["versions"]} for record in records
    ]
    found = found or [{"entrostat": entrostat.__version__, **here}]
    names = list(dict.fromkeys(name for versions in found for name in versions))
    return {
        name: " and ".join(sorted({v[name] for v in found if name in v}))
        for name in names
    }


def _words(mode: Mode) -> list[str]:
    return [
        *(["--fast"] if mode.fast else []),
        *(["--seeds", str(mode.seeds)] if mode.seeds else []),
    ]


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Results of full checks in a folder, by claim, with the remarks beside them. ValueError where there is none."""
    files = {name: folder / f"{name}.json" for name in CLAIMS}
    found: dict[str, dict[str, Any]] = {}
    for name, file in files.items():
        if not file.is_file():
            continue
        found[name] = CLAIMS[name].completed(
            json.loads(file.read_text(encoding="utf-8"))
        )
        if (remark := folder / f"{name}.md").is_file():
            found[name]["remark"] = remark.read_text(encoding="utf-8").strip()
    if not found:
        raise ValueError(
            f"{folder} holds no result of a claim: entrostat reproduce --all --out {folder} makes them"
        )
    return found


def gpu_rows(folder: Path) -> list[dict[str, Any]]:
    """Rows of the file beside the folder of results; none where there is no file. ValueError: it holds no rows."""
    file = folder.parent / GPU_FILE
    if not file.is_file():
        return []
    rows = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(
            f"{file} must be a list of rows: bench/regime_gpu.py writes it"
        )
    return rows
