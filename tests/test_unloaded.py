"""Options that are read from a source say what the class itself says, and import nothing."""

import dataclasses
import inspect

import pytest

from entrostat.cli.help import help_text
from entrostat.cli.unloaded import unloaded
from entrostat.cli.words import check_method, method
from entrostat.lab.method_registry import METHODS
from entrostat.reproduce import CLAIMS
from entrostat.reproduce.listing import Listed, listed


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


def test_checks_of_values_are_the_method_s_own():
    check_method("grpo", ["--low", "-1"], "train")
    with pytest.raises(ValueError, match="low must be at least 0"):
        method("grpo", ["--low", "-1"], "train")


def test_the_claims_are_listed_as_they_are():
    assert listed() == [Listed(claim.name, claim.statement, claim.source) for claim in CLAIMS.values()]
