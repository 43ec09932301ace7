"""The facts on the trainers, against the source and the configuration of the installed TRL; verl's are checked beside
verl, in tests/doctor/test_verl_faults.py."""

import ast
import inspect

import pytest
import trl
from trl import GRPOConfig, GRPOTrainer

from entrostat.objectives import OBJECTIVES
from entrostat.trainers import (
    TESTED_TRL,
    TRL_LOSSES,
    VERL_LOSSES,
    VERL_WINDOW,
    Loss,
    loss_in_dump,
    ratios_can_move,
    thresholds,
    trl_always_fresh,
    trl_steps_per_generation,
    trl_updates_per_rollout,
    verl_updates_per_rollout,
)

MODULE = ast.parse(inspect.getsource(inspect.getmodule(GRPOTrainer)))
"""TRL's module, parsed."""
ATTRIBUTES = {"epsilon_low": "epsilon", "epsilon_high": "epsilon_high"}
"""Of the trainer, by the field that it is set from."""


def test_the_installed_trl_is_the_tested_one():
    assert trl.__version__.rpartition(".")[0] == TESTED_TRL.rpartition(".")[0]


# What each loss reads, by the source of _compute_loss


def loss_types(test):
    """The loss types that a condition of TRL's names: self.loss_type == "a", or in ["a", "b"]; none for another one."""
    if not isinstance(test, ast.Compare) or ast.unparse(test.left) != "self.loss_type":
        return []
    if not isinstance(test.ops[0], ast.Eq | ast.In):
        return []
    value = ast.literal_eval(test.comparators[0])
    return [value] if isinstance(value, str) else value


def read_in(statements):
    """The fields of GRPOConfig that statements of the trainer read."""
    fields = set()
    for node in (node for statement in statements for node in ast.walk(statement)):
        name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if name.startswith("self.args."):
            fields.add(name.removeprefix("self.args."))
        elif name.startswith("self.") and name.removeprefix("self.") in ATTRIBUTES:
            fields.add(ATTRIBUTES[name.removeprefix("self.")])
    return fields


@pytest.fixture(scope="module")
def branches():
    """The statements that compute per_token_loss, by loss type."""
    (method,) = [
        node for node in ast.walk(MODULE) if isinstance(node, ast.FunctionDef) and node.name == "_compute_loss"
    ]
    bodies = {}
    for node in ast.walk(method):
        if not isinstance(node, ast.If):
            continue
        assigned = [ast.unparse(target) for child in node.body for target in getattr(child, "targets", [])]
        for kind in loss_types(node.test) if "per_token_loss" in assigned else []:
            assert kind not in bodies
            bodies[kind] = node.body
    return bodies


def test_every_loss_type_of_trl_is_known(branches):
    assert set(branches) == set(TRL_LOSSES)


@pytest.mark.parametrize("kind", TRL_LOSSES)
def test_a_loss_type_reads_what_its_branch_mentions(branches, kind):
    assert read_in(branches[kind]) == set(TRL_LOSSES[kind].reads)


@pytest.mark.parametrize("kind", TRL_LOSSES)
def test_a_loss_clamps_where_its_branch_takes_the_lesser_of_r_a_and_its_clamp(branches, kind):
    text = "\n".join(ast.unparse(statement) for statement in branches[kind])
    assert ("torch.min(" in text) == TRL_LOSSES[kind].clamps
    # a weight that is cut and detached takes no gradient away
    assert (".detach()" in text and "torch.clamp(" in text) == TRL_LOSSES[kind].keeps_gradient


def test_nothing_of_trl_acts_at_a_ratio_of_1():
    assert not any(loss.acts_at_one for loss in TRL_LOSSES.values())


def test_without_epsilon_high_epsilon_stands_for_it():
    """Each loss that reads one of them reads the attribute that TRL sets from both."""
    assert (
        "self.epsilon_high = args.epsilon_high if args.epsilon_high is not None else args.epsilon"
        in inspect.getsource(GRPOTrainer.__init__)
    )


def test_the_fields_are_those_of_grpoconfig():
    assert set(thresholds(TRL_LOSSES)) <= set(GRPOConfig.__dataclass_fields__)


# When a ratio is always 1

