"""Laws of every claim, and the choice of them by name."""

import json
import math

import pytest

from entrostat.estimate import Interval
from entrostat.reproduce import CLAIMS, Mode, Result, chosen
from entrostat.reproduce.claim import Part, Spread, standing


def test_every_claim_says_what_it_is():
    for name, claim in CLAIMS.items():
        assert claim.name == name
        described = claim.described()
        said = {key: text for key, text in described.items() if key != "scale" or text is not None}
        assert all(said.values())
        assert all("\n" not in text and not text.endswith(".") for text in said.values())
        assert claim.use.startswith(("Use ", "Expect ")), claim.use
        assert "do not " in claim.use, claim.use
        assert "arXiv 2509.26114" in claim.source or "arXiv 2602.09782" in claim.source


def test_a_report_is_strict_json():
    claim = CLAIMS["a1"]
    part = Part("x", Spread(1.0, -math.inf, 2.0, (0.5, 1.5)), "> 0", True, "fails", -math.inf, math.nan)
    result = Result("fails", math.nan, Interval(1.0, 0.5, math.inf), (part,), {"slope": math.nan, "gain": 2.0})
    again = json.loads(json.dumps(claim.report(result), allow_nan=False))
    assert again["claim"] == "a1"
    assert again["verdict"] == "fails"
    assert again["effect"] is None
    assert again["interval"] == {"value": 1.0, "low": 0.5, "high": None}
    assert again["numbers"] == {"slope": None, "gain": 2.0}
    assert again["parts"][0]["interval"] == {"value": 1.0, "low": None, "high": 2.0, "points": [0.5, 1.5]}
    assert (again["parts"][0]["margin"], again["parts"][0]["least"]) == (None, None)
    assert again["deciding"] == "x"
    assert claim.report(Result("holds", 2.0, None))["interval"] is None


def test_claims_are_chosen_by_name_each_once():
    assert [c.name for c in chosen(["a2", "a1", "a2"])] == ["a2", "a1"]
    assert [c.name for c in chosen([], all_of_them=True)] == list(CLAIMS)
    assert chosen([]) == []
    with pytest.raises(ValueError, match="unknown claim 'a11': did you mean a1"):
        chosen(["a1", "a11"])
    with pytest.raises(ValueError, match="give one or the other"):
        chosen(["a1"], all_of_them=True)


def test_seeds():
    with pytest.raises(ValueError, match=r"at least 2, got 1; .* take 3 for an interval"):
        Mode(seeds=1)
    assert list(Mode().repeats(3)) == [0, 1, 2]
    assert list(Mode(fast=True).repeats(5)) == [0, 1]
    assert list(Mode(fast=True, seeds=4).repeats(5)) == [0, 1, 2, 3]


def test_a_failure_contradicts_only_where_nothing_of_the_paper_s_set_up_is_missing():
    assert standing("holds", None) == standing("holds", "small") == "reproduced"
    assert standing("undecided", None) == standing("undecided", "small") == "open"
    assert standing("fails", None) == "contradicted"
    assert standing("fails", "small") == "not reproduced at this scale"


@pytest.mark.parametrize("name", ["a1", "a4"])
@pytest.mark.parametrize("verdict", ["holds", "fails", "undecided"])
def test_a_report_says_how_the_claim_stands_and_why(name, verdict):
    claim = CLAIMS[name]
    report = claim.report(Result(verdict, 1.0, None))
    assert report["standing"] == standing(verdict, claim.scale)
    excused = report["standing"] == "not reproduced at this scale"
    assert excused == (verdict == "fails" and name == "a4")
    assert report["reason"] == (claim.scale if excused else None)
