"""Token statistics from logits, the first-order change of entropy that a token causes, and
the regions E1..E4.

Notation: b sequences, t tokens, v vocabulary; p = softmax(logits / temperature), H its
entropy in nats, a the token that was taken, r its ratio to the old policy, A its
advantage, Q_x = p_x (ln p_x + H), and E[Q] = sum_x p_x Q_x.

One sampled token contributes r A to the surrogate. A gradient step of size eta on that
contribution, in the token's own logits z, changes the entropy there by
eta <grad_z r A, grad_z H> to first order, and

    <grad_z r A, grad_z H> = -A r [Q_a - E[Q]]
    E[Q] = sum_x p_x^2 ln p_x + H sum_x p_x^2

(derived and checked numerically for this project; tests/test_entropy.py holds it against
autograd). The bracket is the estimator of both Park et al. (arXiv 2509.26114, theorem 1)
and Chen et al. (arXiv 2602.09782). It needs the four numbers of `TokenStats`. Keeping
only Q_a gives the regions of Chen et al.
"""

import math
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entrostat.clip import require_per_token

# Two float32 buffers of this many elements are all the working memory. On a CPU, 8 MiB
# each: within the last cache, and chunks so few that starting the threads of an operation
# costs nothing. On an accelerator, 64 MiB each: so large that launching kernels costs
# nothing.
_CPU_ELEMENTS = 2**21
_DEVICE_ELEMENTS = 2**24
# exp(-1000) is 0 in float64 too. A shifted logit of -inf becomes this, since 0 * -inf is
# NaN where p ln p is 0.
_FLOOR = -1000.0


class TokenStats(NamedTuple):
    """Statistics of one policy at each token, (b t) float32 in nats. All but logprobs are
    None where not known."""

    logprobs: Float[Tensor, "b t"]
    entropy: Float[Tensor, "b t"] | None = None
    sum_p2: Float[Tensor, "b t"] | None = None
    sum_p2_logp: Float[Tensor, "b t"] | None = None


class Region(IntEnum):
    """Regions of Chen et al. (arXiv 2602.09782): how surprising the token was, and the
    sign of its advantage.

    The note says where the entropy goes by the token's own term, -A r p (ln p + H).
    """

    NONE = 0
    """Zero advantage, or surprisal equal to H: no own term."""
    E1 = 1
    """-ln p < H (likely), A > 0: falls."""
    E2 = 2
    """-ln p > H (unlikely), A > 0: rises."""
    E3 = 3
    """-ln p < H (likely), A < 0: rises."""
    E4 = 4
    """-ln p > H (unlikely), A < 0: falls."""


