"""What the package must compute, in scalar float64 Python and exact integers: one token, one group, one problem.

It imports nothing of the package and no array library, follows the definitions of the papers and not the code, and is
slow. Tensors are lists here, a token's logits a list of floats.
"""

import math
from collections import Counter
from fractions import Fraction
from itertools import combinations


def exp(x):
    """e^x, inf where it overflows."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


# Clipping: PPO's surrogate with the side that its advantage selects.


def clip_event(logratio, advantage, low, high):
    """'low', 'high' or None."""
    ratio = exp(logratio)
    if advantage < 0 and ratio < 1 - low:
        return "low"
    if advantage > 0 and ratio > 1 + high:
        return "high"
    return None


def clip_loss(logratio, advantage, low, high):
    ratio = exp(logratio)
    if advantage == 0:
        return 0.0
    if advantage > 0:
        return -min(ratio, 1 + high) * advantage
    return -max(ratio, 1 - low) * advantage


def clip_loss_textbook(logratio, advantage, low, high):
    """-min(r A, clamp(r, 1 - low, 1 + high) A), for bounds that do not cross."""
    ratio = exp(logratio)
    clamped = min(max(ratio, 1 - low), 1 + high)
    return -min(ratio * advantage, clamped * advantage)


def clip_gradient(logratio, advantage, low, high):
    """d clip_loss / d logratio."""
    if advantage == 0 or clip_event(logratio, advantage, low, high):
        return 0.0
    return -advantage * exp(logratio)


def aggregate(per_token, mask, how, normalizer=None):
    """per_token and mask are lists of rows."""
    kept = [[x for x, m in zip(row, keep, strict=True) if m] for row, keep in zip(per_token, mask, strict=True)]
    if how == "token-mean":
        return sum(map(sum, kept)) / (normalizer or max(1, sum(map(len, kept))))
    if how == "sequence-mean":
        return sum(sum(row) / max(1, len(row)) for row in kept) / len(kept)
    assert how == "constant-length"
    return sum(map(sum, kept)) / (len(kept) * normalizer)


# One token's policy.


def log_softmax(logits, temperature=1.0):
    scaled = [z / temperature for z in logits]
    top = max(scaled)
    total = math.fsum(math.exp(z - top) for z in scaled)
    # ln(total) by log1p of what is over 1, for policies that are all but deterministic
    at = scaled.index(top)
    rest = math.fsum(math.exp(z - top) for i, z in enumerate(scaled) if i != at)
    assert math.isclose(1 + rest, total)
    return [z - top - math.log1p(rest) for z in scaled]


def stats(logits, taken, temperature=1.0):
    """(logprob, entropy, sum p^2, sum p^2 ln p)."""
    logps = log_softmax(logits, temperature)
    live = [lp for lp in logps if lp > -math.inf]
    return (
        logps[taken],
        math.fsum(-math.exp(lp) * lp for lp in live),
        math.fsum(math.exp(2 * lp) for lp in live),
        math.fsum(math.exp(2 * lp) * lp for lp in live),
    )


def bracket(logits, taken):
    """Q_a - E[Q] by its definition, with Q_x = p_x (ln p_x + H)."""
    logps = [lp for lp in log_softmax(logits)]
    entropy = stats(logits, taken)[1]
    q = [math.exp(lp) * (lp + entropy) if lp > -math.inf else 0.0 for lp in logps]
    return q[taken] - math.fsum(math.exp(lp) * x for lp, x in zip(logps, q, strict=True))


def entropy_change(logits, taken, logratio, advantage):
    return -advantage * exp(logratio) * bracket(logits, taken)


def region(logprob, entropy, advantage):
    """0, or 1 to 4 for E1 to E4: the table of the four regions."""
    surprisal = -logprob
    if advantage == 0 or surprisal == entropy:
        return 0
    likely = surprisal < entropy
    return {(True, True): 1, (False, True): 2, (True, False): 3, (False, False): 4}[likely, advantage > 0]


# Groups and problems.


def group_advantages(rewards, group_size, scale):
    """TRL's: (R - mean) / (std + 1e-4), std with n - 1; or R - mean."""
    out = []
    for start in range(0, len(rewards), group_size):
        group = rewards[start : start + group_size]
        mean = math.fsum(group) / len(group)
        std = math.sqrt(math.fsum((r - mean) ** 2 for r in group) / max(1, len(group) - 1))
        out += [(r - mean) / (std + 1e-4 if scale == "group" else 1.0) for r in group]
    return out


def gae(reward, values, gamma, lam):
    """One completion, by the definition: discounted sums of TD errors. (advantages, returns)."""
    n = len(values)
    ahead = [*values[1:], 0.0]
    rewards = [0.0] * (n - 1) + [reward]
    errors = [r + gamma * v2 - v for r, v, v2 in zip(rewards, values, ahead, strict=True)]
    found = [math.fsum((gamma * lam) ** i * e for i, e in enumerate(errors[t:])) for t in range(n)]
    return found, [a + v for a, v in zip(found, values, strict=True)]


def whiten(values, scale):
    """A flat list less its mean, over its standard deviation with n - 1 when asked to."""
    n, mean = len(values), math.fsum(values) / len(values)
    std = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / max(1, n - 1) + 1e-8) if scale else 1.0
    return [(x - mean) / std for x in values]


def pass_at_k(n, c, k):
    return 1 - Fraction(math.comb(n - c, k), math.comb(n, k))


def maj_at_k(answers, correct, k):
    """By going through every k-subset."""
    right = dict(zip(answers, correct, strict=True))
    total, subsets = Fraction(0), 0
    for chosen in combinations(answers, k):
        subsets += 1
        votes = Counter(a for a in chosen if a is not None)
        winners = [a for a, n in votes.items() if n == max(votes.values())]
        if winners:
            total += Fraction(sum(right[a] for a in winners), len(winners))
    return total / subsets


