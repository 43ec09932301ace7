"""Every strategy and every objective runs in the fast engine, and what remembers moves on."""

import pytest
import torch

from entrostat.engines import fast
from entrostat.engines.qwen2 import load_model
from entrostat.lab.control import bounds_of, control
from entrostat.lab.environment import lab_environment, vocabulary_ceiling
from entrostat.lab.methods import make_method
from entrostat.objectives import OBJECTIVES
from entrostat.strategies import STRATEGIES, NoState
from entrostat.strategies.static import Grpo

METHODS = [*STRATEGIES, *(f"objective:{name}" for name in OBJECTIVES)]
GENERATOR = 7


def walked(controls, rollouts=2):
    """The model after so many toy rollouts of a run each, and the signals of each rollout."""
    environment, folder = lab_environment("countdown")
    model = load_model(folder, runs=len(controls))
    adam = fast.optimizer(model, 1e-3)
    generators = [torch.Generator().manual_seed(GENERATOR) for _ in controls]
    logged = []
    for rollout in range(rollouts):
        problems = environment.task.problems(2, split="train", seed=rollout)
        sampled = environment.sample(model, [problem.prompt for problem in problems], samples=4, generators=generators)
        gains = torch.tensor([1.0, -1.0]).repeat(4).expand(len(controls), -1)
        for run, each in enumerate(controls):
            known = {"progress": rollout / rollouts, "updates": 2, "ceiling": vocabulary_ceiling(model)}
            each.observe(fast.summary(sampled, gains, run, group=4, **known))
        rows = fast.mini_batches(sampled, 2, generators)
        pairs = [each.pair for each in controls]
        fast.update(model, adam, sampled, gains, bounds_of(controls, sampled), rows, objectives=pairs)
        logged.append([each.signals() for each in controls])
    return model, logged


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_and_what_remembers_moves_on(name):
    each = control(make_method(name))
    states = [(each.state, each.objective_state)]
    model, logged = walked([each])
    states.append((each.state, each.objective_state))
    assert all(torch.isfinite(weight).all() for weight in model.weights.values())
    if not isinstance(each.state, NoState):
        assert states[1][0] != states[0][0]
    if each.objective is not None:
        assert states[1][1] != states[0][1]
    for (signals,) in logged:
        assert all(torch.isfinite(torch.tensor(float(value))) for value in signals.values())


def test_methods_run_side_by_side_as_they_do_alone():
    """Each run has its own strategy's bounds and its own objective's term."""
    names = ["grpo", "thermostat", "dcpo", "objective:entropic"]
    together, _ = walked([control(make_method(name)) for name in names], rollouts=1)
    for run, name in enumerate(names):
        alone, _ = walked([control(make_method(name))], rollouts=1)
        for key, weight in alone.weights.items():
            assert torch.allclose(together.weights[key][run], weight[0], rtol=0, atol=3e-4), (name, key)


def test_an_objective_stands_on_its_own_window():
    assert control(make_method("objective:ce-gppo", low=0.1, high=0.3)).strategy == Grpo(0.1, 0.3)
    assert control(make_method("objective:entropic")).strategy == Grpo()
    assert control(make_method("clip-lower")).pair is None


def test_trls_own_methods_are_refused():
    with pytest.raises(
        ValueError, match="only TRL's trainer has the loss of trl:cispo: the fast engine runs strategies"
    ):
        control(make_method("trl:cispo"))