BATCHINGS = [
    (steps, iterations, accumulated)
    for steps in (1, 2, 3, 4, 16)
    for iterations in (1, 2, 3)
    for accumulated in (1, 2, 3, 4, 16)
]


@pytest.mark.parametrize(("steps", "iterations", "accumulated"), BATCHINGS)
def test_updates_of_trl_by_counting_its_micro_batches(steps, iterations, accumulated):
    """A rollout is made at each multiple of steps x iterations, an update at the end of each accumulation."""
    per_rollout = steps * iterations
    stale, updates = [], []
    for step in range(per_rollout * accumulated * 2):
        if step % per_rollout == 0:
            updates.append(0)
        # how often the policy was updated since it sampled
        stale.append(updates[-1])
        updates[-1] += (step + 1) % accumulated == 0
    batching = {
        "steps_per_generation": steps,
        "num_iterations": iterations,
        "gradient_accumulation_steps": accumulated,
    }
    assert trl_always_fresh(**batching) == (max(stale) == 0)
    # where the two do not divide, the number alternates between two neighbours
    assert trl_updates_per_rollout(**batching) == min(updates)


def test_trl_s_own_test_of_fresh_is_the_same():
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    assert "generate_every = self.args.steps_per_generation * self.num_iterations" in source
    assert "if self.args.gradient_accumulation_steps % generate_every != 0 or" in source


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"gradient_accumulation_steps": 3},
        {"steps_per_generation": 5, "gradient_accumulation_steps": 2},
        {"generation_batch_size": 32},
        {"generation_batch_size": 96, "gradient_accumulation_steps": 2},
    ],
    ids=str,
)
def test_steps_per_generation_is_what_grpoconfig_derives(tmp_path, fields):
    here = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "num_generations": 4}
    config = GRPOConfig(per_device_train_batch_size=8, **here, **fields)
    given = {"steps_per_generation": None, "generation_batch_size": None, "gradient_accumulation_steps": 1} | fields
    ours = trl_steps_per_generation(**given, per_device_train_batch_size=8, processes=1)
    assert ours == config.steps_per_generation


def test_more_processes_share_a_generation_batch():
    given = {"steps_per_generation": None, "gradient_accumulation_steps": 1, "per_device_train_batch_size": 8}
    steps = [trl_steps_per_generation(**given, generation_batch_size=64, processes=n) for n in (1, 2, 8, 16)]
    assert steps == [8, 4, 1, 1]


@pytest.mark.parametrize(
    ("batch", "mini", "epochs", "updates"),
    [(64, 64, 1, 1), (64, 32, 1, 2), (64, 64, 2, 2), (64, 16, 3, 12), (96, 64, 1, 2), (32, 64, 1, 1)],
)
def test_updates_of_verl(batch, mini, epochs, updates):
    assert verl_updates_per_rollout(train_batch_size=batch, ppo_mini_batch_size=mini, ppo_epochs=epochs) == updates


def test_a_ratio_moves_by_a_second_update_or_an_older_policy():
    assert [ratios_can_move(1), ratios_can_move(2), ratios_can_move(1, 1)] == [False, True, True]


# verl's, and what a dump names


def test_losses_of_verl_that_read_one_side_of_the_window_read_all():
    for loss in VERL_LOSSES.values():
        assert set(VERL_WINDOW) <= set(loss.reads) or not set(VERL_WINDOW) & set(loss.reads)


def test_a_dump_names_a_loss_of_trl_or_vanilla_or_an_objective():
    assert {name: loss_in_dump(name) for name in TRL_LOSSES} == TRL_LOSSES
    assert loss_in_dump("vanilla").clamps
    assert loss_in_dump("somebody-s-own") == Loss()
    # TRL's loss beneath an objective is clamped, and the objective changes it
    assert not any(loss_in_dump(name).clamps for name in OBJECTIVES)
    assert {name for name in OBJECTIVES if loss_in_dump(name).keeps_gradient} == {"ce-gppo", "kl-cov"}


def test_no_fact_can_be_changed():
    with pytest.raises(TypeError):
        TRL_LOSSES["grpo"] = Loss()
    with pytest.raises(AttributeError):
        TRL_LOSSES["grpo"].clamps = False
