"""Puts a report's page together: what it says of the runs, and the HTML that says it.

All text goes through Jinja's autoescape. What does not is made here: the marker, the
style sheet, the scripts, and the figures' JSON, in which every character is escaped
that could end a script element. A content security policy allows these scripts alone,
by their hashes, and no request but for a shared plotly.js, which has a nonce: a hole in
the escaping would still run nothing.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, NamedTuple

import entrostat
from entrostat.report import figures, results
from entrostat.report.axes import Axis, AxisName, axes, places
from entrostat.report.curves import step_word
from entrostat.report.figure import Figure, distinct
from entrostat.report.look import BASE, INK, SYMBOLS, groups
from entrostat.report.plotly_file import plotly_js
from entrostat.report.read import EXPERIMENT, Run, experiment
from entrostat.report.story import happened
from entrostat.report.untrusted import LONGEST_TEXT, text

MARKER = '<meta name="generator" content="entrostat report">'
"""What tells a report of ours from any other file."""

MOST_TOLD = 12
"""Runs of which a sentence says what happened."""
MOST_COMMANDS = 3
"""Runs whose commands stand at the top; those of more stand under Runs alone."""
MOST_SETTINGS = 300
DEEPEST_SETTING = 6
MOST_LISTED = 6
"""Of a list in a sentence; the rest are counted."""
BASE_GLYPH = "╍"
_TOOLS = "a report needs plotly and jinja2: pip install 'entrostat[train]'"
_PHRASES = {
    "steps": "{} rollouts",
    "prompts": "{} prompts per rollout",
    "samples": "{} samples per prompt",
    "updates_per_rollout": "{} updates per rollout",
    "learning_rate": "learning rate {}",
    "reward": "reward {}",
    "model": "model {}",
}
"""How `summary` says a setting, in this order."""


class View(NamedTuple):
    """How a page shows its curves when it is opened; its reader may choose otherwise."""

    smooth: int = 1
    """A line's point is the mean of so many."""
    x: AxisName = "steps"


def page(
    runs: Sequence[Run],
    title: str | None = None,
    *,
    view: View | None = None,
    command: str = "",
    plotly_file: str = "",
) -> str:
    """The whole page. ImportError, with its cure, where plotly or jinja2 is missing.

    Args:
        command: that writes the page again; empty where it is not known.
        plotly_file: name of plotly.js beside the page; empty for a page that has all in
            it.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs_version

        scripts = [] if plotly_file else [inline_script(plotly_js())]
    except ImportError:
        raise ImportError(_TOOLS) from None
    drawn = figures.figures(runs)
    scripts.append(inline_script(_asset("page.js")))
    choices = axes(runs, step_word(runs))
    data = script_json(_data(runs, drawn, choices))
    allowed = [csp_hash(script) for script in scripts]
    nonce = _nonce(data)
    if plotly_file:
        allowed.append(f"'nonce-{nonce}'")
    table = {
        "rows": results.rows(runs),
        "scores": results.score_names(runs),
        "terms": results.terms(runs),
    }
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    # Markup is what Jinja does not escape
    return environment.from_string(_asset("page.html")).render(
        marker=Markup(MARKER),
        style=Markup(_asset("page.css")),
        scripts=list(map(Markup, scripts)),
        shared=plotly_file,
        nonce=nonce,
        script_sources=" ".join(allowed),
        data=Markup(data),
        title=text(title) if title else _title(runs),
        happened=list(_happened(runs)),
        commands=list(_commands(runs, command)),
        summary=summary(runs),
        notices=notices(runs),
        results=table,
        glyphs=SYMBOLS,
        figures=drawn,
        toggles=_toggles(runs, drawn),
        axes=choices,
        view=view or View(),
        step=step_word(runs),
        runs=list(map(_run, runs)),
        footer=_versions(runs, get_plotlyjs_version()),
    )


def _data(
    runs: Sequence[Run], drawn: Sequence[Figure], choices: Sequence[Axis]
) -> dict[str, Any]:
    """What page.js draws."""
    return {
        "figures": list(map(_specification, drawn)),
        "places": places(runs),
        "titles": {axis.name: axis.title for axis in choices},
    }


def _nonce(data: str) -> str:
    """What allows the shared script in a content security policy.

    A hash of the page's data: the same for the same runs, and nobody can write a log
    that holds it.
    """
    digest = hashlib.sha256(data.encode()).digest()
    return base64.b64encode(digest[:18]).decode()


def _commands(runs: Sequence[Run], command: str) -> Iterator[tuple[str, str]]:
    """What stands at the top: whose command, and the command."""
    if command:
        yield "this page", text(command, 4 * LONGEST_TEXT)
    for run in runs if len(runs) <= MOST_COMMANDS else ():
        if run.recorded_command():
            yield run.name, run.recorded_command()


def script_json(value: Any) -> str:
    r"""`value` as JSON that nothing in it can break out of a script element.

    >>> script_json("</script>&\u2028")
    '"\\u003c/script\\u003e\\u0026\\u2028"'
    """
    plain = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return plain.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def inline_script(source: str) -> str:
    """JavaScript `source` without what an HTML parser acts on in a script element."""
    return re.sub(r"<(/script|!--)", r"<\\\1", source, flags=re.IGNORECASE)


def csp_hash(script: str) -> str:
    """What allows a script in a content security policy."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@cache
