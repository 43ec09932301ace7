"""A tiny real model on a real task, in TRL's own trainer."""

import os
from types import SimpleNamespace

import pytest
import torch
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from entrostat.engines.trl import EntropyControlGRPOTrainer
from entrostat.lab.rewards import make_reward
from entrostat.lab.tasks import make_task

TASK = make_task("countdown")
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
        fields = {
            "output_dir": str(tmp_path / "out"),
            "max_steps": 20,
            "per_device_train_batch_size": PROMPTS * SAMPLES // UPDATES,
            "gradient_accumulation_steps": 1,
            "steps_per_generation": UPDATES,
            "num_generations": SAMPLES,
            "max_completion_length": TASK.max_completion,
            # large enough for ratios to leave the window within a rollout
            "learning_rate": 1e-3,
            "lr_scheduler_type": "constant",
            "shuffle_dataset": False,
            "logging_steps": UPDATES,
            "save_strategy": "no",
            "use_cpu": True,
            "bf16": False,
            "activation_checkpointing": False,
            "disable_tqdm": True,
            "report_to": "none",
            "seed": 3,
        }
        return GRPOConfig(**(fields | changes))

    def trainer(kind=EntropyControlGRPOTrainer, *, args=None, reward=None, callbacks=None, eval_dataset=None, **extra):
        torch.set_num_threads(1)
        args = args or config()
        problems = TASK.problems(max(args.max_steps, 8) * PROMPTS, split="train", seed=0)
        rows = [{"prompt": p.prompt, "key": p.key, "data": p.data} for p in problems]
        made = kind(
            model=AutoModelForCausalLM.from_pretrained(TASK.base_model, dtype=torch.float32),
            processing_class=AutoTokenizer.from_pretrained(TASK.base_model, padding_side="left"),
            reward_funcs=reward or make_reward("true", TASK, 0),
            args=args,
            train_dataset=Dataset.from_list(rows),
            eval_dataset=eval_dataset,
            callbacks=callbacks,
            **extra,
        )
        made.remove_callback(PrinterCallback)
        return made

    def parameters(made):
        return {k: v.detach().clone() for k, v in made.model.named_parameters()}

    return SimpleNamespace(config=config, trainer=trainer, parameters=parameters, stock=GRPOTrainer, task=TASK)
