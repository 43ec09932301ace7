"""A model's scores on the papers' benchmarks: sample, judge, keep, sum up, compare."""
