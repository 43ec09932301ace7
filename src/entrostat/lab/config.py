"""The options of a run of the lab, and the same options as TRL's."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from trl.trainer.grpo_config import GRPOConfig
from tyro.conf import Fixed, Suppress

from entrostat.data.sources import find_source
from entrostat.lab.recipe import check_grpo
from entrostat.lab.rewards import check_reward
from entrostat.lab.tasks import make_task
from entrostat.verify import check_verifier

LossType = Literal["grpo", "bnpo", "dr_grpo", "dapo"]
CRITIC = ("gae_gamma", "gae_lambda", "critic_learning_rate")
"""Options of --advantage gae alone."""
NOT_FAST = (
    *("dataset", "lora_rank", "loss_type", "advantage", "micro_batches"),
    *("dump_every", "report_to", "grpo"),
)
"""Options of --engine trl alone."""
DATASET = (
    "columns",
    "verifier",
    "on_verifier_error",
    "drop_benchmarks",
    "max_completion",
)
"""Options of --dataset alone."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Options of a run. The defaults train the task's own tiny model in a few minutes on a laptop."""

    steps: int = 100
    """Rollouts."""
    seed: int = 0
    """Seed of problems, samples and random rewards. The same seed gives the same run on one machine."""
    learning_rate: float = 1e-4
    """AdamW, constant."""
    updates_per_rollout: int = 8
    """Optimizer steps on each rollout, over disjoint parts of it. With 1 no static clip threshold does anything."""
    micro_batches: int = 1
    """Parts of an update that pass through the model one after another: less memory, the same update."""
    prompts: int = 32
    """Prompts a rollout."""
    samples: int = 16
    """Completions of each prompt: the group that advantages are relative to."""
    reward: str = "true"
    """true (the task's verifier), bernoulli:P or normal (random, blind to the answer)."""
    task: str = "countdown"
    """Task of the lab: countdown, path, chain or times."""
    dataset: str = ""
    """Problems in the task's place: gsm8k, dapo-math-17k, gym:TASK[,TASK...], a .jsonl or .parquet file, a folder or a
    hub name (NAME:CONFIG for one of its parts). Needs --model."""
    columns: str = ""
    """Columns of --dataset that are not named problem and answer: problem=COLUMN,answer=COLUMN."""
    verifier: str = ""
    """What judges answers of --dataset: math (in \\boxed{}), gsm8k (behind ####), last-number or dapo (behind
    Answer:). gsm8k, dapo-math-17k and gym have their own; math for another."""
    on_verifier_error: Literal["stop", "skip"] = "stop"
    """A completion that the verifier hangs or dies on stops the run, or is left without a reward (never 0)."""
    drop_benchmarks: tuple[str, ...] = ()
    """Benchmarks (as of entrostat evaluate) whose problems are dropped from --dataset. Without any: all, of a hub's."""
    max_completion: int = 1024
    """Tokens of a completion at most, with --dataset. A task of the lab has its own."""
    model: str = ""
    """Folder or hub name of a causal language model; empty for the task's own base model."""
    lora_rank: int = 0
    """Train LoRA adapters of this rank on every linear layer but the LM head in place of the model; 0 for the model."""
    lora_alpha: int = 0
    """Scale of the adapters, over their rank; 0 for twice the rank."""
    loss_type: LossType = "dapo"
    """TRL's loss aggregation."""
    advantage: Literal["group", "gae"] = "group"
    """Relative to the group (GRPO), or per token by GAE against a critic (PPO): a second model of the same weights."""
    gae_gamma: float = 1.0
    """Discount of the reward, per token. With --advantage gae, as the next two."""
    gae_lambda: float = 1.0
    """1: the reward less the critic's value; towards 0, the critic's values take the reward's place."""
    critic_learning_rate: float = 1e-4
    """Of the critic: AdamW, constant. --max-grad-norm holds for it too."""
    scale_rewards: Literal["group", "none"] = "group"
    """Divide advantages by the group's standard deviation, or not (2509.26114). With --advantage gae the rollout's
    tokens are the group."""
    temperature: float = 1.0
    """Of the sampler; entropy is that of this sampler."""
    max_grad_norm: float = 1.0
    """Gradient norm is cut to this."""
    attribution_share: float = 0.25
    """Share of tokens whose full-vocabulary sums enter the entropy change per region."""
    eval_problems: int = 128
    """Held-out problems scored before and after; 0 for none, where entrostat evaluate does that later."""
    eval_samples: int = 32
    """Completions of each held-out problem."""
    eval_split: Literal["test", "validation"] = "test"
    """Which problems those are: held out, or, to choose settings on, a draw of their own from the training problems."""
    eval_at: tuple[int, ...] = ()
    """Score the held-out problems after these many rollouts too, into scores-ROLLOUTS.json."""
    temperatures: tuple[float, ...] = ()
    """Take all scores at these temperatures of the sampler beside --temperature; the best is chosen on validation
    problems. A score at one temperature hides what was learnt (docs/evaluate.md)."""
    probe_every: int = 0
    """Measure entropy on 256 fixed held-out prompts every so many rollouts (held_out_entropy); 0 for never."""
    map_every: int = 10
    """Write the response map of every so many rollouts to response.jsonl; 0 for never. Its tokens are those of
    attribution_share."""
    dump_every: int = 0
    """Write every token of every so many rollouts to dump/ (docs/dump.md); 0 for never."""
    save_every: int = 10
    """Rollouts between checkpoints."""
    threads: int = 1
    """CPU threads. 1 leaves the other cores to other runs; results are equal only between equal values."""
    engine: Literal["trl", "fast"] = "trl"
    """trl, or fast: the lab's own loop, nearly twice as many rollouts a second. It has the tasks of the lab,
    strategies and objectives; no critic, no adapters, no dumps."""
    staleness: int = 0
    """Rollouts that the sampling policy is behind, as asynchronous training has it. With --engine fast."""
    report_to: tuple[str, ...] = ()
    """Trackers that TRL logs to: tensorboard, trackio, wandb, mlflow."""
    grpo: Suppress[Fixed[Mapping[str, Any]]] = dataclasses.field(
        default_factory=dict, hash=False
    )
    """Fields of TRL's GRPOConfig beside the lab's own: the table [trl] of a recipe (entrostat.lab.recipe)."""

    def __post_init__(self):
        self._check_advantage()
        for name in (
            "steps",
            "updates_per_rollout",
            "micro_batches",
            "prompts",
            "eval_samples",
            "save_every",
            "threads",
        ):
            _at_least(name, getattr(self, name), 1)
        for name in (
            "probe_every",
            "map_every",
            "dump_every",
            "lora_rank",
            "lora_alpha",
        ):
            _at_least(name, getattr(self, name), 0)
        for rollouts in self.eval_at:
            _at_least("eval_at", rollouts, 1)
            if rollouts > self.steps:
                raise ValueError(
                    f"--eval-at {rollouts} never comes: --steps is {self.steps}"
                )
        _at_least("samples", self.samples, 2)
        self._check_temperatures()
        if self.eval_problems != 0:
            _at_least("eval_problems", self.eval_problems, 2)
        for name in ("learning_rate", "temperature", "max_grad_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(
                    f"--{name.replace('_', '-')} must be over 0, got {getattr(self, name)}"
                )
        if not 0 <= self.attribution_share <= 1:
            raise ValueError(
                f"--attribution-share must be in [0, 1], got {self.attribution_share}"
            )
        self._check_model()
        if (self.prompts * self.samples) % self.updates_per_rollout:
            raise ValueError(
                f"--updates-per-rollout {self.updates_per_rollout} must divide the {self.prompts * self.samples} "
                f"completions of a rollout (--prompts {self.prompts} x --samples {self.samples})"
            )
        if self.micro_batch % self.micro_batches:
            raise ValueError(
                f"--micro-batches {self.micro_batches} must divide the {self.micro_batch} completions of an update"
            )
        check_grpo(self.grpo)
        check_reward(self.reward)
        make_task(self.task)
        self._check_dataset()
        self._check_engine()

    def _check_dataset(self) -> None:
        _at_least("max_completion", self.max_completion, 1)
        if not self.dataset:
            for name in DATASET:
                if getattr(self, name) != getattr(TrainConfig, name):
                    raise ValueError(
                        f"--{name.replace('_', '-')} needs --dataset: a task of the lab has its own"
                    )
            return
        if not self.model:
            raise ValueError(
                f"--dataset {self.dataset} needs --model: the lab's own model can't read it"
            )
        if self.task != TrainConfig.task:
            raise ValueError("--dataset takes the place of --task: leave one out")
        if self.dataset.startswith("gym:"):
            if self.columns or self.verifier or self.drop_benchmarks:
                raise ValueError(
                    "gym: has its own columns, verifier and problems: leave these options out"
                )
            check_verifier("gym")
        else:
            check_verifier(
                find_source(self.dataset, self.columns, self.verifier).verifier
            )

    def _check_model(self) -> None:
        if self.lora_alpha and not self.lora_rank:
            raise ValueError(
                f"--lora-alpha {self.lora_alpha} needs --lora-rank: there are no adapters without it"
            )
        if self.lora_rank and self.advantage == "gae":
            raise ValueError(
                "--advantage gae trains a whole model and its critic: leave out --lora-rank"
            )
        if self.eval_at and not self.eval_problems:
            raise ValueError("--eval-at scores nothing with --eval-problems 0")

    def _check_temperatures(self) -> None:
        for temperature in self.temperatures:
            if not 0 < temperature < float("inf"):
                raise ValueError(
                    f"--temperatures must be over 0 and finite, got {temperature}"
                )
            if self.temperatures.count(temperature) > 1:
                raise ValueError(
                    f"--temperatures names {temperature} twice: leave one out"
                )
        if self.temperatures == (self.temperature,):
            raise ValueError(
                f"--temperatures {self.temperature} is --temperature itself: name another"
            )
        if self.temperatures and not self.eval_problems:
            raise ValueError("--temperatures scores nothing with --eval-problems 0")

    def _check_engine(self) -> None:
        _at_least("staleness", self.staleness, 0)
        if self.engine == "trl":
            if self.staleness:
                raise ValueError(
                    f"--staleness {self.staleness} needs --engine fast: TRL's rollouts are fresh"
                )
            return
        if self.engine != "fast":
            raise ValueError(f"--engine is {self.engine!r}: use trl or fast")
        for field in dataclasses.fields(self):
            default = {} if field.name == "grpo" else field.default
            if field.name in NOT_FAST and getattr(self, field.name) != default:
                option = (
                    "[trl] of a recipe"
                    if field.name == "grpo"
                    else f"--{field.name.replace('_', '-')}"
                )
                raise ValueError(
                    f"{option} needs --engine trl: the fast engine has nothing like it"
                )

    def _check_advantage(self) -> None:
        for name in CRITIC:
            value, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if self.advantage != "gae" and value != getattr(TrainConfig, name):
                raise ValueError(
                    f"{option} {value} needs --advantage gae: there is no critic without it"
                )
            if not 0 <= value <= 1 and name != "critic_learning_rate":
                raise ValueError(f"{option} must be in [0, 1], got {value}")
        if not 0 < self.critic_learning_rate < float("inf"):
            raise ValueError(
                f"--critic-learning-rate must be over 0, got {self.critic_learning_rate}"
            )

    @property
    def critic(self) -> dict[str, float]:
        """Options of the critic; none where there is none."""
        return (
            {name: getattr(self, name) for name in CRITIC}
            if self.advantage == "gae"
            else {}
        )

    @property
    def micro_batch(self) -> int:
        """Completions an update."""
        return self.prompts * self.samples // self.updates_per_rollout

    @property
    def at_once(self) -> int:
        """Completions that pass through the model together, on all ranks."""
        return self.micro_batch // self.micro_batches