@torch.no_grad()
def token_stats(
    logits: Float[Tensor, "b t v"],
    ids: Int[Tensor, "b t"],
    *,
    temperature: float = 1.0,
) -> TokenStats:
    """Log-probability of the taken token, entropy, sum p^2 and sum p^2 ln p over the
    vocabulary, at each token.

    A statistic: it records no gradient. It works through chunks of tokens in float32
    (float64 for float64 logits), so beside the logits it needs two small buffers, whatever
    b, t and v are. The logits are read only and may be any view. Logits of -inf have
    probability 0 and add nothing; every result is finite then, but for the
    log-probability of a token that is itself impossible, -inf. A token whose logits hold
    NaN or +inf, or are all -inf, gets NaN, alone.

    Args:
        logits: unscaled logits of the policy, any floating dtype, on any device.
        ids: the taken tokens, each in [0, v), those that a mask will drop included.
        temperature: of the sampler; the policy is softmax(logits / temperature).

    Raises:
        ValueError: shapes that do not match, an id outside the vocabulary, a temperature
            that is not positive.

    >>> logits, ids = torch.tensor([[[0.0, 0.0, -torch.inf]]]), torch.tensor([[1]])
    >>> stats = token_stats(logits, ids)
    >>> [round(x.item(), 4) for x in stats]
    [-0.6931, 0.6931, 0.5, -0.3466]
    """
    _check(logits, ids, temperature)
    b, t, v = logits.shape
    elements = _CPU_ELEMENTS if logits.device.type == "cpu" else _DEVICE_ELEMENTS
    tokens = min(max(1, elements // v), b * t)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    buffers = torch.empty(2, tokens * v, dtype=dtype, device=logits.device)
    out = torch.empty(4, b, t, dtype=torch.float32, device=logits.device)
    for rows, columns in _chunks(b, t, tokens):
        chunk = logits[rows, columns]
        taken = ids[rows, columns, None].long()
        z, scratch = (buffer[: chunk.numel()].view(chunk.shape) for buffer in buffers)
        z.copy_(chunk)
        out[:, rows, columns] = _stats(z, scratch, taken, temperature)
    return TokenStats(*out)


def bracket(stats: TokenStats) -> Float[Tensor, "b t"]:
    """Q_a - E[Q], in nats: positive where raising the token's probability lowers the
    entropy (see the module).

    Under the policy itself its mean is zero.

    Raises:
        ValueError: stats lack a field; it is named.
    """
    entropy, sum_p2, sum_p2_logp = _fields(stats, "entropy", "sum_p2", "sum_p2_logp")
    return _own(stats.logprobs, entropy) - (sum_p2_logp + entropy * sum_p2)


def excess_surprisal(stats: TokenStats) -> Float[Tensor, "b t"]:
    """ln p + H, in nats: the entropy in excess of the token's surprisal.

    Positive for a likely token (regions E1 and E3), negative for an unlikely one (E2 and
    E4). Under the policy itself its mean is zero.

    Raises:
        ValueError: stats lack the entropy.
    """
    (entropy,) = _fields(stats, "entropy")
    return stats.logprobs + entropy


def entropy_change(
    stats: TokenStats,
    logratio: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b #t"],
) -> Float[Tensor, "b t"]:
    """First-order change of entropy per unit gradient step on the token's surrogate r A:
    -A r [Q_a - E[Q]], in nats.

    Positive: the entropy at this token's position rises. It is the change that an
    unclipped token makes; a token of `clip_events` makes none.

    Args:
        stats: of the policy that is being updated, with its full-vocabulary sums.
        logratio: ln of that policy's probability of the token over the old policy's,
            which sampled it.
        advantages: (b t), or (b 1) for one per sequence.

    Raises:
        ValueError: stats lack a field, or advantages are of another shape, (b,) included.
    """
    require_per_token("advantages", advantages, logratio.shape)
    return -advantages * logratio.exp() * bracket(stats)


def entropy_change_own_term(
    stats: TokenStats,
    logratio: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b #t"],
) -> Float[Tensor, "b t"]:
    """The token's own term of `entropy_change` alone, -A r Q_a in nats, where the sums
    over the vocabulary are missing.

    Its sign is the region's. It leaves out what softmax moves on the other tokens, so it
    is off by -A r E[Q]. Arguments and errors are those of `entropy_change`; of stats it
    needs logprobs and entropy.
    """
    require_per_token("advantages", advantages, logratio.shape)
    (entropy,) = _fields(stats, "entropy")
    return -advantages * logratio.exp() * _own(stats.logprobs, entropy)


def regions(
    logprobs: Float[Tensor, "b t"],
    entropy: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b #t"],
) -> Int[Tensor, "b t"]:
    """The `Region` of each token, as int64. A tie, ln p + H = 0, has no own term and is
    NONE, and so is NaN.

    Args:
        logprobs: of the taken tokens, nats.
        entropy: of the policy at each token, nats.
        advantages: (b t), or (b 1) for one per sequence.

    Raises:
        ValueError: advantages are of another shape, (b,) included.

    >>> logprobs, entropy = torch.tensor([[-0.1, -3.0]]), torch.tensor([[0.5, 0.5]])
    >>> regions(logprobs, entropy, torch.tensor([[-1.0]]))
    tensor([[3, 4]])
    """
    require_per_token("advantages", advantages, logprobs.shape)
    excess = logprobs + entropy
    likely, unlikely = excess > 0, excess < 0
    region = torch.zeros_like(logprobs, dtype=torch.long)
    region[likely & (advantages > 0)] = Region.E1
    region[unlikely & (advantages > 0)] = Region.E2
    region[likely & (advantages < 0)] = Region.E3
    region[unlikely & (advantages < 0)] = Region.E4
    return region


def _own(logprobs: Tensor, entropy: Tensor) -> Tensor:
    """Q_a; 0 for an impossible token, where p ln p would be 0 * -inf."""
    finite = logprobs.clamp(min=torch.finfo(logprobs.dtype).min)
    return logprobs.exp() * (finite + entropy)


def _fields(stats: TokenStats, *names: str) -> list[Tensor]:
    """These statistics. ValueError, naming all that are missing."""
    values = [getattr(stats, name) for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if value is None]
    if missing:
        raise ValueError(
            f"stats lack {', '.join(missing)}; take them from token_stats(logits, ids)"
        )
    return values


def _check(logits: Tensor, ids: Tensor, temperature: float) -> None:
    if logits.ndim != 3 or ids.shape != logits.shape[:2]:
        raise ValueError(
            f"logits must be (b t v) and ids (b t), got {tuple(logits.shape)} and "
            f"{tuple(ids.shape)}"
        )
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(
            f"temperature must be positive, got {temperature}; greedy decoding has no "
            "entropy to measure"
        )
    if ids.numel():
        least, most = (int(x) for x in ids.aminmax())
        if least < 0 or most >= logits.size(-1):
            wrong = least if least < 0 else most
            raise ValueError(
                f"ids must be in [0, {logits.size(-1)}), got {wrong}; put any token where "
                "ids are masked"
            )


def _chunks(b: int, t: int, tokens: int) -> Iterator[tuple[slice, slice]]:
    """Tiles (b t) by blocks of at most `tokens`, so that a view with any strides needs no
    copy as a whole."""
    columns = min(tokens, t)
    if columns:
        for i in range(0, b, tokens // columns):
            for j in range(0, t, columns):
                yield slice(i, i + tokens // columns), slice(j, j + columns)


def _stats(z: Tensor, e: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """The four statistics, stacked, of logits z; e is scratch space. Both are
    overwritten.

    With z shifted so that the largest is 0 and S = sum of exp z, p = exp(z) / S. The
    likeliest token's exp is kept out of the sum, S = 1 + rest. So ln S = log1p(rest) and
    with it ln p and H keep their relative precision when the policy is all but
    deterministic, where 1 + rest rounds to 1. No term cancels.
    """
    top, at = z.max(-1, keepdim=True)
    chosen = z.gather(-1, ids).sub_(top).div_(temperature).squeeze(-1)
    z.sub_(top)
    if temperature != 1.0:
        z.div_(temperature)
    torch.exp(z.clamp_(min=_FLOOR), out=e)
    e.scatter_(-1, at, 0.0)
    # NaN where the top logit is infinite
    rest = e.sum(-1) + (top - top).squeeze(-1)
    log_total, total = rest.log1p(), 1 + rest
    # sums over the vocabulary; the likeliest token adds 0 to those with z, 1 to the other
    e_z = z.mul_(e).sum(-1)
    e2_z = z.mul_(e).sum(-1)
    e2 = 1 + e.mul_(e).sum(-1)
    logprobs = chosen - log_total
    entropy = log_total - e_z / total
    sum_p2 = e2 / total**2
    sum_p2_logp = (e2_z - log_total * e2) / total**2
    return torch.stack([logprobs, entropy, sum_p2, sum_p2_logp])