def _asset(name: str) -> str:
    folder = files(__package__ or "entrostat.report")
    return (folder / name).read_text(encoding="utf-8")


def _happened(runs: Sequence[Run]) -> Iterator[str]:
    """A sentence for each of the first runs."""
    for run in runs[:MOST_TOLD]:
        sentence = happened(run)
        if sentence:
            yield f"{run.name}: {sentence}."


def summary(runs: Sequence[Run]) -> str:
    """What was run, in one sentence; settings in which the runs differ are left out."""
    labels = _listed(_labels(runs))
    subject = f"{_count(len(runs), 'run')} of {labels}{_on_task(runs)}"
    parts = []
    seeds = sorted({run.seed for run in runs if run.seed is not None})
    if seeds:
        word = "seed" if len(seeds) == 1 else "seeds"
        parts.append(f"{word} {_listed(map(str, seeds))}")
    experiments = list(map(experiment, runs))
    for key, phrase in _PHRASES.items():
        first, *others = _values(experiments, key)
        if first is not None and not others:
            parts.append(phrase.format(first))
    return f"{subject}: {', '.join(parts)}." if parts else f"{subject}."


def notices(runs: Sequence[Run]) -> list[str]:
    """What a reader must know before comparing the runs.

    That is unfinished runs, files that could not be read, and unequal settings.
    """
    lines = []
    for run in runs:
        if not run.finished:
            planned = "" if run.planned is None else f" of {run.planned}"
            rollouts = f"{len(run.rows)}{planned} rollouts"
            lines.append(f"{run.name} is unfinished: {rollouts}, no final scores.")
        if run.skipped:
            skipped = _count(run.skipped, "line")
            lines.append(
                f"{run.name}: {skipped} of metrics.jsonl cut or unreadable, skipped."
            )
        for problem in run.problems:
            lines.append(f"{run.name}: {problem}.")
    experiments = [experiment(run) for run in runs if run.config]
    unequal = []
    for key in EXPERIMENT:
        if len(_values(experiments, key)) > 1:
            unequal.append(key)
    if unequal:
        differ = _listed(unequal)
        lines.append(f"The runs differ in more than their strategy: {differ}.")
    return lines


def _values(experiments: Iterable[Mapping[str, str]], key: str) -> set[str | None]:
    """What the runs have for a setting, each value once."""
    return {settings.get(key) for settings in experiments}


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
    """What page.html shows of one run."""
    return {
        "name": run.name,
        "command": run.command(),
        "rebuilt": not run.config.get("command"),
        "settings": list(islice(settings(run.config), MOST_SETTINGS)),
    }


def _specification(figure: Figure) -> dict[str, Any]:
    """What page.js draws a figure from."""
    choices = []
    for choice in figure.choices:
        state = {"alt": choice.alt, "data": choice.data, "layout": choice.layout}
        choices.append(state)
    return {
        "key": figure.key,
        "layout": figure.layout,
        "narrow": figure.narrow,
        "isCurves": figure.is_curves,
        "choices": choices,
        # the last choice has the same
        "data": [] if choices else figure.data,
    }


def _toggles(runs: Sequence[Run], drawn: Sequence[Figure]) -> list[dict[str, str]]:
    """What the reader can hide: each label, and the base model where a figure has it.

    A toggle has the keys key (the legend group), label, colour and glyph.
    """
    toggles = []
    for group in groups(runs):
        glyph = SYMBOLS[group.symbol]
        toggles.append(_toggle(group.key, group.label, group.colour, glyph))
    if any(_has_base(figure) for figure in drawn):
        toggles.append(_toggle(BASE, "base model", INK, BASE_GLYPH))
    return toggles


def _has_base(figure: Figure) -> bool:
    return any(trace["legendgroup"] == BASE for trace in figure.data)


def _toggle(key: str, label: str, colour: str, glyph: str) -> dict[str, str]:
    return {"key": key, "label": label, "colour": colour, "glyph": glyph}


def _versions(runs: Sequence[Run], plotly: str) -> str:
    """The last line of the page."""
    versions = [text(run.config.get("entrostat", "unknown")) for run in runs]
    return (
        f"Report by entrostat {entrostat.__version__}, with plotly.js {plotly}. "
        f"Runs by entrostat {_listed(distinct(versions))}."
    )


def _title(runs: Sequence[Run]) -> str:
    return f"entrostat: {_listed(_labels(runs))}{_on_task(runs)}"


def _labels(runs: Sequence[Run]) -> list[str]:
    return distinct(run.label for run in runs)


def _on_task(runs: Sequence[Run]) -> str:
    """` on` and what the runs were trained on, empty where no run says it."""
    tasks: set[str] = set()
    for run in runs:
        name = run.config.get("dataset") or run.config.get("task")
        if isinstance(name, str):
            tasks.add(text(name))
    return f" on {_listed(sorted(tasks))}" if tasks else ""


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _listed(words: Iterable[str]) -> str:
    """`a, b and c`, and how many more where there are over `MOST_LISTED`."""
    words = list(words)
    if len(words) > MOST_LISTED:
        words[MOST_LISTED:] = [f"{len(words) - MOST_LISTED} more"]
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