def config_from_json(record: Mapping[str, Any]) -> TrainConfig:
    """The options that a config.json holds. KeyError for one that is missing."""
    # options that a run of before they were there does not name, as they were then
    later = (
        *(
            "advantage",
            *CRITIC,
            "dataset",
            *DATASET,
            "lora_rank",
            "lora_alpha",
            "micro_batches",
        ),
        *("temperatures", "engine", "staleness"),
    )
    group = {name: getattr(TrainConfig, name) for name in later}
    record = {
        "eval_split": "test",
        "map_every": 0,
        "dump_every": 0,
        "grpo": {},
        **group,
        **record,
    }
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    chosen: dict[str, Any] = {
        k: tuple(v) if isinstance(v := record[k], list) else v for k in names
    }
    return TrainConfig(**chosen)


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(
            f"--{name.replace('_', '-')} must be at least {least}, got {value}"
        )


def grpo_config(
    config: TrainConfig, folder: Path, method: Mapping[str, Any] = MappingProxyType({})
) -> GRPOConfig:
    """The lab's options as TRL's; `method`: the fields that the run's method sets."""
    return GRPOConfig(**grpo_fields(config, folder, method))


def grpo_fields(
    config: TrainConfig, folder: Path, method: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of that GRPOConfig."""
    fields: dict[str, Any] = dict(
        output_dir=str(folder),
        max_steps=config.steps * config.updates_per_rollout,
        per_device_train_batch_size=config.at_once,
        gradient_accumulation_steps=config.micro_batches,
        steps_per_generation=config.updates_per_rollout * config.micro_batches,
        num_generations=config.samples,
        max_completion_length=config.max_completion
        if config.dataset
        else make_task(config.task).max_completion,
        temperature=config.temperature,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        max_grad_norm=config.max_grad_norm,
        loss_type=config.loss_type,
        scale_rewards=config.scale_rewards,
        shuffle_dataset=False,
        logging_steps=config.updates_per_rollout,
        save_steps=config.save_every * config.updates_per_rollout,
        # the one that state.json names, and the one being written
        save_total_limit=2,
        seed=config.seed,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        activation_checkpointing=False,
        disable_tqdm=True,
        report_to=list(config.report_to) or "none",
    )
    return {**fields, **config.grpo, **method}
