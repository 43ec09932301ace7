"""What is left out, misspelt or misplaced of our settings, given to the validate_config that verl's main_ppo calls in
the driver before it starts Ray, on configurations that verl's own Hydra composes."""

import dataclasses
import functools
import math
import os
import re
import subprocess
import sys

import pytest
import verl.utils
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from settings import ACTOR, MODE
from verl.trainer import main_ppo
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.workers.config import PolicyLossConfig

from entrostat.engines.verl import settings
from entrostat.engines.verl.checks import checked_options
from entrostat.engines.verl.config import EntrostatLossConfig
from entrostat.strategies import make_strategy

LOSS = f"{ACTOR}.policy_loss"
LOSS_MODE, TARGET = f"{LOSS}.loss_mode=entrostat", f"{LOSS}._target_={settings.TARGET}"
STRATEGY = f"+{LOSS}.strategy=clip-lower"
WHOLE = (MODE, LOSS_MODE, TARGET, STRATEGY)
V0 = ("trainer.use_v1=False", LOSS_MODE, TARGET)
NEEDED = (
    "algorithm.adv_estimator=grpo",
    f"{ACTOR}.ppo_micro_batch_size_per_gpu=1",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=1",
)


@dataclasses.dataclass
class SomebodyElses(PolicyLossConfig):
    """Options of another loss, whose names are ours by chance."""

    strategy: str = ""
    options: dict = dataclasses.field(default_factory=dict)


