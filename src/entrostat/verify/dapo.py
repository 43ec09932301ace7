r"""The verifier of DAPO (arXiv 2503.14476): the text behind the last "Answer:", put
into one spelling, is the answer's.

The rule is the released one (verl's math_dapo), which follows the normalisation of
Minerva (arXiv 2206.14858, appendix D.1). Its lists are kept in their order, which
matters: a word may be a part of another one. Only the standard library: a worker loads
this file by itself.
"""

import re

TAIL = 300
"""Characters of a completion that are read."""
TRIAL = "1"
"""An answer that a worker warms up on."""

_ANSWER = re.compile(r"Answer\s*:\s*([^\n]+)", re.IGNORECASE)
_REPLACED = (
    ("an ", ""),
    ("a ", ""),
    (".$", "$"),
    ("\\$", ""),
    ("\\ ", ""),
    (" ", ""),
    ("mbox", "text"),
    (",\\text{and}", ","),
    ("\\text{and}", ","),
    ("\\text{m}", "\\text{}"),
)
"""Texts and what stands in their place, in this order."""
# fmt: off
_UNITS = (
    "square", "ways", "integers", "dollars", "mph", "inches", "hours", "km", "units",
    "\\ldots", "sue", "points", "feet", "minutes", "digits", "cents", "degrees", "cm",
    "gm", "pounds", "meters", "meals", "edges", "students", "childrentickets",
    "multiples", "\\text{s}", "\\text{.}", "\\text{\ns}", "\\text{}^2", "\\text{}^3",
    "\\text{\n}", "\\text{}", "\\mathrm{th}", "^\\circ", "^{\\circ}", "\\;", ",\\!",
    "{,}", '"', "\\dots",
)
# fmt: on
"""Texts that go, in this order."""
_REWRITTEN = (
    (re.compile(r"(.*?)(\$)(.*?)(\$)(.*)"), r"$\3$"),
    (re.compile(r"\\text\{(.*?)\}"), r"\1"),
    (re.compile(r"\\textbf\{(.*?)\}"), r"\1"),
    (re.compile(r"\\overline\{(.*?)\}"), r"\1"),
    (re.compile(r"\\boxed\{(.*)\}"), r"\1"),
    # \frac12 and \sqrt2, with the braces that LaTeX lets one leave out
    (re.compile(r"frac([^{])(.)"), r"frac{\1}{\2}"),
    (re.compile(r"sqrt([^{])"), r"sqrt{\1}"),
)
"""Patterns and what becomes of them, in this order."""


def dapo(answer: str, completion: str) -> float:
    """1.0 if the text behind the last "Answer:" of `completion` normalises to that of
    `answer`, else 0.0."""
    return float(last_answer(completion) == normalised(answer))


def last_answer(completion: str) -> str | None:
    """What is read of a completion, normalised: the text behind the last "Answer:"."""
    answers = _ANSWER.findall(completion[-TAIL:])
    return normalised(answers[-1]) if answers else None


def normalised(text: str) -> str:
    r"""One spelling of an answer.

    >>> normalised(r"x = $\frac12$"), normalised("1,000 dollars")
    ('\\frac{1}{2}', '1000')
    """
    text = text.rpartition("=")[2]
    for before, after in _REPLACED:
        text = text.replace(before, after)
    for unit in _UNITS:
        text = text.replace(unit, "")
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    text = text.replace("$", "")
    digits = text.replace(",", "")
    return (digits if digits.isdigit() else text).strip()


def spell(answer: str) -> str:
    """A right completion."""
    return f"Answer: {answer}"