# EntroPIC (arXiv 2511.15248), as its authors released it.


def entropic_alpha(entropies, target, kp, ki):
    """The weight after the last of these errors, each entering the sum after its own weight is set."""
    total, alpha = 0.0, 0.0
    for entropy in entropies:
        alpha = max(-1.0, min(1.0, ki * total + kp * (entropy - target)))
        total += entropy - target
    return alpha


def entropic_term(alpha, logprobs, logratios, advantages, mask, threshold):
    """alpha x mean over the trained tokens with p > threshold of -r |A|; lists of rows, one advantage a row."""
    rows = zip(logprobs, logratios, advantages, mask, strict=True)
    values = [
        -exp(ratio) * abs(advantage)
        for row, ratios, advantage, keep in rows
        for logprob, ratio, kept in zip(row, ratios, keep, strict=True)
        if kept and exp(logprob) > threshold
    ]
    return alpha * sum(values) / len(values) if values else 0.0


# Losses of other papers, as their released code has them: per trained token, flat lists. A pair is (loss, gradient of
# the loss in the token's log-probability).


def covariances(logprobs, advantages):
    n = len(logprobs)
    mean_l, mean_a = math.fsum(logprobs) / n, math.fsum(advantages) / n
    return [(lp - mean_l) * (a - mean_a) for lp, a in zip(logprobs, advantages, strict=True)]


def clip_cov_candidates(logprobs, logratios, advantages, low, high, lower, upper):
    """Which tokens Clip-Cov may draw from."""
    covs = covariances(logprobs, advantages)
    return [
        lower < c < upper and clip_event(lr, a, low, high) is None
        for c, lr, a in zip(covs, logratios, advantages, strict=True)
    ]


def clip_cov(logprobs, logratios, advantages, low, high, taken):
    """Clip-Cov once its tokens are drawn: PPO's clipped loss, nothing for those taken."""
    return [
        (0.0, 0.0) if t else (clip_loss(lr, a, low, high), clip_gradient(lr, a, low, high))
        for lr, a, t in zip(logratios, advantages, taken, strict=True)
    ]


def kl_cov(logprobs, logratios, advantages, ratio, coef):
    """KL-Cov: -r A for all; coef |ln r| more for the tokens of largest covariance."""
    covs = covariances(logprobs, advantages)
    k = max(1, int(len(covs) * ratio))
    held = set(sorted(range(len(covs)), key=lambda i: -covs[i])[:k])
    out = []
    for i, (lr, a) in enumerate(zip(logratios, advantages, strict=True)):
        loss = gradient = -exp(lr) * a
        if i in held:
            loss, gradient = loss + coef * abs(lr), gradient + coef * ((lr > 0) - (lr < 0))
        out.append((loss, gradient))
    return out


def ce_gppo(logratios, advantages, low, high, beta_low, beta_high):
    """CE-GPPO: outside the window the loss is the window's edge times beta, and so is the gradient."""
    out = []
    for lr, a in zip(logratios, advantages, strict=True):
        event = clip_event(lr, a, low, high)
        edge = {"low": beta_low * (1 - low), "high": beta_high * (1 + high), None: exp(lr)}[event]
        out.append((-edge * a, -edge * a))
    return out


def weighted(weights, logratios, advantages, low, high):
    """PPO's clipped loss on advantages that are multiplied by weights first."""
    rescaled = [w * a for w, a in zip(weights, advantages, strict=True)]
    return [
        (clip_loss(lr, a, low, high), clip_gradient(lr, a, low, high))
        for lr, a in zip(logratios, rescaled, strict=True)
    ]


def repo_weights(logprobs, advantages, zeta):
    """REPO-R: A > 0 times 1 - zeta ln p, A < 0 times 1 + zeta ln p, the sign never turned."""
    return [
        max(1 - zeta * lp, 0.0) if a > 0 else max(1 + zeta * lp, 0.0)
        for lp, a in zip(logprobs, advantages, strict=True)
    ]


def repo_zetas(entropies, target, zeta, least, most):
    """The gain of each rollout: twice or half its size, over to the other sign at the least."""
    zetas = [zeta]
    for entropy in entropies[1:]:
        if math.isnan(entropy):
            zetas.append(zetas[-1])
            continue
        size, positive, raise_it = abs(zetas[-1]), zetas[-1] > 0, entropy < target
        if positive == raise_it:
            size = min(2 * size, most)
        elif size / 2 < least:
            size, positive = least, not positive
        else:
            size = size / 2
        zetas.append(size if positive else -size)
    return zetas


def stare_weights(old_logprobs, advantages, weight, share):
    """STARE: right tokens among the most surprising `share`, by linear interpolation between order statistics."""
    surprisals = sorted(-lp for lp in old_logprobs)
    place = (1 - share) * (len(surprisals) - 1)
    below = int(place)
    above = min(below + 1, len(surprisals) - 1)
    edge = surprisals[below] + (place - below) * (surprisals[above] - surprisals[below])
    return [weight if -lp >= edge and a > 0 else 1.0 for lp, a in zip(old_logprobs, advantages, strict=True)]


def mai_highs(entropies, target, eps, delta, k_max):
    """The largest ratio of each rollout under MAI-Thinking-1's rule."""
    k, highs = 0.0, []
    for entropy in entropies:
        if not math.isnan(entropy):
            step = delta if entropy < target else -delta
            k = min(max(k + step, 0.0), k_max)
        highs.append(1 / (1 - eps) + k)
    return highs
