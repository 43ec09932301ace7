"""Theorem 2 of arXiv 2509.26114: the entropy change of one natural-gradient step under
random advantages. Its expression was derived for this project.

The Fisher matrix of a tabular softmax policy has the blocks F_s = d (diag(pi) - pi pi^T).
Under random advantages the policy gradient at s is d (diag(pi) - pi pi^T) g with
g = mu nu (1[X] - 1[Y]), so the natural gradient is g, up to a constant that the softmax
does not see. The weight d is gone, and so is the factor pi. With dH/dz = -pi (ln pi + H)
and L = ln pi,

    H_{k+1}(s) - H_k(s) = -eta sum_a pi (L + H) g
                        = mu nu eta [p (E[L] - E[L|X]) - q (E[L] - E[L|Y])] + O(eta^2)

since E[L] = -H. Clip-low raises H if and only if the mean surprisal of the tokens under
the window is above H. The paper's own expression was not at hand; this one agrees with
exact steps. first_order.py has the criterion.
"""

from torch import Tensor

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.first_order import CRITERION, check
from entrostat.reproduce.runs import Records
from entrostat.reproduce.tabular import Policy, entropy, natural_gradient, outside


def judge(mode: Mode, records: Records) -> Result:
    """Theorem 2 against exact natural-gradient steps."""
    return check(theorem_2, natural_gradient, mode)


def theorem_2(policy: Policy, mu_nu: float, low: float, high: float) -> Tensor:
    """The change of each state's entropy in nats per unit of eta, (s)."""
    logprobs = policy.logits.log_softmax(-1)
    pi = logprobs.exp()
    x, y = outside(logprobs - policy.old_logprobs, low, high)
    mean = -entropy(policy.logits)
    # p E[L|X] as E[L 1[X]]: X may be empty
    first = (pi * x).sum(-1) * mean - (pi * logprobs * x).sum(-1)
    second = (pi * y).sum(-1) * mean - (pi * logprobs * y).sum(-1)
    return mu_nu * (first - second)


CLAIM = Claim(
    name="a2",
    statement=(
        "Natural policy gradient under random rewards: to first order, the clip changes "
        "entropy by what theorem 2 says"
    ),
    source="arXiv 2509.26114, theorem 2; its expression was derived for this project",
    criterion=CRITERION,
    measure="slope of ln(error) over ln(eta)",
    use=(
        "Use it as a1, for natural gradients; do not take it for a law of Adam, which "
        "follows neither gradient and was not checked"
    ),
    judge=judge,
    fast="the same with 5 seeds",
)
