"""A reward that a random byte-level model earns some of: the share of ASCII letters and digits."""


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    return sum(c.isascii() and c.isalnum() for c in solution_str) / max(len(solution_str), 1)
