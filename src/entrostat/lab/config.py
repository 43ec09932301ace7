"""The options of a run of the lab.

Nothing here imports torch or TRL, which take seconds: --help and a wrong option need
neither."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from tyro.conf import Fixed, Suppress

from entrostat.data.sources import find_source
from entrostat.lab.blind import check_reward
from entrostat.lab.options import at_least, option, over_zero, share_of_one
from entrostat.lab.recipe import check_grpo
from entrostat.lab.tasks import make_task
from entrostat.verify import check_verifier

LossType = Literal["grpo", "bnpo", "dr_grpo", "dapo"]
OnError = Literal["stop", "skip"]
CRITIC = ("gae_gamma", "gae_lambda", "critic_learning_rate")
"""Options of --advantage gae alone."""
TRL_ONLY = (
    "dataset",
    "lora_rank",
    "loss_type",
    "advantage",
    "micro_batches",
    "dump_every",
    "report_to",
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
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "loss and advantage": (
            "loss_type",
            "scale_rewards",
            "max_grad_norm",
            "temperature",
            "staleness",
            "staleness_mixed",
            "advantage",
            *CRITIC,
        ),
        "scores": (
            "eval_problems",
            "eval_samples",
            "eval_split",
            "eval_at",
            "temperatures",
            "probe_every",
        ),
        "data sets": DATASET,
        "records": (
            "attribution_share",
            "map_every",
            "dump_every",
            "save_every",
            "report_to",
        ),
        "model and machine": ("micro_batches", "lora_rank", "lora_alpha", "threads"),
    }
)
"""How --help groups the options that are not of everyday use."""
_FROM_1 = (
    "steps",
    "updates_per_rollout",
    "micro_batches",
    "prompts",
    "max_completion",
    "eval_samples",
    "save_every",
    "threads",
)
_FROM_0 = (
    "lora_rank",
    "lora_alpha",
    "probe_every",
    "map_every",
    "dump_every",
    "staleness",
)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Options of a run. The defaults train the task's own tiny model in a few minutes
    on a laptop."""

    steps: int = 100
    """Rollouts."""
    seed: int = 0
    """Seed of problems, samples and random rewards.
    The same seed gives the same run on one machine."""
    learning_rate: float = 1e-4
    """AdamW, constant."""
    updates_per_rollout: int = 8
    """Optimizer steps on each rollout, over disjoint parts of it.
    With 1 no static clip threshold does anything."""
    micro_batches: int = 1
    """Parts of an update that pass through the model one after another:
    less memory, the same update."""
    prompts: int = 32
    """Prompts per rollout."""
    samples: int = 16
    """Completions of each prompt: the group that advantages are relative to."""
    reward: str = "true"
    """true (the task's verifier), bernoulli:P or normal (random, blind to the answer)."""
    task: str = "countdown"
    """Task of the lab: countdown, path, chain or times."""
    dataset: str = ""
    """Problems in place of the task's: gsm8k, dapo-math-17k, gym:TASK[,TASK...],
    a .jsonl or .parquet file, a folder, or a hub name (NAME:CONFIG for one of its parts).
    Needs --model."""
    columns: str = ""
    """Columns of --dataset that are not named problem and answer:
    problem=COLUMN,answer=COLUMN."""
    verifier: str = ""
    """What judges answers of --dataset:
    math (in \\boxed{}), gsm8k (behind ####), last-number or dapo (behind Answer:).
    gsm8k, dapo-math-17k and gym have their own; any other data set has math."""
    on_verifier_error: OnError = "stop"
    """Where the verifier hangs or dies on a completion: stop the run,
    or skip the completion, which then has no reward (never 0)."""
    drop_benchmarks: tuple[str, ...] = ()
    """Benchmarks (as of entrostat evaluate) whose problems are dropped from --dataset.
    Without any: all of them, for a data set of the hub."""
    max_completion: int = 1024
    """Tokens of a completion at most, with --dataset. A task of the lab has its own."""
    model: str = ""
    """Folder or hub name of a causal language model;
    empty for the task's own base model."""
    lora_rank: int = 0
    """Train LoRA adapters of this rank in place of the model,
    on every linear layer but the LM head; 0 for the model."""
    lora_alpha: int = 0
    """Scale of the adapters, over their rank; 0 for twice the rank."""
    loss_type: LossType = "dapo"
    """TRL's loss aggregation."""
    advantage: Literal["group", "gae"] = "group"
    """Relative to the group (GRPO), or per token by GAE against a critic (PPO):
    a second model of the same weights."""
    gae_gamma: float = 1.0
    """Discount of the reward, per token. With --advantage gae, as the next two."""
    gae_lambda: float = 1.0
    """1: the reward less the critic's value;
    towards 0, the critic's values take the reward's place."""
    critic_learning_rate: float = 1e-4
    """Of the critic: AdamW, constant. --max-grad-norm holds for it too."""
    scale_rewards: Literal["group", "none"] = "group"
    """Divide advantages by the group's standard deviation, or not (2509.26114).
    With --advantage gae the rollout's tokens are the group."""
    temperature: float = 1.0
    """Of the sampler; entropy is that of this sampler."""
    max_grad_norm: float = 1.0
    """Gradient norm is cut to this."""
    attribution_share: float = 0.25
    """Share of tokens whose full-vocabulary sums enter the entropy change per region."""
    eval_problems: int = 128
    """Held-out problems scored before and after;
    0 for none (entrostat evaluate can score them later)."""
    eval_samples: int = 32
    """Completions of each held-out problem."""
    eval_split: Literal["test", "validation"] = "test"
    """Which problems those are: test (held out),
    or validation (to choose settings on: a draw of its own from the training problems)."""
    eval_at: tuple[int, ...] = ()
    """Score the held-out problems after these many rollouts too,
    into scores-ROLLOUTS.json."""
    temperatures: tuple[float, ...] = ()
    """Take all scores at these temperatures of the sampler too, beside --temperature;
    the best is chosen on validation problems.
    A score at one temperature hides what was learnt (docs/evaluate.md)."""
    probe_every: int = 0
    """Measure entropy on 256 fixed held-out prompts every so many rollouts,
    as held_out_entropy; 0 for never."""
    map_every: int = 10
    """Write the response map of every so many rollouts to response.jsonl; 0 for never.
    Its tokens are those of --attribution-share."""
    dump_every: int = 0
    """Write every token of every so many rollouts to dump/ (docs/dump.md); 0 for never."""
    save_every: int = 10
    """Rollouts between checkpoints."""
    threads: int = 1
    """CPU threads. 1 leaves the other cores to other runs;
    results are equal only between equal values."""
    engine: Literal["trl", "fast"] = "trl"
    """trl, or fast: the lab's own loop, nearly twice as many rollouts per second.
    It has the tasks of the lab, strategies and objectives;
    no critic, no adapters, no dumps."""
    staleness: int = 0
    """Rollouts that the sampling policy is behind, as in asynchronous training.
    With --engine fast."""
    staleness_mixed: bool = False
    """A rollout's prompts have ages from 0 to --staleness, in place of that one."""
    report_to: tuple[str, ...] = ()
    """Trackers that TRL logs to: tensorboard, trackio, wandb, mlflow."""
    grpo: Suppress[Fixed[Mapping[str, Any]]] = dataclasses.field(
        default_factory=dict, hash=False
    )
    """Fields of TRL's GRPOConfig beside the lab's own: the table [trl] of a recipe file
    (entrostat.lab.recipe)."""

    def __post_init__(self):
        self._check_ranges()
        self._check_advantage()
        self._check_division()
        self._check_scores()
        self._check_adapters()
        self._check_dataset()
        self._check_engine()
        check_grpo(self.grpo)
        check_reward(self.reward)
        make_task(self.task)

    def _check_ranges(self) -> None:
        """What each number may be, whatever the others are."""
        for name in _FROM_1:
            at_least(name, getattr(self, name), 1)
        for name in _FROM_0:
            at_least(name, getattr(self, name), 0)
        # advantages are relative to the group: one completion would have none
        at_least("samples", self.samples, 2)
        for name in ("learning_rate", "temperature", "max_grad_norm"):
            over_zero(name, getattr(self, name))
        share_of_one("attribution_share", self.attribution_share)

    def _check_advantage(self) -> None:
        if self.advantage != "gae":
            self._needs("--advantage gae", CRITIC, "there is no critic without it")
        share_of_one("gae_gamma", self.gae_gamma)
        share_of_one("gae_lambda", self.gae_lambda)
        over_zero("critic_learning_rate", self.critic_learning_rate)

    def _check_division(self) -> None:
        """A rollout is divided into updates, and an update into passes."""
        completions = self.prompts * self.samples
        if completions % self.updates_per_rollout:
            raise ValueError(
                f"--updates-per-rollout {self.updates_per_rollout} must divide the "
                f"{completions} completions of a rollout (--prompts {self.prompts} x "
                f"--samples {self.samples})"
            )
        if self.completions_per_update % self.micro_batches:
            raise ValueError(
                f"--micro-batches {self.micro_batches} must divide the "
                f"{self.completions_per_update} completions of an update"
            )

    def _check_scores(self) -> None:
        if self.eval_problems == 0:
            for name in ("eval_at", "temperatures"):
                if getattr(self, name):
                    raise ValueError(
                        f"{option(name)} scores nothing with --eval-problems 0"
                    )
            return
        # an interval over problems needs two of them
        at_least("eval_problems", self.eval_problems, 2)
        for rollouts in self.eval_at:
            at_least("eval_at", rollouts, 1)
            if rollouts > self.steps:
                raise ValueError(
                    f"--eval-at {rollouts} never comes: --steps is {self.steps}"
                )
        self._check_temperatures()

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

    def _check_adapters(self) -> None:
        if self.lora_rank == 0:
            self._needs(
                "--lora-rank", ("lora_alpha",), "there are no adapters without it"
            )
        elif self.advantage == "gae":
            raise ValueError(
                "--advantage gae trains a whole model and its critic: "
                "leave out --lora-rank"
            )

    def _check_dataset(self) -> None:
        if not self.dataset:
            self._needs("--dataset", DATASET, "a task of the lab has its own")
            return
        if not self.model:
            raise ValueError(
                f"--dataset {self.dataset} needs --model: "
                "the lab's own model can't read it"
            )
        if self.task != TrainConfig.task:
            raise ValueError("--dataset takes the place of --task: leave one out")
        if not self.dataset.startswith("gym:"):
            source = find_source(self.dataset, self.columns, self.verifier)
            check_verifier(source.verifier)
            return
        if self.columns or self.verifier or self.drop_benchmarks:
            raise ValueError(
                "gym: has its own columns, verifier and problems: "
                "leave these options out"
            )
        check_verifier("gym")

    def _check_engine(self) -> None:
        if self.engine == "trl":
            stale = ("staleness", "staleness_mixed")
            self._needs("--engine fast", stale, "TRL's rollouts are fresh")
            return
        if self.staleness == 0:
            reason = "all rollouts are fresh without it"
            self._needs("--staleness", ("staleness_mixed",), reason)
        if self.engine != "fast":
            raise ValueError(f"--engine is {self.engine!r}: use trl or fast")
        reason = "the fast engine has nothing like it"
        self._needs("--engine trl", TRL_ONLY, reason)
        if self.grpo:
            raise ValueError(f"[trl] of a recipe needs --engine trl: {reason}")

    def _needs(self, needed: str, names: tuple[str, ...], reason: str) -> None:
        """Raises ValueError where one of these options is not at its default; each of
        them needs the option `needed`, which is not there."""
        for name in names:
            value = getattr(self, name)
            if value != getattr(TrainConfig, name):
                raise ValueError(f"{option(name)} {value} needs {needed}: {reason}")

    @property
    def critic(self) -> dict[str, float]:
        """Options of the critic; none where there is none."""
        if self.advantage != "gae":
            return {}
        return {name: getattr(self, name) for name in CRITIC}

    @property
    def completions_per_update(self) -> int:
        """On all ranks together."""
        return self.prompts * self.samples // self.updates_per_rollout

    @property
    def completions_per_pass(self) -> int:
        """Completions that pass through the model together, on all ranks."""
        return self.completions_per_update // self.micro_batches

    def is_probed(self, rollout: int) -> bool:
        """Whether entropy on held-out prompts is measured before this rollout."""
        return _is_due(rollout, self.probe_every)

    def is_mapped(self, rollout: int) -> bool:
        """Whether this rollout has a response map."""
        return _is_due(rollout, self.map_every)


def _is_due(rollout: int, every: int) -> bool:
    """Whether what is done every so many rollouts is done now; 0 is never."""
    return every > 0 and rollout % every == 0


def config_from_json(record: Mapping[str, Any]) -> TrainConfig:
    """The options that a config.json holds. KeyError for one that is missing."""
    options: dict[str, Any] = {}
    for field in dataclasses.fields(TrainConfig):
        value = record[field.name]
        # JSON has no tuples
        options[field.name] = tuple(value) if isinstance(value, list) else value
    return TrainConfig(**options)
