"""What a dump's tokens add up to, against conditional means of an exact policy."""

import math
import random

import pytest

import reference
from entrostat.dump import write
from entrostat.reproduce.tokens import of_dumps

LOGITS = [1.0, 0.2, -0.5, -2.0]
OLD = [0.4, 0.6, -0.9, -1.2]
N = 40_000


def softmax(logits):
    total = sum(map(math.exp, logits))
    return [math.exp(z) / total for z in logits]


@pytest.fixture
def drawn(tmp_path):
    """Tokens of one state, from the old policy, over two rollouts; random advantages."""
    rng = random.Random(5)
    actions = rng.choices(range(4), softmax(OLD), k=N)
    advantages = [rng.choice([-1.0, 0.0, 2.0]) for _ in actions]
    stats = [reference.stats(LOGITS, a) for a in range(4)]
    old = [math.log(p) for p in softmax(OLD)]
    logratio = [stats[a][0] - old[a] for a in range(4)]
    sides = {"low": -1, "high": 1, None: 0}
    clipped = [
        sides[reference.clip_event(logratio[a], adv, 0.2, 0.2)] for a, adv in zip(actions, advantages, strict=True)
    ]
    for step in range(2):
        part = slice(step * N // 2, (step + 1) * N // 2)
        column = lambda values, part=part: [[v] for v in values[part]]  # noqa: E731
        write(
            tmp_path / f"step-{step:06d}.parquet",
            step=step,
            tokens=column(actions),
            advantages=column(advantages),
            clipped=column(clipped),
            low=0.2,
            high=0.2,
            logprobs=column([stats[a][0] for a in actions]),
            old_logprobs=column([old[a] for a in actions]),
            entropy=column([stats[a][1] for a in actions]),
            sum_p2=column([stats[a][2] for a in actions]),
            sum_p2_logp=column([stats[a][3] for a in actions]),
        )
    return tmp_path


def test_brackets_are_the_papers_conditional_means(drawn):
    pi, old = softmax(LOGITS), softmax(OLD)
    h = -sum(p * math.log(p) for p in pi)
    q = [p * (math.log(p) + h) for p in pi]
    mean = sum(p * x for p, x in zip(pi, q, strict=True))

    def bracket(inside):
        mass = sum(pi[a] for a in inside)
        return mass * (mean - sum(pi[a] * q[a] for a in inside) / mass)

    under = [a for a in range(4) if pi[a] / old[a] < 0.8]
    over = [a for a in range(4) if pi[a] / old[a] > 1.2]
    assert under and over
    found = of_dumps(drawn)
    assert found["bracket_low"] == pytest.approx(bracket(under), rel=0.05)
    assert found["bracket_high"] == pytest.approx(bracket(over), rel=0.05)
    assert bracket(under) * bracket(over) != 0
    assert len(found["brackets"]) == 2
    for at, name in enumerate(("bracket_low", "bracket_high")):
        assert sum(pair[at] for pair in found["brackets"]) / 2 == pytest.approx(found[name])
