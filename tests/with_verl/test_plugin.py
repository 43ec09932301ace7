"""What `import verl` costs with the plug-in, what it registers, and what a verl that it does not fit is told."""

import importlib
import inspect
import os
import subprocess
import sys

import pytest
from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, get_trainer_cls

from entrostat.engines.verl.imported import when_imported
from entrostat.engines.verl.plugin import check_first
from entrostat.trainers import VERL_TRAINERS


def python(code, env=None):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def test_an_idle_plug_in_imports_next_to_nothing():
    """Every process of a Ray cluster imports verl; most of them compute no loss and hold no trainer."""
    code = """
import sys
import verl

before = set(sys.modules)
import entrostat.engines.verl.plugin

print(*sorted(set(sys.modules) - before))
"""
    alone = os.environ | {"VERL_USE_EXTERNAL_PLUGINS": "none"}
    new = python(code, alone)[-1].split()
    assert "entrostat.engines.verl.plugin" in new
    assert {name.split(".")[0] for name in new} <= {"entrostat", "jaxtyping", "numpy"}
    ours = {name for name in new if name.startswith("entrostat.engines.")}
    assert ours == {"entrostat.engines.verl"} | {
        f"entrostat.engines.verl.{name}" for name in ("plugin", "imported", "settings")
    }


@pytest.mark.parametrize("module", ["config", "trainer"])
def test_both_names_are_registered_whatever_is_imported_first(module):
    code = f"""
import entrostat.engines.verl.{module}
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.trainer.ppo.v1.trainer_base import get_trainer_cls
from verl.utils.config import validate_config
print(get_policy_loss_fn("entrostat").__module__, get_trainer_cls("entrostat").__module__)
print(validate_config.__closure__ is not None)
"""
    plugin = "entrostat.engines.verl.plugin"
    assert python(code)[-2:] == [f"{plugin} {plugin}", "True"]


def test_the_registered_loss_is_ours():
    from entrostat.engines.verl.loss import policy_loss

    with pytest.raises(TypeError) as ours:
        policy_loss()
    with pytest.raises(TypeError) as registered:
        get_policy_loss_fn("entrostat")()
    assert str(registered.value) == str(ours.value)


def test_the_registered_trainer_is_ours(monkeypatch):
    made = []
    monkeypatch.setattr(
        "entrostat.engines.verl.trainer.trainer_of", lambda mode: lambda config: made.append((mode, config)) or 7
    )
    for mode in VERL_TRAINERS:
        assert get_trainer_cls(mode)(config="c") == 7
    assert made == [(mode, "c") for mode in VERL_TRAINERS]


def test_each_trainer_of_verls_has_one_of_ours_over_it():
    from entrostat.engines.verl.trainer import trainer_of

    for ours, verls in VERL_TRAINERS.items():
        assert issubclass(trainer_of(ours), get_trainer_cls(verls))
    assert set(VERL_TRAINERS.values()) == set(TRAINER_REGISTRY) - set(VERL_TRAINERS)


def test_a_method_that_verl_has_renamed_is_said_by_whoever_asks_for_the_trainer():
    """verl itself would only log at DEBUG that the plug-in does not load."""
    code = """
from verl.trainer.ppo.v1.trainer_base import PPOTrainer, get_trainer_cls

del PPOTrainer._save_checkpoint
try:
    get_trainer_cls("entrostat")(config=None)
except RuntimeError as error:
    print(error)
"""
    assert python(code)[-1] == (
        "trainer.v1.trainer_mode=entrostat does not work with this verl: verl.trainer.ppo.v1.trainer_sync."
        "PPOTrainerSync has no _save_checkpoint, which EntropyControlTrainer overrides: install verl==0.9.1"
    )


def test_verls_own_check_follows_with_all_that_it_was_given():
    seen = []
    checked = check_first(lambda *args, **kwargs: seen.append((args, kwargs)) or "done")
    config = OmegaConf.create({"trainer": {}})
    assert checked(config, 1, use_critic=False) == "done"
    assert seen == [((config, 1), {"use_critic": False})]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A module that nobody has imported."""
    (tmp_path / "some_module.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "some_module"
    sys.modules.pop("some_module", None)


def test_something_is_done_once_after_the_import(package):
    finders, seen = list(sys.meta_path), []
    when_imported(package, lambda: seen.append(sys.modules[package].value))
    when_imported(package, lambda: seen.append("second"))
    assert seen == []
    module = importlib.import_module(package)
    # the last to ask is the first to be told
    assert sorted(seen, key=str) == [1, "second"]
    assert sys.meta_path == finders
    assert inspect.getsource(module) == "value = 1\n"
    importlib.reload(module)
    assert len(seen) == 2
    when_imported(package, lambda: seen.append("at once"))
    assert seen[-1] == "at once"


def test_a_failure_of_ours_is_a_warning_and_the_import_goes_on(package, caplog):
    when_imported(package, lambda: 1 / 0)
    assert importlib.import_module(package).value == 1
    assert "entrostat's plug-in does not fit this verl (some_module): division by zero" in caplog.text


def test_a_module_that_is_missing_stays_missing(package):
    when_imported("no_such_module", lambda: 1 / 0)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module")
