"""A1 and A2: the formulas against conditional means in scalar Python, and the verdict on formulas made wrong."""

import math

import pytest
import torch

from entrostat.reproduce import CLAIMS, Mode, first_order
from entrostat.reproduce.claims.a1 import theorem_1
from entrostat.reproduce.claims.a2 import theorem_2
from entrostat.reproduce.first_order import check
from entrostat.reproduce.runs import Records
from entrostat.reproduce.tabular import natural_gradient, policy_gradient, random_policy

FEW = Mode(seeds=5)
QUALITY = {"a1": lambda p, h: p * (math.log(p) + h), "a2": lambda p, h: math.log(p)}
DIRECTION = {"a1": policy_gradient, "a2": natural_gradient}


def scalar(name, *, swapped=False, sign=1.0, quality=None, weighted=None, by_old=False, scale=1.0):
    """The theorem of a claim in scalar Python with the conditional means written out, or a mutant of it."""
    quality = quality or QUALITY[name]
    weighted = name == "a1" if weighted is None else weighted

    def state(logits, old, weight, low, high):
        total = sum(map(math.exp, logits))
        pi = [math.exp(z) / total for z in logits]
        ratio = [p / math.exp(o) for p, o in zip(pi, old, strict=True)]
        h = -sum(p * math.log(p) for p in pi)
        q_of = [quality(p, h) for p in pi]
        law = [math.exp(o) for o in old] if by_old else pi

        def mean(of):
            mass = sum(law[a] for a in of)
            return (mass, sum(law[a] * q_of[a] for a in of) / mass) if of else (0.0, 0.0)

        _, every = mean(range(len(pi)))
        p, under = mean([a for a, r in enumerate(ratio) if r < 1 - low])
        q, over = mean([a for a, r in enumerate(ratio) if r > 1 + high])
        if swapped:
            p, q = q, p
        return sign * scale * (weight if weighted else 1.0) * (p * (every - under) - q * (every - over))

    def formula(policy, mu_nu, low, high):
        rows = zip(policy.logits.tolist(), policy.old_logprobs.tolist(), policy.weights.tolist(), strict=True)
        return mu_nu * torch.tensor([state(*row, low, high) for row in rows], dtype=torch.float64)

    return formula


@pytest.mark.parametrize(("name", "theorem"), [("a1", theorem_1), ("a2", theorem_2)])
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.2), (0.2, math.inf), (1.0, 0.2), (1.0, math.inf)])
def test_the_formula_is_its_definition(name, theorem, low, high):
    policy = random_policy(6, 5, torch.Generator().manual_seed(2), moved=0.4)
    expected = scalar(name)(policy, 0.5, low, high)
    torch.testing.assert_close(theorem(policy, 0.5, low, high), expected, rtol=1e-12, atol=1e-15)
    assert expected.any() == (low < 1 or high < math.inf)


@pytest.mark.parametrize("name", ["a1", "a2"])
def test_the_claim_holds_and_gives_the_same_numbers_again(name, tmp_path):
    one, two = (CLAIMS[name].judge(FEW, Records(tmp_path)) for _ in range(2))
    assert one.verdict == "holds"
    assert one.numbers == two.numbers
    assert one.interval == two.interval
    assert one.numbers["change without clipping"] < 1e-12
    assert one.numbers["sampled gain low"] < 1 < one.numbers["sampled gain high"]


@pytest.mark.parametrize("name", ["a1", "a2"])
def test_what_breaks_and_what_does_not(name, tmp_path):
    found = CLAIMS[name].judge(FEW, Records(tmp_path)).numbers
    # E[A+] = E[A-] is all that is needed
    assert found["skewed advantage: slope"] == pytest.approx(2, abs=0.01)
    assert found["skewed advantage: missed"] < 1e-3
    for law in ("E[A] = 0.1", "advantage by response"):
        assert found[f"{law}: slope"] == pytest.approx(1, abs=0.1)
        assert found[f"{law}: missed"] > 0.05


MUTANTS = {
    "flipped sign": {"sign": -1.0},
    "p and q swapped": {"swapped": True},
    "means under the old policy": {"by_old": True},
    "off by 2%": {"scale": 1.02},
}
OF_ONE = {
    "a1": {"d dropped": {"weighted": False}, "ln pi for Q": {"quality": QUALITY["a2"]}},
    "a2": {"d kept": {"weighted": True}, "Q for ln pi": {"quality": QUALITY["a1"]}},
}


@pytest.mark.parametrize(
    ("name", "mutant"),
    [(name, mutant) for name in ("a1", "a2") for mutant in [*MUTANTS, *OF_ONE[name]]],
)
def test_a_wrong_formula_fails(name, mutant):
    wrong = scalar(name, **(MUTANTS | OF_ONE[name])[mutant])
    assert check(wrong, DIRECTION[name], FEW).verdict == "fails"


def test_a_formula_for_the_other_direction_fails():
    assert check(theorem_1, natural_gradient, FEW).verdict == "fails"
    assert check(theorem_2, policy_gradient, FEW).verdict == "fails"


def test_too_few_samples_leave_it_undecided(monkeypatch):
    monkeypatch.setattr(first_order, "BATCHES", 8)
    assert check(theorem_1, policy_gradient, FEW).verdict == "undecided"
