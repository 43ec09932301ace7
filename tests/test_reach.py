"""What is said of a run's clip, from three numbers; that the thresholds are the map's own."""

import json
import math
from pathlib import Path

import pytest

from entrostat.reach import FEW, LEAST_CLIPPED, MANY, NOISY_KL, reach

ROOT = Path(__file__).parents[1]
LITTLE, NOISE, CAN, UNKNOWN = "Too little is clipped", "Noise moves entropy", "A clip setting can", "Whether a clip"
CLIPPED, KL, RESPONSES = "the share of clipped tokens", "the KL of a rollout", "responses per rollout"


@pytest.mark.parametrize(
    ("clipped", "kl", "responses", "outcome", "missing"),
    [
        (0.0005, 1e-4, 256, LITTLE, ()),
        (0.0005, 1.0, 256, LITTLE, ()),
        (0.0, None, None, LITTLE, ()),
        (0.03, 0.04, 256, NOISE, ()),
        (0.03, 0.04, 16, NOISE, ()),
        (None, 0.04, 256, NOISE, (CLIPPED,)),
        (0.001, 0.01, 256, CAN, ()),
        (0.03, 0.12, 1024, CAN, ()),
        (0.03, 0.003, None, CAN, (RESPONSES,)),
        (0.03, None, 4096, CAN, (KL,)),
        (0.03, 0.04, 512, UNKNOWN, ()),
        (0.03, 0.04, None, UNKNOWN, (RESPONSES,)),
        (0.03, None, 256, UNKNOWN, (KL,)),
        (0.03, None, None, UNKNOWN, (KL, RESPONSES)),
        (None, 0.003, 256, UNKNOWN, (CLIPPED,)),
        (None, None, None, UNKNOWN, (CLIPPED, KL, RESPONSES)),
    ],
)
def test_the_sentence_says_the_outcome_and_what_was_not_read(clipped, kl, responses, outcome, missing):
    said = reach(clipped=clipped, kl=kl, responses=responses)
    assert said.startswith(outcome) and said.endswith(" (docs/regime.md).") and "\n" not in said
    listed = said.partition("not read: ")[2].removesuffix(" (docs/regime.md).")
    assert listed == " and ".join(missing)


def test_the_numbers_are_told():
    said = reach(clipped=0.0346, kl=0.0034, responses=4096)
    assert "3.5% of tokens" in said and "0.0034 nats" in said and "4,096 responses" in said


def test_between_two_batches_of_the_map_nothing_is_said():
    assert f"nothing between {FEW} and {MANY:,} responses" in reach(clipped=0.03, kl=0.04, responses=FEW + 1)


@pytest.mark.parametrize("wrong", [{"clipped": 1.5}, {"clipped": math.nan}, {"kl": -1e-3}, {"kl": math.inf}])
def test_a_number_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        reach(**({"clipped": 0.1, "kl": 0.1, "responses": 1} | wrong))
    with pytest.raises(ValueError, match="responses"):
        reach(clipped=0.1, kl=0.1, responses=0)


def cells():
    """Of each cell and threshold: clipped on the side that clips more, KL, responses, odd part, even part."""
    for cell in json.loads((ROOT / "docs" / "results" / "regime.json").read_text())["cells"]:
        means, point = cell["measured"]["means"], cell["point"]
        parts = {each["name"]: each["log_entropy"] for each in cell["measured"]["effects"]}
        for eps in cell["eps"]:
            clipped = max(means[f"low {eps} alone"]["clip_low"], means[f"high {eps} alone"]["clip_high"])
            responses = point["prompts"] * point["samples"]
            yield (
                clipped,
                means["no clipping"]["kl"],
                responses,
                *(parts[f"{x} part of {eps}"] for x in ("odd", "even")),
            )


def test_the_thresholds_hold_in_every_cell_of_the_map():
    told = {LITTLE: 0, NOISE: 0, CAN: 0, UNKNOWN: 0}
    for clipped, kl, responses, odd, even in cells():
        said = reach(clipped=clipped, kl=kl, responses=responses)
        (outcome,) = [each for each in told if said.startswith(each)]
        told[outcome] += 1
        if outcome == LITTLE:
            assert abs(odd["value"]) < 1e-4
        if outcome == NOISE:  # the even part may be as large as the odd one
            assert max(abs(even["low"]), abs(even["high"])) > abs(odd["value"])
        if responses >= MANY and kl > NOISY_KL:
            assert odd["low"] > 0 and odd["value"] > abs(even["value"])
    assert all(told[each] for each in (LITTLE, NOISE, CAN)) and not told[UNKNOWN]


def test_the_page_has_these_thresholds():
    page = " ".join((ROOT / "docs" / "regime.md").read_text().split())
    own = page[page.index("**Your own run.**") : page.index("## How it is measured")]
    assert f"Under {LEAST_CLIPPED:.1%} of tokens" in own
    assert (
        "Over a KL of 1e-2 per rollout" in own and NOISY_KL == 1e-2 and f"{FEW} responses" in own and f"{MANY:,}" in own
    )


def test_no_trainer_is_imported():
    source = (ROOT / "src" / "entrostat" / "reach.py").read_text()
    imports = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert imports == ["import math"]
