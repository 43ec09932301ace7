"""A name that TRL's next release drops stops us in one sentence, before anything is trained."""

import importlib
import inspect
import os
import re
from pathlib import Path
from types import CodeType, FunctionType

import pytest
import trl
from trl import GRPOTrainer

from entrostat.engines import trl_surface
from entrostat.engines.checks import check_environment
from entrostat.engines.dump import DumpMixin
from entrostat.engines.measure import MeasureMixin
from entrostat.engines.passes import THRESHOLDS, PassMixin
from entrostat.engines.ppo import CriticMixin
from entrostat.engines.scored import ScoredMixin
from entrostat.engines.trl import EntropyControlMixin
from entrostat.engines.trl_surface import ATTRIBUTES, METHODS, READ_BY_LOSS

MIXINS = (DumpMixin, MeasureMixin, EntropyControlMixin, CriticMixin, PassMixin, ScoredMixin)
# of a class made of GRPOTrainer's members, its __module__ among them
NEXT = "trl.trainer.grpo_trainer.Next"
FILES = (
    "batch.py",
    "checkpoint.py",
    "dump.py",
    "guards.py",
    "measure.py",
    "passes.py",
    "ppo.py",
    "scored.py",
    "trl.py",
)


def members():
    """Everything that GRPOTrainer has or inherits, without decorators."""
    flat = {}
    for base in reversed(GRPOTrainer.__mro__[:-1]):
        flat |= vars(base)
    flat.pop("__dict__", None)
    flat.pop("__weakref__", None)
    return {name: inspect.unwrap(member) if inspect.isfunction(member) else member for name, member in flat.items()}


def renamed_code(code, name):
    """Compiled code in which an attribute, or a key, has another name."""

    def constant(value):
        if isinstance(value, CodeType):
            return renamed_code(value, name)
        if isinstance(value, tuple):
            return tuple(constant(part) for part in value)
        return "renamed" if value == name else value

    names = tuple("renamed" if each == name else each for each in code.co_names)
    return code.replace(co_names=names, co_consts=tuple(constant(value) for value in code.co_consts))


def renamed(function, name):
    code = renamed_code(function.__code__, name)
    return FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)


def refusal(trainer, mixin=EntropyControlMixin, *, is_trls=True):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError) as refused:
        if is_trls:  # the GRPOTrainer of another release
            patch.setattr(trl_surface, "GRPOTrainer", trainer)
        type("Mine", (mixin, trainer), {})
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("mixin", [EntropyControlMixin, CriticMixin])
def test_a_renamed_method_is_named_when_a_class_is_made(name, mixin):
    flat = members()
    flat["renamed"] = flat.pop(name)
    sentence = refusal(type("Next", (), flat), mixin)
    assert sentence == f"{NEXT} has no {name}, which Mine overrides: install trl==1.16.0"


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_renamed_attribute_is_named_when_a_class_is_made(name):
    flat = {key: renamed(value, name) if inspect.isfunction(value) else value for key, value in members().items()}
    sentence = refusal(type("Next", (), flat))
    assert sentence == f"{NEXT} does not use {name}, which entrostat rests on: install trl==1.16.0"


@pytest.mark.parametrize("name", READ_BY_LOSS)
def test_a_name_that_the_loss_no_longer_reads_is_named(name):
    flat = members()
    flat["_compute_loss"] = renamed(flat["_compute_loss"], name)
    sentence = refusal(type("Next", (), flat))
    want = f"{NEXT} does not use {name} in _compute_loss, which entrostat rests on: install trl==1.16.0"
    assert sentence == want


def test_a_trainer_with_every_name_is_taken_and_so_is_a_mixin_of_ones_own(monkeypatch):
    class Other:
        """A mixin that is no trainer."""

    class Mine(EntropyControlMixin, Other):
        pass

    whole = type("Next", (), members())
    monkeypatch.setattr(trl_surface, "GRPOTrainer", whole)
    type("Whole", (Mine, whole), {})
    monkeypatch.undo()
    type("Real", (Mine, GRPOTrainer), {})


def test_the_list_has_all_that_we_override_and_nothing_that_we_do_not_use():
    for mixin in MIXINS:
        ours = {name for name in vars(mixin) if not name.startswith("__")}
        assert {name for name in ours if hasattr(GRPOTrainer, name)} <= set(METHODS)
        # the thresholds are watched: who reads them is known
        assert ours & set(ATTRIBUTES) <= set(THRESHOLDS)
    folder = Path(trl_surface.__file__).parent
    code = "".join((folder / name).read_text() for name in FILES)
    for name in METHODS + ATTRIBUTES:
        assert any(f"{owner}.{name}" in code for owner in ("self", "trainer", "super()")), name
    for name in READ_BY_LOSS:
        assert name in code, name


@pytest.mark.filterwarnings("ignore::trl.import_utils.TRLExperimentalWarning")
def test_other_trainers_are_refused_with_those_that_fit():
    for module, name in (
        ("trl", "RLOOTrainer"),
        ("trl", "SFTTrainer"),
        ("trl", "DPOTrainer"),
        ("transformers", "Trainer"),
        ("trl.experimental.sdpo", "SDPOTrainer"),
        ("trl.experimental.a2po", "A2POTrainer"),
    ):
        sentence = refusal(getattr(importlib.import_module(module), name), is_trls=False)
        assert sentence.startswith(f"Mine puts entropy control on {name}, which has no clipped loss of TRL's")
        assert "it fits trl.GRPOTrainer and subclasses of it" in sentence
    gmpo = importlib.import_module("trl.experimental.gmpo").GMPOTrainer
    assert "clips the logarithm of the ratio" in refusal(gmpo, is_trls=False)
    assert "clips the logarithm of the ratio" in refusal(type("Own", (gmpo,), {}), is_trls=False)


def test_the_mixin_behind_its_trainer_is_refused():
    with pytest.raises(RuntimeError, match=r"class Mine\(EntropyControlMixin, GRPOTrainer\)$"):
        type("Mine", (GRPOTrainer, EntropyControlMixin), {})


@pytest.mark.skipif("ENTROSTAT_TRY_TRL" not in os.environ, reason="needs another release: make test-trl-other")
def test_another_release_is_refused_by_its_number():
    sentence = f"this entrostat is tested with TRL 1.16.x, got {trl.__version__}: pip install 'trl==1.16.0'"
    with pytest.raises(RuntimeError, match=f"^{re.escape(sentence)}$"):
        check_environment(GRPOTrainer)
