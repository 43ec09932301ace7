"""What is no strategy is refused in one line where it is handed over or first used; what is one is not."""

import dataclasses
import inspect
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch

import entrostat.strategies.check as check
from entrostat import ClipBounds, RolloutSummary, TokenStats
from entrostat.engines.controller import Controller
from entrostat.engines.hook import Hook
from entrostat.objectives.entropic import Entropic
from entrostat.strategies import STRATEGIES, NoState, Reads, make_strategy
from entrostat.strategies.static import ClipLower
from own_strategy import Own, Silent

PAGE = Path(__file__).parents[2] / "docs" / "strategies" / "README.md"
SUMMARY = RolloutSummary(progress=0.1, entropy=0.4, excess_surprisal=0.3)
OLD = TokenStats(torch.tensor([[-0.01, -1.0, -9.0], [-0.5, -0.6, -2.0]]), torch.full((2, 3), 0.4))
ALL = torch.ones(2, 3, dtype=torch.bool)
like = torch.full_like


@pytest.fixture
def controllers(as_users_see):
    """The two places that a strategy is handed to, without pytest's checker of types."""
    return SimpleNamespace(
        Controller=as_users_see("engines/controller").Controller, Hook=as_users_see("engines/hook").Hook
    )


class Kept(NamedTuple):
    """A state that is one."""

    count: int = 0
    level: float = 1.0


def giving(**methods):
    """A strategy of somebody's own with these methods or attributes in place of its own."""
    return type("Mine", (Silent,), methods)()


def returning(state, observed=None):
    return giving(init=lambda self: state, observe=lambda self, before, summary: observed)


def bounded(low, high=None, **declared):
    both = lambda self, state, old: ClipBounds(low(old.logprobs), (high or low)(old.logprobs))  # noqa: E731
    return giving(**{"bounds": both, "per_token": True, **declared})


