"""What is refused before a run, on configurations that verl's own Hydra composes, and the summary of a step."""

import inspect
import math
from pathlib import Path

import cloudpickle
import pytest
import torch
import verl
from hydra import compose, initialize_config_module
from settings import ACTOR, ours
from verl.experimental.separation.engine_workers import DetachActorWorker
from verl.utils.config import omega_conf_to_dataclass

from entrostat import dump
from entrostat.diagnose.plan import plan
from entrostat.engines.controller import Controller
from entrostat.engines.summary import sequence_sums, summarise
from entrostat.engines.verl.checks import CAN_GO_BACK, ENGINES, FSDP, check_can_act, checked_options
from entrostat.engines.verl.dump import run_notes
from entrostat.engines.verl.loss import ControlledLoss
from entrostat.engines.verl.observe import Batch, observed
from entrostat.engines.verl.trainer import STATE_FILE, restore
from entrostat.entropy import TokenStats
from entrostat.statefile import write_state
from entrostat.strategies import STRATEGIES, Reads, RolloutSummary, make_strategy
from entrostat.trainers import VERL_TRAINERS
from own_strategy import Own

BYPASS = "algorithm.rollout_correction.bypass_mode=true"
LOSS = f"{ACTOR}.policy_loss"
VERL = Path(verl.__file__).parent


def config(*overrides):
    with initialize_config_module("verl.trainer.config", version_base=None):
        known = ("trainer.v1.trainer_mode=entrostat", f"{ACTOR}.ppo_micro_batch_size_per_gpu=1")
        return compose("ppo_trainer", overrides=[*known, *overrides])


def test_the_options_come_through_hydra():
    chosen = checked_options(config(*ours("thermostat", target="0.8x", rate=0.1), f"+{LOSS}.dump_every=5"))
    assert chosen.make() == make_strategy("thermostat", target="0.8x", rate=0.1)
    assert chosen.dump_every == 5
    static = checked_options(config(*ours("clip-lower", low=0.1, high="inf")))
    assert static.make() == make_strategy("clip-lower", low=0.1, high=math.inf)


@pytest.mark.parametrize(
    "overrides, word",
    [
        ([], "needs .*loss_mode=entrostat, got 'vanilla'"),
        ([f"{LOSS}.loss_mode=entrostat"], "set .*_target_=entrostat.engines.verl.config.EntrostatLossConfig"),
        (
            [*ours("grpo"), f"{ACTOR}.strategy=automodel"],
            "'automodel' is not supported, only fsdp, fsdp2, fsdp_turbo",
        ),
        (
            [*ours("grpo"), "model_engine=megatron", f"{ACTOR}.megatron.dynamic_context_parallel=true"],
            "actor.megatron.dynamic_context_parallel=true is not supported.* set it to false",
        ),
        (
            [*ours("grpo"), "model_engine=torchtitan", f"{ACTOR}.torchtitan.context_parallel_size=2"],
            "actor.torchtitan.context_parallel_size must be 1",
        ),
        *(
            (
                [*ours("grpo"), f"model_engine={engine}", f"+{LOSS}.dump_every=1"],
                f"dump_every is not supported under actor.strategy={engine}, only fsdp and fsdp2",
            )
            for engine in ("megatron", "veomni", "torchtitan")
        ),
        ([*ours("grpo"), "distillation.enabled=true"], "distillation"),
        ([*ours("thermostat", tilt="bracket")], "sums over the vocabulary.*options.tilt=surprisal"),
        ([*ours("thermostat"), BYPASS], "'thermostat' needs the old policy's entropy.*bypass_mode=true: set it"),
        ([*ours("regions"), BYPASS], "'regions' needs the old policy's entropy"),
        ([*ours("grpo"), "data.train_batch_size=256"], "one update per step every ratio is 1"),
        (
            [*ours("grpo"), f"+{LOSS}.dump_every=1", f"{ACTOR}.ulysses_sequence_parallel_size=2"],
            "dump_every needs ulysses_sequence_parallel_size=1",
        ),
    ],
)
def test_what_cannot_work_is_refused(overrides, word):
    with pytest.raises(ValueError, match=word):
        checked_options(config(*overrides))


def test_the_engines_are_those_that_verl_has_but_one():
    """fsdp_turbo is a strategy of FSDP's configuration; automodel has no configuration of an actor."""
    known = {path.name.removesuffix("_actor.yaml") for path in (VERL / "trainer/config/actor").glob("*_actor.yaml")}
    assert known - {"dp"} == set(ENGINES) - {*FSDP, "fsdp_turbo"}
    checked_options(config(*ours("grpo"), f"{ACTOR}.strategy=fsdp_turbo"))


@pytest.mark.parametrize("engine", ["megatron", "veomni", "torchtitan"])
@pytest.mark.parametrize("mode", VERL_TRAINERS)
def test_the_other_engines_pass_under_each_trainer(engine, mode):
    chosen = config(*ours("thermostat"), f"model_engine={engine}", f"trainer.v1.trainer_mode={mode}")
    assert chosen.actor_rollout_ref.actor.strategy == engine
    if engine == "torchtitan" and mode.endswith("separate_async"):
        with pytest.raises(ValueError, match=r"not supported under actor.strategy=torchtitan.* set entrostat_colocate"):
            checked_options(chosen)
    else:
        assert checked_options(chosen).make() == make_strategy("thermostat")
    # what the driver sends to the workers
    sent = ControlledLoss(omega_conf_to_dataclass(chosen.actor_rollout_ref.actor), None)
    assert cloudpickle.loads(cloudpickle.dumps(sent)).config.strategy == engine


