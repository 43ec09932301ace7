"""How samples are drawn, and the papers' settings by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """Settings of the sampler. ValueError for one that is out of range."""

    temperature: float = 1.0
    top_p: float = 1.0
    """Only the likeliest tokens that hold this mass; 1 is all."""
    top_k: int = 0
    """Only so many of the likeliest tokens; 0 is all."""

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ValueError(
                f"--temperature must be positive and finite, got {self.temperature}; "
                "1.0 is the model's own"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(
                f"--top-p must be over 0 and at most 1, got {self.top_p}; "
                "1.0 leaves it off"
            )
        if self.top_k < 0:
            raise ValueError(
                f"--top-k must be at least 0, got {self.top_k}; 0 leaves it off"
            )


PRESETS = {
    "plain": Sampling(),
    # arXiv 2602.09782: a second-hand note on its evaluation
    "2602.09782": Sampling(temperature=0.7, top_p=0.8, top_k=20),
}