def config(*overrides):
    """By Hydra, as from the command line."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=[*NEEDED, *overrides])


@functools.cache
def verls_own():
    chosen = config()
    OmegaConf.set_struct(chosen, False)
    return chosen


def composed(*overrides):
    """As `config`, but composed by Hydra only once, which takes half a second."""
    lines = [line.removeprefix("+") for line in overrides]
    chosen = OmegaConf.merge(verls_own(), OmegaConf.from_dotlist(lines)) if lines else verls_own()
    assert isinstance(chosen, DictConfig)
    return chosen


def validate(chosen):
    main_ppo.validate_config(
        config=chosen, use_reference_policy=need_reference_policy(chosen), use_critic=need_critic(chosen)
    )


def refusal(*overrides):
    """The one line that is said."""
    with pytest.raises(ValueError) as error:
        validate(composed(*overrides))
    said = str(error.value)
    assert said.startswith("entrostat: ") and "\n" not in said, said
    return said


def test_the_whole_of_it_passes_and_so_does_a_run_of_verls_own():
    assert settings.named(verls_own()) == []
    validate(verls_own())
    validate(config(*WHOLE))
    for verls in ("colocate_async", "separate_async"):
        validate(composed(f"{MODE}_{verls}", *WHOLE[1:]))
    validate(config(*V0, STRATEGY))
    validate(composed(LOSS_MODE, TARGET, STRATEGY, "rollout.nnodes=1"))
    assert verl.utils.validate_config is main_ppo.validate_config


def test_a_loss_of_somebody_elses_is_left_alone():
    target = f"{LOSS}._target_={SomebodyElses.__module__}.SomebodyElses"
    assert (
        settings.named(composed(target, f"{LOSS}.loss_mode=gspo", f"+{LOSS}.strategy=a", f"+{LOSS}.options.b=1")) == []
    )


def test_the_names_that_are_data_are_those_of_the_class():
    assert f"{EntrostatLossConfig.__module__}.{EntrostatLossConfig.__qualname__}" == settings.TARGET
    mine = {field.name for field in dataclasses.fields(EntrostatLossConfig)}
    assert mine - {field.name for field in dataclasses.fields(PolicyLossConfig)} == set(settings.OWN_FIELDS)


@pytest.mark.parametrize("given", range(1, 15))
def test_any_part_of_it_alone_is_refused_and_all_that_is_missing_named(given):
    """All subsets of the four settings but the whole and none."""
    chosen = [line for bit, line in enumerate(WHOLE) if given >> bit & 1]
    to_set = refusal(*chosen).split("set this too: ")[1]
    for line in WHOLE:
        name = line.split("=")[0]
        assert (f"{name}=" in to_set) == (line not in chosen)
        assert line in to_set or line in chosen or line == STRATEGY


@pytest.mark.parametrize(
    "lines, said",
    [
        ([MODE, LOSS_MODE, f"{LOSS}._target_={settings.TARGET}s", STRATEGY], rf"{TARGET} \(it is {settings.TARGET}s\)"),
        ([MODE, f"{LOSS}.loss_mode=gspo", TARGET, STRATEGY], rf"{LOSS_MODE} \(it is gspo\)"),
        (["trainer.v1.trainer_mode=colocate_async", *WHOLE[1:]], rf"{MODE}_colocate_async \(it is colocate_async\)"),
        (["trainer.v1.trainer_mode=separate_async", *WHOLE[1:]], rf"{MODE}_separate_async \(it is separate_async\)"),
        ([f"{MODE}_colocate_async"], rf"{MODE.split('=')[0]} asks for it, so set this too: {LOSS_MODE} "),
        # read by nobody where they stand
        (["+trainer.trainer_mode=entrostat"], "trainer.trainer_mode is read by nobody: set trainer.v1.trainer_mode"),
        (["+algorithm.loss_mode=entrostat"], f"algorithm.loss_mode is read by nobody: set {LOSS}.loss_mode"),
        (["+actor_rollout_ref.policy_loss.strategy=od"], f"read by nobody: set {LOSS}.strategy"),
        ([*WHOLE, "+actor_rollout_ref.policy_loss.options.low=0.1"], f"read by nobody: set {LOSS}.options"),
        (["distillation.distillation_loss.policy_loss_mode=entrostat"], f"by nobody: set {LOSS_MODE.split('=')[0]}"),
        # no such setting
        (
            [*WHOLE, f"+{LOSS}.low=0.1"],
            f"{LOSS}.low: no such setting. An option of the strategy stands under {LOSS}.opt",
        ),
        ([*WHOLE, f"+{LOSS}.dump_evry=5"], "dump_evry: no such setting. did you mean dump_every"),
        ([MODE, LOSS_MODE, TARGET, f"+{LOSS}.strategy=clip-lowr"], "did you mean clip-lower"),
        ([*WHOLE, f"+{LOSS}.options.hgh=1"], "'clip-lower' has no option 'hgh': did you mean high"),
        ([*WHOLE, f"+{LOSS}.options.low=abc"], "low must be a number, .* got 'abc'"),
        ([*WHOLE, f"+{LOSS}.options=0.1"], "policy_loss.options must hold options by name, got 0.1"),
        # of no effect
        (
            [*WHOLE, f"+{LOSS}.dump_dir=/tmp/x"],
            "dump_dir=/tmp/x without policy_loss.dump_every: nothing would be written",
        ),
        ([*WHOLE, f"+{LOSS}.dump_every=1.5"], "dump_every must be a whole number of steps, at least 0, got 1.5"),
        ([*WHOLE, f"+{LOSS}.dump_every=-1"], "dump_every must be a whole number of steps, at least 0, got -1"),
        ([*WHOLE, "data.train_batch_size=256"], "one update per step every ratio is 1"),
        ([*V0, STRATEGY, "data.train_batch_size=256"], "one update per step every ratio is 1"),
        # what the v0 trainer passes over
        ([*V0, STRATEGY, MODE], "the v0 trainer does not read trainer.v1.trainer_mode=entrostat"),
        ([*V0, STRATEGY, f"{MODE}_colocate_async"], "v0 trainer does not read trainer.v1.trainer_mode=entrostat_coloc"),
        ([*V0, STRATEGY, f"+{LOSS}.dump_every=5"], "dump_every is not read by the v0 trainer"),
        (
            [*V0, f"+{LOSS}.strategy=thermostat"],
            "keeps a state .* and the v0 trainer hands none on: run verl.trainer.main_ppo with trainer.use_v1=t",
        ),
        (
            [*V0, f"+{LOSS}.strategy=regions"],
            "'regions' needs .* missing under the v0 trainer: run verl.trainer.main_ppo with",
        ),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(lines, said):
    assert re.search(said, refusal(*lines))


def test_numbers_and_switches_that_are_text_are_read():
    """YAML's .inf and no, which Hydra's command line leaves a text, and what the environment gives."""
    chosen = config(*WHOLE, f"+{LOSS}.options.high=.inf", f"+{LOSS}.options.low='0.1'")
    assert type(chosen.actor_rollout_ref.actor.policy_loss.options.high) is str
    assert checked_options(chosen).make() == make_strategy("clip-lower", low=0.1, high=math.inf)
    one_sided = config(*WHOLE[:3], f"+{LOSS}.strategy=dynamic", f"+{LOSS}.options.lower_dynamic=no")
    assert checked_options(one_sided).make() == make_strategy("dynamic", lower_dynamic=False)
    thermostat = config(*WHOLE[:3], f"+{LOSS}.strategy=thermostat", f"+{LOSS}.options.target=linear:1x:0.5x")
    assert checked_options(thermostat).make() == make_strategy("thermostat", target="linear:1x:0.5x")


def test_a_setting_behind_an_interpolation_counts_as_what_it_is():
    chosen = composed(*WHOLE[1:], "mode=entrostat", "trainer.v1.trainer_mode=${mode}")
    validate(chosen)
    chosen.mode = "sync"
    with pytest.raises(ValueError, match=r"trainer_mode=entrostat \(it is sync"):
        validate(chosen)


def test_where_verl_has_not_loaded_the_plug_in_its_options_say_so(monkeypatch):
    monkeypatch.delitem(sys.modules, "entrostat.engines.verl.plugin")
    with pytest.raises(ValueError, match=r"verl has not loaded entrostat's plug-in.*VERL_USE_EXTERNAL_PLUGINS"):
        EntrostatLossConfig(strategy="grpo")


def test_a_terminal_shows_the_sentence_and_no_traceback(tmp_path):
    lines = [*NEEDED, *WHOLE[1:]]
    done = subprocess.run(
        [sys.executable, "-m", "verl.trainer.main_ppo", *lines],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("entrostat: ")]
    assert said == [refusal(*WHOLE[1:])]
    assert "Traceback" not in done.stderr
    assert "ray init" not in done.stdout
