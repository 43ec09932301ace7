"""Puts a report's page together: what it says of the runs, and the HTML that says it.

All text goes through Jinja's autoescape. What does not is made here: the marker, the style sheet, the scripts, and the
figures' JSON, in which every character is escaped that could end a script element. A content security policy allows
these scripts alone, by their hashes, and no request of any kind: a hole in the escaping would still run nothing.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import entrostat
from entrostat.report import figures, results
from entrostat.report.plots import BASE, INK, SYMBOLS, Figure, groups
from entrostat.report.read import EXPERIMENT, Run, experiment, text

MARKER = '<meta name="generator" content="entrostat report">'
"""What tells a report of ours from any other file."""

MOST_SETTINGS = 300
DEEPEST_SETTING = 6
_TOOLS = "a report needs plotly and jinja2: pip install 'entrostat[train]'"


def page(runs: Sequence[Run], title: str | None = None) -> str:
    """The whole page. ImportError, with its cure, where plotly or jinja2 is missing."""
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs, get_plotlyjs_version
    except ImportError:
        raise ImportError(_TOOLS) from None
    drawn = figures.figures(runs)
    scripts = [inline_script(get_plotlyjs()), inline_script(_asset("page.js"))]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(_asset("page.html")).render(
        marker=Markup(MARKER),
        style=Markup(_asset("page.css")),
        scripts=[Markup(script) for script in scripts],
        script_hashes=" ".join(f"'sha256-{_sha256(script)}'" for script in scripts),
        data=Markup(script_json([_specification(figure) for figure in drawn])),
        title=text(title)
        if title
        else f"entrostat: {_listed(_labels(runs))}{_on_task(runs)}",
        summary=summary(runs),
        notices=notices(runs),
        results={
            "rows": results.rows(runs),
            "scores": results.score_names(runs),
            "terms": results.terms(runs),
        },
        glyphs=SYMBOLS,
        figures=drawn,
        toggles=_toggles(runs, drawn),
        runs=[_run(run) for run in runs],
        footer=_versions(runs, get_plotlyjs_version()),
    )


def script_json(value: Any) -> str:
    r"""`value` as JSON that nothing in it can break out of a script element.

    >>> script_json("</script>&\u2028")
    '"\\u003c/script\\u003e\\u0026\\u2028"'
    """
    plain = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return plain.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def inline_script(source: str) -> str:
    """JavaScript `source` that holds nothing an HTML parser would act on inside a script element."""
    return re.sub(r"<(/script|!--)", r"<\\\1", source, flags=re.IGNORECASE)


def summary(runs: Sequence[Run]) -> str:
    """What was run, in one sentence; settings in which the runs differ are left out."""
    labels = _labels(runs)
    shared = {
        key: value
        for key, value in experiment(runs[0]).items()
        if all(_has(run, key, value) for run in runs)
    }
    seeds = sorted({run.seed for run in runs if run.seed is not None})
    subject = f"{_count(len(runs), 'run')} of {_listed(labels)}{_on_task(runs)}"
    parts = (
        [
            f"seed{'s' if len(seeds) > 1 else ''} {_listed([str(seed) for seed in seeds])}"
        ]
        if seeds
        else []
    )
    parts += [
        phrase.format(shared[key]) for key, phrase in _PHRASES.items() if key in shared
    ]
    return f"{subject}: {', '.join(parts)}." if parts else f"{subject}."


_PHRASES = {
    "steps": "{} rollouts",
    "prompts": "{} prompts a rollout",
    "samples": "{} samples a prompt",
    "updates_per_rollout": "{} updates a rollout",
    "learning_rate": "learning rate {}",
    "reward": "reward {}",
    "model": "model {}",
}


def notices(runs: Sequence[Run]) -> list[str]:
    """What a reader must know before comparing: unfinished runs, files that could not be read, unequal settings."""
    lines = []
    for run in runs:
        if not run.finished:
            planned = "" if run.planned is None else f" of {run.planned}"
            lines.append(
                f"{run.name} is unfinished: {len(run.rows)}{planned} rollouts, no final scores."
            )
        if run.skipped:
            lines.append(
                f"{run.name}: {_count(run.skipped, 'line')} of metrics.jsonl cut or unreadable, skipped."
            )
        lines += [f"{run.name}: {problem}." for problem in run.problems]
    settings = [experiment(run) for run in runs if run.config]
    differ = [
        key for key in EXPERIMENT if len({each.get(key) for each in settings}) > 1
    ]
    if differ:
        lines.append(f"The runs differ in more than their strategy: {_listed(differ)}.")
    return lines


def settings(
    config: Mapping[str, Any], depth: int = 0, prefix: str = ""
) -> Iterator[tuple[str, str]]:
    """The settings of a run as pairs of text, nested names joined by dots."""
    for key, value in config.items():
        name = text(f"{prefix}{key}")
        if isinstance(value, dict) and value and depth < DEEPEST_SETTING:
            yield from settings(value, depth + 1, f"{name}.")
        else:
            yield name, text(value)


def _run(run: Run) -> dict[str, Any]:
    pairs = [
        pair
        for pair, _ in zip(settings(run.config), range(MOST_SETTINGS), strict=False)
    ]
    return {
        "name": run.name,
        "command": run.command(),
        "rebuilt": not run.config.get("command"),
        "settings": pairs,
    }


def _specification(figure: Figure) -> dict[str, Any]:
    choices = [
        {"alt": one.alt, "data": one.data, "layout": one.layout}
        for one in figure.choices
    ]
    shown = {
        "key": figure.key,
        "layout": figure.layout,
        "narrow": figure.narrow,
        "choices": choices,
    }
    return shown | {"data": [] if choices else figure.data}


def _toggles(runs: Sequence[Run], drawn: Sequence[Figure]) -> list[dict[str, str]]:
    """What the reader can hide: each label, and the base model where a figure has it."""
    base = any(
        trace["legendgroup"] == BASE for figure in drawn for trace in figure.data
    )
    toggles = [
        {
            "key": group.key,
            "label": group.label,
            "colour": group.colour,
            "glyph": SYMBOLS[group.symbol],
        }
        for group in groups(runs)
    ]
    return toggles + (
        [{"key": BASE, "label": "base model", "colour": INK, "glyph": "╍"}]
        if base
        else []
    )


def _versions(runs: Sequence[Run], plotly: str) -> str:
    made = _listed(
        list(
            dict.fromkeys(text(run.config.get("entrostat", "unknown")) for run in runs)
        )
    )
    return f"Report by entrostat {entrostat.__version__}, with plotly.js {plotly}. Runs by entrostat {made}."


def _labels(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.label for run in runs))


def _on_task(runs: Sequence[Run]) -> str:
    named = [run.config.get("dataset") or run.config.get("task") for run in runs]
    tasks = {text(name) for name in named if isinstance(name, str)}
    return f" on {_listed(sorted(tasks))}" if tasks else ""


def _has(run: Run, key: str, value: str) -> bool:
    return experiment(run).get(key) == value


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _listed(words: Sequence[str], most: int = 6) -> str:
    """`a, b and c`, and how many more where there are over `most`."""
    shown = (
        [*words[:most], f"{len(words) - most} more"]
        if len(words) > most
        else list(words)
    )
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _sha256(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


@cache
def _asset(name: str) -> str:
    return (files(__package__ or "entrostat.report") / name).read_text(encoding="utf-8")
