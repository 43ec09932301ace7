"""entrostat: hold a language model's policy entropy where you want it, with the clip thresholds of GRPO alone."""

__version__ = "0.1.0"
