"""A name that TRL's next asynchronous trainer drops stops us in one sentence, and so does a class that does not fit."""

import inspect
from pathlib import Path

import pytest
from test_trl_surface import renamed
from tiny_async import AsyncGRPOTrainer
from trl import GRPOTrainer
from trl.experimental.async_grpo import async_grpo_trainer

from entrostat.engines import trl_async_surface
from entrostat.engines.trl import EntropyControlMixin
from entrostat.engines.trl_async import AsyncEntropyControlMixin
from entrostat.engines.trl_async_surface import ATTRIBUTES, METHODS, READ_BY_LOADER, READ_BY_LOSS

NEXT = "trl.experimental.async_grpo.async_grpo_trainer.Next"
INSTALL = "which entrostat rests on: install trl==1.16.0"
FILES = ("trl_async.py", "trl_async_batch.py", "checkpoint.py", "guards.py")


def members():
    """Everything that AsyncGRPOTrainer has or inherits, without decorators."""
    flat = {}
    for base in reversed(AsyncGRPOTrainer.__mro__[:-1]):
        flat |= vars(base)
    flat.pop("__dict__", None)
    flat.pop("__weakref__", None)
    return {name: inspect.unwrap(member) if inspect.isfunction(member) else member for name, member in flat.items()}


def refusal(trainer, mixin=AsyncEntropyControlMixin, *, is_trls=True):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError) as refused:
        if is_trls:  # the AsyncGRPOTrainer of another release
            patch.setattr(trl_async_surface, "AsyncGRPOTrainer", trainer)
        type("Mine", (mixin, trainer), {})
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", METHODS)
def test_a_renamed_method_is_named(name):
    flat = members()
    flat["renamed"] = flat.pop(name)
    want = f"{NEXT} has no {name}, which Mine overrides: install trl==1.16.0"
    assert refusal(type("Next", (), flat)) == want


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_renamed_attribute_is_named(name):
    flat = {key: renamed(value, name) if inspect.isfunction(value) else value for key, value in members().items()}
    assert refusal(type("Next", (), flat)) == f"{NEXT} does not use {name}, {INSTALL}"


@pytest.mark.parametrize("name", READ_BY_LOSS)
def test_a_name_that_the_loss_no_longer_reads_is_named(name):
    flat = members()
    flat["compute_loss"] = renamed(flat["compute_loss"], name)
    assert refusal(type("Next", (), flat)) == f"{NEXT} does not use {name} in compute_loss, {INSTALL}"


@pytest.mark.parametrize(("part", "method", "name"), [(p, m, name) for p, m, names in READ_BY_LOADER for name in names])
def test_a_name_that_the_loader_no_longer_reads_is_named(monkeypatch, part, method, name):
    monkeypatch.setattr(part, method, renamed(vars(part)[method], name))
    want = f"{async_grpo_trainer.__name__}.{part.__name__} does not use {name} in {method}, {INSTALL}"
    assert refusal(AsyncGRPOTrainer, is_trls=False) == want


def test_the_list_has_all_that_we_override_and_nothing_that_we_do_not_use():
    ours = {name for name in vars(AsyncEntropyControlMixin) if not name.startswith("__")}
    assert {name for name in ours if hasattr(AsyncGRPOTrainer, name)} == set(METHODS)
    folder = Path(trl_async_surface.__file__).parent
    code = "".join((folder / name).read_text() for name in FILES)
    for name in METHODS + ATTRIBUTES:
        assert any(f"{owner}.{name}" in code for owner in ("self", "trainer", "super()")), name
    for name in READ_BY_LOSS:
        assert name in code, name


def test_each_mixin_names_the_other_ones_trainer():
    sentence = refusal(GRPOTrainer, is_trls=False)
    assert sentence.startswith(
        "Mine puts asynchronous entropy control on GRPOTrainer: it fits trl.experimental.async_grpo"
    )
    assert sentence.endswith("for GRPOTrainer use EntropyControlMixin of entrostat.engines.trl")
    sentence = refusal(AsyncGRPOTrainer, EntropyControlMixin, is_trls=False)
    assert sentence == (
        "Mine puts entropy control on AsyncGRPOTrainer, which is asynchronous: use AsyncEntropyControlMixin of "
        "entrostat.engines.trl_async"
    )
    with pytest.raises(RuntimeError, match=r"class Mine\(AsyncEntropyControlMixin, AsyncGRPOTrainer\)$"):
        type("Mine", (AsyncGRPOTrainer, AsyncEntropyControlMixin), {})
