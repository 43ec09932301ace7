"""`entrostat reproduce`: what it trains and judges, and what it answers.

OUT/runs.jsonl     one record per run (runs.py)
OUT/a4.json        a claim's result
OUT/a4.fast.json   the result of its fast version; OUT/a4.seeds2.json: over two seeds
OUT/a4.md          what its reader should know of it, if anybody wrote that down
OUT/../regime-gpu.json   rows of the paper's own batch on a GPU (page.gpu_section), if
                         somebody had one
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch
import transformers
import trl

import entrostat
from entrostat.files import write_json
from entrostat.lab.quiet import quiet
from entrostat.registry import flags
from entrostat.reproduce import CLAIMS, Claim, Mode, chosen
from entrostat.reproduce.judge import undecided
from entrostat.reproduce.listing import listing
from entrostat.reproduce.options import Reproduce
from entrostat.reproduce.page import Report, page
from entrostat.reproduce.runs import AnyJob, Record, Records
from entrostat.reproduce.terminal import Bar, table

CHUNK = 32
"""Runs between two writings of results."""
GPU_FILE = "regime-gpu.json"


def answer(options: Reproduce) -> tuple[Any, Any, int]:
    """JSON-able rows, the same as a table, and the exit code: 1 when a claim fails.

    Raises:
        ValueError: an unknown claim, names beside --all, too few seeds, a folder with
            unreadable records.
        KeyboardInterrupt: Ctrl-C; the same command goes on.
    """
    every = list(CLAIMS.values())
    if options.render is not None:
        reports = results(options.render)
        gpu = gpu_rows(options.render)
        return list(reports.values()), page(every, reports, gpu), 0
    claims = chosen(options.claims, all_of_them=options.all)
    mode = Mode(options.fast, options.seeds)
    if not claims:
        return [claim.described() for claim in every], listing(), 0
    quiet()
    torch.set_num_threads(1)
    rows = check(claims, mode, options.out)
    failed = any(row["verdict"] == "fails" for row in rows)
    return rows, table(rows), int(failed)


def check(claims: list[Claim], mode: Mode, out: Path) -> list[Report]:
    """The claims' results, after training what they still need.

    Each is written as soon as its runs are there.
    """
    records = Records(out)
    settled: dict[str, Report] = {}
    with Bar() as bar:
        while True:
            needed: list[AnyJob] = []
            for claim in claims:
                jobs = claim.jobs(mode, records)
                needed += jobs
                if claim.name not in settled and records.have(jobs):
                    bar.note(f"{claim.name}: judging")
                    report = _settle(claim, mode, records, out)
                    settled[claim.name] = report
                    bar.note(f"{claim.name}: {report['verdict']}")
            missing = records.missing(needed)
            if not missing:
                return [settled[claim.name] for claim in claims]
            bar.expect(missing)
            stage = missing if mode.fast else missing[:CHUNK]
            if not records.train(stage, bar.watcher):
                raise KeyboardInterrupt


def _settle(claim: Claim, mode: Mode, records: Records, out: Path) -> Report:
    """The claim's result, judged and written."""
    start = time.perf_counter()
    jobs = claim.jobs(mode, records)
    result = claim.judge(mode, records)
    if mode.fast and jobs:
        result = undecided(result)
    report = claim.report(result)
    used = {job.command: records[job] for job in jobs}
    judging = time.perf_counter() - start
    seconds = judging + sum(record["seconds"] for record in used.values())
    report |= {
        "mode": dataclasses.asdict(mode),
        "command": " ".join(["entrostat reproduce", claim.name, *flags(mode)]),
        "versions": _versions(list(used.values())),
        "seconds": round(seconds, 1),
        "runs": list(used),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / _file_name(claim, mode), report)
    return report


def _file_name(claim: Claim, mode: Mode) -> str:
    """A mode of its own has a file of its own: it never replaces the full result."""
    fast = ".fast" if mode.fast else ""
    seeds = f".seeds{mode.seeds}" if mode.seeds is not None else ""
    return f"{claim.name}{fast}{seeds}.json"


def _versions(records: list[Record]) -> dict[str, str]:
    """The versions that trained the runs, several of one thing beside each other.

    Without runs they are those that judge.
    """
    here = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }
    judging = {"entrostat": entrostat.__version__, "versions": here}
    by_name: dict[str, set[str]] = {}
    for record in records or [judging]:
        versions = {"entrostat": record["entrostat"], **record["versions"]}
        for name, version in versions.items():
            by_name.setdefault(name, set()).add(version)
    return {name: " and ".join(sorted(seen)) for name, seen in by_name.items()}


def results(folder: Path) -> dict[str, Report]:
    """Results of full checks in a folder, by claim, with the remarks beside them."""
    reports: dict[str, Report] = {}
    for name in CLAIMS:
        file, remark = folder / f"{name}.json", folder / f"{name}.md"
        if not file.is_file():
            continue
        reports[name] = json.loads(file.read_text(encoding="utf-8"))
        if remark.is_file():
            reports[name]["remark"] = remark.read_text(encoding="utf-8").strip()
    return reports


def gpu_rows(folder: Path) -> list[Report]:
    """Rows of the file beside the folder of results; none where there is no file.

    Raises:
        ValueError: the file holds no rows.
    """
    file = folder.parent / GPU_FILE
    if not file.is_file():
        return []
    rows = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(
            f"{file} must be a list of rows: bench/regime_gpu.py writes it"
        )
    return rows
