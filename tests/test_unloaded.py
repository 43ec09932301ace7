"""Options that are read from a source say what the class itself says, and import nothing."""

import dataclasses
import inspect
import itertools
import math
from typing import get_args

import pytest

from entrostat.cli.help import help_text
from entrostat.cli.words import check_method
from entrostat.lab.method_registry import METHODS
from entrostat.reproduce import CLAIMS
from entrostat.reproduce.listing import Listed, listed
from entrostat.unloaded import unloaded


@pytest.mark.parametrize("name", METHODS)
def test_a_method_s_options_are_those_of_its_class(name):
    read, own = unloaded(METHODS.paths[name]), METHODS[name]

    def said(kind):
        return [(field.name, field.type, field.default) for field in dataclasses.fields(kind)]

    assert said(read) == said(own)
    assert inspect.getdoc(read) == inspect.getdoc(own)
    assert help_text(read, "x", {}) == help_text(own, "x", {})


def test_a_wrong_option_is_said_as_the_method_itself_would():
    with pytest.raises(ValueError, match="unknown option '--lo': did you mean --low"):
        check_method("grpo", ["--lo", "1"], "train")
    with pytest.raises(ValueError, match="--low"):
        check_method("grpo", ["--low", "much"], "train")
    check_method("grpo", ["--low", "0.1"], "train")


VALUES = (-3.0, 0.0, 1.0, 7.0, 1e9, math.inf, math.nan, False, "x", "0.8xx", "linear:1:0")


def said_of(kind, **options):
    """What the class says of these values."""
    try:
        kind(**options)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", METHODS)
def test_checks_of_values_are_the_method_s_own(name):
    read, own = unloaded(METHODS.paths[name]), METHODS[name]
    for field, value in itertools.product(dataclasses.fields(own), VALUES):
        if type(value) in (get_args(field.type) or [field.type]):
            option = {field.name: value}
            assert said_of(read, **option) == said_of(own, **option)


def test_values_are_checked_without_the_method():
    with pytest.raises(ValueError, match="low must be at least 0"):
        check_method("grpo", ["--low", "-1"], "train")


def test_the_claims_are_listed_as_they_are():
    assert listed() == [Listed(claim.name, claim.statement, claim.source) for claim in CLAIMS.values()]