def only_line(call, said):
    with pytest.raises(ValueError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


HANDED_OVER = [
    (lambda: ClipLower, "strategy must be an object, got the class ClipLower: write ClipLower()"),
    (lambda: "clip-lower", "of a class derived from Strategy, got 'clip-lower': .* by its name"),
    (lambda: 0.2, "of a class derived from Strategy, got 0.2"),
    (lambda: Entropic(), r"of a class derived from Strategy, got Entropic\("),
    (lambda: giving(per_token=lambda self: True), "Mine.per_token must be of type bool, got <bound method.*@property"),
    (lambda: giving(reads="entropy"), "Mine.reads must be of type Reads, got 'entropy'"),
    (lambda: giving(highest=None), "Mine.highest must be of type Real, got None"),
    (lambda: returning({"count": 0}), r"Mine.init\(\) must return a NamedTuple of numbers.* got \{'count': 0\}"),
    (lambda: returning((0, 1.0)), r"Mine.init\(\) must return a NamedTuple .* got \(0, 1.0\): return NoState\(\)"),
    (lambda: returning(None), r"must return a NamedTuple .* got None"),
    (lambda: returning(Kept(level=math.nan)), r"Mine.init\(\) .* whose level must be a finite int or float.*got nan"),
    (lambda: returning(Kept(count=True)), "whose count must be .*got True"),
    (lambda: returning(Kept(level=[1.0])), r"whose level .*got \[1.0\]"),
    (lambda: returning(Kept(level=torch.tensor(1.0))), r"whose level .*got tensor\(1.\): .*item\(\) of a tensor"),
    (lambda: returning(Kept(level=np.float32(1.0))), "whose level .*got "),
]


@pytest.mark.parametrize(("make", "said"), HANDED_OVER)
def test_what_is_no_strategy_is_refused_where_it_is_handed_over(controllers, make, said):
    """Of a controller, which TRL's, verl's and the fast engine make, and of the other trainers' hooks."""
    only_line(lambda: controllers.Controller(make()), said)
    only_line(lambda: controllers.Hook(make(), None, "slime"), said)


def test_an_objective_too_is_an_object(controllers):
    only_line(lambda: controllers.Controller(None, Entropic), r"objective must be an object, got the class Entropic")
    only_line(lambda: controllers.Controller(None, Own()), r"of a class derived from Objective, got Own\(")


@pytest.mark.parametrize(
    ("observed", "said"),
    [
        (None, r"Mine.observe\(\) must return the state's own type, Kept .* got None: return state._replace"),
        ((1, 2.0), r"own type, Kept .*got \(1, 2.0\)"),
        (NoState(), "own type, Kept .*got NoState"),
        (Kept(level=math.inf), r"Mine.observe\(\) gives a state whose level must be a finite int or float.*got inf"),
        (Kept(count=1.0), "whose count must be a finite int, .*got 1.0: .*as an int"),
    ],
)
def test_a_state_that_no_checkpoint_gives_back_is_refused_at_the_rollout(observed, said):
    controller = Controller(returning(Kept(), observed))
    only_line(lambda: controller.observe(SUMMARY), said)
    assert controller.state == Kept()


FIRST_USE = [
    (giving(bounds=lambda self, state, old: (old.logprobs, old.logprobs)), r"must return ClipBounds\(.* got tuple"),
    (bounded(lambda x: like(x, math.nan)), "gives a low of NaN for 6 of 6 tokens, .*unclipped.*inf for no bound"),
    (bounded(lambda x: like(x, 0.2), lambda x: (x - x[0, 0]).sqrt()), "gives a high of NaN for 5 of 6 tokens"),
    (bounded(lambda x: 0.2), "low that must be a tensor, got 0.2: make it from old.logprobs.detach"),
    (bounded(lambda x: torch.tensor(0.2)), r"shape of old.logprobs, \(2, 3\), got \(\)"),
    (bounded(lambda x: like(x[:, :1], 0.2)), r"\(2, 3\), got \(2, 1\): .*or expand it"),
    (bounded(lambda x: like(x, 0.2), lambda x: like(x[0], 0.2)), r"gives a high .*got \(3,\)"),
    (bounded(lambda x: like(x, 1, dtype=torch.int64)), r"floating-point numbers, got torch.int64: call .float\(\)"),
    (bounded(lambda x: like(x, 0.2).requires_grad_()), "no gradient, got one with requires_grad"),
    (bounded(lambda x: like(x, 0.2, device="meta")), "must be on cpu like old.logprobs, got meta"),
    (
        bounded(lambda x: like(x, -0.2)),
        "half-widths under 0 for 6 of 6 tokens, .*low -0.2 and high -0.2: .*acts_on_fresh",
    ),
    (
        bounded(lambda x: like(x, 0.2), lambda x: like(x, -0.3)),
        "the least low 0.2 and high -0.3: .*empty or leaves out",
    ),
    (bounded(lambda x: x.exp(), per_token=False), "low from 0.00012.* to 0.99.*per_token is False.*set per_token to"),
    (bounded(lambda x: like(x, 0.2), lambda x: x.exp(), per_token=False), "gives a high from .*per_token is False"),
]


@pytest.mark.parametrize(("strategy", "said"), FIRST_USE)
def test_bounds_that_are_none_are_refused_at_first_use(strategy, said):
    only_line(lambda: Controller(strategy).bounds(OLD, ALL), f"Mine.bounds.. .*{said}")
    ones = torch.ones(2, 3)
    only_line(lambda: Hook(strategy, None, "slime").bounds(OLD.logprobs, ones, ALL), f"Mine.bounds.. .*{said}")


def test_what_a_strategy_may_do_is_not_refused():
    drops_good_answers = bounded(lambda x: like(x, 0.2), lambda x: like(x, -1.0), acts_on_fresh=True)
    no_bound = bounded(lambda x: like(x, math.inf), lambda x: like(x, math.inf), per_token=False)
    doubles = bounded(lambda x: like(x, 0.2, dtype=torch.float64))
    drops_one = bounded(lambda x: torch.where(x > -0.1, -1.0, 0.2), acts_on_fresh=True)
    for strategy in (drops_good_answers, no_bound, doubles, drops_one):
        Controller(strategy).bounds(OLD, ALL)
    # a token that is not trained on may hold anything, and so may its bounds
    trained = OLD.logprobs > -5
    behind = bounded(lambda x: torch.where(trained, 0.2, torch.nan))
    low, _ = Controller(behind).bounds(OLD, trained)
    assert int(low.isnan().sum()) == 1
    Controller(behind).bounds(OLD, ALL & False)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_strategy_of_the_registry_goes_through(name):
    controller = Controller(make_strategy(name))
    for entropy in (1.0, math.nan, 0.3, 0.05):
        controller.observe(SUMMARY._replace(entropy=entropy))
        controller.signals()
        controller.bounds(OLD, ALL)


def test_bounds_are_looked_at_once_per_rollout_and_no_more(monkeypatch):
    """Each look waits for a GPU."""
    looks = []
    monkeypatch.setattr(check, "check_bounds", lambda strategy, *_: looks.append(strategy))
    for name in ("grpo", "thermostat"):
        controller = Controller(make_strategy(name))
        looks.clear()
        for rollout in range(1, 4):
            controller.observe(SUMMARY)
            for _ in range(5):
                controller.bounds(OLD, ALL)
            assert len(looks) == rollout
    # a hook, where nobody observes: once per state
    checked = check.CheckedBounds(make_strategy("mai"))
    states = [make_strategy("mai").init()]
    states.append(make_strategy("mai").observe(states[0], SUMMARY))
    looks.clear()
    for state in (states[0], states[0], states[1], states[1]):
        checked(state, OLD, ALL)
    assert len(looks) == 2


@pytest.mark.parametrize(
    ("signals", "said"),
    [
        (None, r"Mine.signals\(\) must return a dict from names to numbers, got None: return \{\}"),
        ({"k": "high"}, "Mine.signals.. must give finite numbers by names, got 'k': 'high'"),
        ({"k": math.nan}, "got 'k': nan: .*leave out what is not known yet"),
        ({"k": torch.tensor(0.5)}, r"got 'k': tensor\(0.5.*\): call .item\(\)"),
        ({1: 0.5}, "got 1: 0.5"),
    ],
)
def test_signals_that_are_none_are_refused_at_first_use(controllers, signals, said):
    only_line(controllers.Controller(giving(signals=lambda self, state: signals)).signals, said)


def test_a_signal_that_turns_nan_in_a_run_does_not_stop_it():
    level = giving(
        init=lambda self: Kept(),
        observe=lambda self, state, summary: state._replace(count=state.count + 1),
        signals=lambda self, state: {"level": math.nan if state.count > 1 else 1.0},
    )
    controller = Controller(level)
    for _ in range(3):
        controller.observe(SUMMARY)
        found = controller.signals()
    assert math.isnan(found["level"])


def test_the_pages_example_is_a_strategy():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(compile(code, str(PAGE), "exec"), names)
    strategy = names["TightOnLikely"]()
    assert dataclasses.asdict(strategy) == {"low": 0.2}
    controller = Controller(strategy)
    controller.observe(SUMMARY)
    low, high = controller.bounds(OLD, ALL)
    likely = torch.tensor([[True, False, False], [True, True, False]])
    assert torch.equal(low, torch.where(likely, 0.1, 0.2)) and torch.equal(low, high)
    assert controller.signals() == {} and strategy.reads == Reads.LOGPROBS


def test_the_page_names_what_a_strategy_says_of_itself():
    page = PAGE.read_text(encoding="utf-8")
    for name in [*check._DECLARED, "init", "observe", "bounds", "signals"]:
        assert f"`{name}" in page, f"{name}: {inspect.getdoc(getattr(Silent, name))}"