def test_verl_sets_the_weights_of_four_engines_back():
    """verl's separate_async saves them before the first update of a step."""
    source = inspect.getsource(DetachActorWorker._get_strategy_handlers)
    assert [name for name in ENGINES if f'"{name}"' in source] == [name for name in ENGINES if name in CAN_GO_BACK]


def test_one_update_a_step_is_enough_for_a_thermostat():
    checked_options(config(*ours("thermostat"), "data.train_batch_size=256"))


def test_without_the_entropy_column_the_rest_of_the_strategies_run():
    bypassed, living = config(*ours("grpo"), BYPASS), []
    for name in STRATEGIES:
        try:
            check_can_act(bypassed, make_strategy(name))
            living.append(name)
        except ValueError:
            pass
    assert set(STRATEGIES) - set(living) == {"thermostat", "regions"}


def test_a_strategy_of_ones_own_is_judged_by_what_it_reads():
    bypassed, usual = config(*ours("grpo"), BYPASS), config(*ours("grpo"))
    for needs in (Reads.LOGPROBS, Reads.MEAN_ENTROPY):
        check_can_act(bypassed, Own(needs=needs))
    check_can_act(usual, Own(needs=Reads.TOKEN_ENTROPY))
    with pytest.raises(ValueError, match=r"'Own' needs the old policy's entropy at each token.*bypass_mode=true"):
        check_can_act(bypassed, Own(needs=Reads.TOKEN_ENTROPY))
    with pytest.raises(ValueError, match="'Own' needs the old policy's sums over the vocabulary"):
        check_can_act(usual, Own(needs=Reads.VOCABULARY_SUMS))


def batch(entropy=True):
    draw = torch.Generator().manual_seed(0)
    b, t = 9, 5
    mask = torch.rand(b, t, generator=draw) < 0.7
    mask[-1] = False
    uids = ["p", "q", "r", "p", "q", "r", "p", "q", "pad"]
    old = -torch.rand(b, t, generator=draw) * 3
    advantages = torch.randn(b, t, generator=draw) * (torch.rand(b, 1, generator=draw) < 0.7)
    entropies = torch.rand(b, t, generator=draw) if entropy else None
    return Batch(uids, [uid == "pad" for uid in uids], mask, old, advantages, entropies, torch.zeros(b))


def test_a_step_is_summarised_as_the_trl_engine_does_whatever_the_order():
    told = {"progress": 0.25, "updates": 4, "ceiling": 5.0}
    x = batch()
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    known = x[:-1]  # there are no log-probabilities of a sampler's own
    tensors = [each[order] if isinstance(each, torch.Tensor) else [each[int(i)] for i in order] for each in known]
    assert x.old_entropy is not None
    # TRL's order: samples of one prompt together; three a prompt, the last one filled up with an empty one
    together = torch.tensor([0, 3, 6, 1, 4, 7, 2, 5, 8])
    sums = sequence_sums(TokenStats(x.old_logprobs, x.old_entropy), x.advantages, x.mask)
    expected = summarise(sums[together], group=3, **told)
    for found in (observed(x, **told), observed(Batch(*tensors), **told)):
        for name, value in expected._asdict().items():
            assert getattr(found, name) == (None if value is None else pytest.approx(value, rel=1e-6)), name
    assert expected.entropy == pytest.approx(x.old_entropy[x.mask].double().mean().item())


def test_without_entropies_the_mean_surprisal_stands_for_them():
    x = batch(entropy=False)
    found = observed(x, progress=0.0, updates=1, ceiling=5.0)
    assert found.entropy == pytest.approx(-x.old_logprobs[x.mask].double().mean().item())
    assert found.excess_surprisal is None


def test_padding_is_no_sample():
    sample, group, _ = batch().labels()
    assert sample.tolist() == [*range(8), -1]
    assert group[:3].tolist() == [0, 1, 2] == group[3:6].tolist()


def test_a_state_comes_back_whole_and_only_to_its_own_strategy(tmp_path):
    saved, resumed = Controller(make_strategy("thermostat")), Controller(make_strategy("thermostat"))
    saved.observe(RolloutSummary(0.0, 1.5, excess_surprisal=0.5, active=1.0, updates=2))
    with pytest.raises(ValueError, match=r"entrostat_state.json is missing"):
        restore(resumed, tmp_path)
    write_state(tmp_path / STATE_FILE, saved.payload())
    restore(resumed, tmp_path)
    assert resumed.state == saved.state != saved.strategy.init()
    with pytest.raises(ValueError, match="resume with 'thermostat'"):
        restore(Controller(make_strategy("grpo")), tmp_path)


@pytest.mark.parametrize("mode", ["token-mean", "token-sum", "seq-mean-token-sum-norm"])
def test_diagnosis_knows_the_loss_of_a_dump_however_it_is_reduced(tmp_path, mode):
    noted = run_notes(config(*ours("grpo"), f"{ACTOR}.loss_agg_mode={mode}"))
    assert (noted["loss_type"], noted["loss_agg_mode"]) == ("vanilla", mode)
    tokens = {"tokens": [[1]], "logprobs": [[-1.0]], "advantages": [[1.0]]}
    dump.write(tmp_path / "a.parquet", **tokens, notes=noted)
    assert not [line for line in plan([tmp_path / "a.parquet"]).left_out if "loss" in line]


def test_a_dump_notes_the_weights_of_a_rollout_correction():
    correction = "algorithm.rollout_correction"
    assert "weighed_by" not in run_notes(config(*ours("grpo")))
    assert run_notes(config(*ours("grpo"), f"{correction}.rollout_is=token"))["weighed_by"] == ["rollout_is"]
    bypassed = config(*ours("grpo"), f"{correction}.rollout_is=token", BYPASS)
    assert "weighed_by" not in run_notes(bypassed)
