"""The share of tokens that a window on a sequence's mean ratio clips where the policy has not moved at all.

    python dev/sequence_clip.py [LOW HIGH]

Rows: sigma, the spread of ln r per token between two engines at the same weights; its mean is -sigma^2 / 2, as the
sampler's own tokens have it (E r = 1). Columns: tokens of a response. ln r of a sequence is then normal, with that mean
and a spread of sigma / sqrt(tokens), if the tokens are independent. Half of the tokens have A < 0. It is the table of
docs/guides/async-clip.md.
"""

import math
import sys

LENGTHS = (100, 1000, 10_000)
SIGMAS = (0.005, 0.01, 0.02, 0.03, 0.05)


def clipped(sigma: float, tokens: int, low: float = 3e-4, high: float = 4e-4) -> float:
    """The share: A < 0 and the ratio under 1 - low, or A > 0 and over 1 + high.

    >>> round(clipped(0.03, 1000), 2)
    0.37
    """
    mean, spread = -(sigma**2) / 2, sigma / math.sqrt(tokens)
    under = _normal((math.log1p(-low) - mean) / spread)
    over = 1 - _normal((math.log1p(high) - mean) / spread)
    return 0.5 * under + 0.5 * over


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def main() -> None:
    window = [float(word) for word in sys.argv[1:3]]
    print("| sigma | KL per token | " + " | ".join(f"{n:,} tokens" for n in LENGTHS) + " |")
    print("|---|---|" + "---|" * len(LENGTHS))
    for sigma in SIGMAS:
        shares = [f"{clipped(sigma, tokens, *window):.0%}" for tokens in LENGTHS]
        print(f"| {sigma:g} | {sigma**2 / 2:.1e} | " + " | ".join(shares) + " |")


if __name__ == "__main__":
    main()
