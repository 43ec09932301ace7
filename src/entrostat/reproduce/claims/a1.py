"""Theorem 1 of arXiv 2509.26114: the entropy change of one policy-gradient step under
random advantages.

With Q = pi (ln pi + H), X: r < 1 - low and Y: r > 1 + high, p and q their probabilities
under the current policy,

    H_{k+1}(s) - H_k(s) = mu nu eta d [p (E[Q] - E[Q|X]) - q (E[Q] - E[Q|Y])] + O(eta^2)

It is checked on exact policies; first_order.py has the criterion. The theorem needs of A
only that E[max(A, 0)] = E[max(-A, 0)] (derived for this project). It does not need
P(A > 0) = P(A < 0); mu nu is then P(A > 0) E[A | A > 0].
"""

from torch import Tensor

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.first_order import CRITERION, check
from entrostat.reproduce.runs import Records
from entrostat.reproduce.tabular import Policy, entropy, outside, policy_gradient


def judge(mode: Mode, records: Records) -> Result:
    """Theorem 1 against exact steps."""
    return check(theorem_1, policy_gradient, mode)


def theorem_1(policy: Policy, mu_nu: float, low: float, high: float) -> Tensor:
    """The change of each state's entropy in nats per unit of eta, (s)."""
    logprobs = policy.logits.log_softmax(-1)
    pi = logprobs.exp()
    x, y = outside(logprobs - policy.old_logprobs, low, high)
    quality = pi * (logprobs + entropy(policy.logits)[:, None])
    mean = (pi * quality).sum(-1)
    # p E[Q|X] as E[Q 1[X]]: X may be empty
    first = (pi * x).sum(-1) * mean - (pi * quality * x).sum(-1)
    second = (pi * y).sum(-1) * mean - (pi * quality * y).sum(-1)
    return mu_nu * policy.weights * (first - second)


CLAIM = Claim(
    name="a1",
    statement=(
        "Policy gradient under random rewards: to first order, the clip changes entropy "
        "by what theorem 1 says"
    ),
    source="arXiv 2509.26114, theorem 1",
    criterion=CRITERION,
    measure="slope of ln(error) over ln(eta)",
    use=(
        "Use the theorem's sign to reason about one small step with advantages of mean "
        "0; do not use it where their mean is not 0 or where they depend on the "
        "response: there it misses 10% to 30% of the change"
    ),
    judge=judge,
    fast="the same with 5 seeds",
)
