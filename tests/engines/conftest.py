"""A tiny real model on a real task, in TRL's own trainer."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import trl
from trl import GRPOTrainer

from entrostat.engines.trl import EntropyControlGRPOTrainer

sys.path.insert(0, str(Path(__file__).parent))

import tiny_trl

UPDATES, PROMPTS, SAMPLES = 4, 8, 4


@pytest.fixture(autouse=True)
def other_trl(monkeypatch):
    """`make test-trl-other` tries a release of TRL that the engine refuses by its number."""
    tried = os.environ.get("ENTROSTAT_TRY_TRL")
    if tried:
        assert trl.__version__ == tried
        monkeypatch.setattr("entrostat.engines.trl.check_environment", lambda kind: None)


@pytest.fixture
def lab(tmp_path):
    """Builds trainers that differ only in what they are given."""

    def config(**changes):
        fields = {"max_steps": 20, "per_device_train_batch_size": PROMPTS * SAMPLES // UPDATES, "seed": 3}
        fields |= {"steps_per_generation": UPDATES, "num_generations": SAMPLES, "logging_steps": UPDATES}
        return tiny_trl.config(tmp_path / "out", **(fields | changes))

    def trainer(kind=EntropyControlGRPOTrainer, *, args=None, **extra):
        args = args or config()
        return tiny_trl.make(kind, args, problems=max(args.max_steps, 8) * PROMPTS, **extra)

    def parameters(made):
        return {k: v.detach().clone() for k, v in made.model.named_parameters()}

    return SimpleNamespace(config=config, trainer=trainer, parameters=parameters, stock=GRPOTrainer, task=tiny_trl.TASK)
