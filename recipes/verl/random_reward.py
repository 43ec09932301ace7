"""The random reward of arXiv 2509.26114 for verl: blind to prompt and answer."""

import random


def bernoulli(data_source, solution_str, ground_truth, extra_info=None, **_):
    """1 or 0 with equal chances."""
    return float(random.random() < 0.5)
