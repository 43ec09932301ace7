"""Every method by name: it trains, says what it is, and survives a stop; the registry's own laws."""

import dataclasses
import json
import math
import signal
import time
from types import MappingProxyType

import pytest

from entrostat.lab.config import TrainConfig
from entrostat.lab.methods import (
    METHODS,
    SETTINGS,
    aimed_at,
    as_arguments,
    from_json,
    label,
    make_method,
    method_name,
    recipe,
    to_json,
)
from entrostat.lab.trl_config import grpo_config
from entrostat.strategies import STRATEGIES

OTHERS = sorted(set(METHODS) - set(STRATEGIES))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_survives_its_names_and_json(name):
    method = make_method(name)
    assert method_name(method) == name
    assert as_arguments(method) == [name]
    assert from_json(json.loads(json.dumps(to_json(method), allow_nan=False))) == method
    assert all(field.default is not dataclasses.MISSING for field in dataclasses.fields(method))


@pytest.mark.parametrize("name", OTHERS)
def test_a_method_that_is_no_strategy_has_three_settings_to_choose_from(name):
    settings = [make_method(name, **setting) for setting in SETTINGS[name]]
    assert len(set(settings)) == 3
    assert len({frozenset(setting) for setting in SETTINGS[name]}) == 1, "all vary the same options"
    assert make_method(name) in settings


@pytest.mark.parametrize("name", ["objective:clip-cov", "objective:kl-cov"])
def test_settings_of_a_share_take_different_numbers_of_the_labs_tokens(name):
    """An update of 32 responses has about 250 tokens."""
    assert [max(int(setting["ratio"] * 250), 1) for setting in SETTINGS[name]] == [1, 5, 25]


def test_strategies_have_nothing_to_choose():
    assert set(SETTINGS) == set(OTHERS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_trl_takes_every_methods_fields(name, tmp_path):
    for setting in SETTINGS.get(name, ({},)):
        how = recipe(make_method(name, **setting))
        args = grpo_config(TrainConfig(), tmp_path, how.trl)
        assert {key: getattr(args, key) for key in how.trl} == dict(how.trl)
        assert isinstance(how.trl, dict | MappingProxyType)


def test_only_methods_with_a_target_are_aimed():
    assert aimed_at(make_method("trl:sapo"), 0.3) == make_method("trl:sapo")
    assert label(aimed_at(make_method("objective:entropic", kp=2.0), 0.3)) == "objective:entropic target 0.3 kp 2.0"
    assert label(aimed_at(make_method("thermostat"), 0.3)) == "thermostat target 0.3"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("trl:saop", {}, "unknown method 'trl:saop': did you mean trl:sapo"),
        ("trl:sapo", {"temperature": 1.0}, "has no option 'temperature': did you mean temperature_pos or"),
        ("trl:sapo", {"temperature_neg": 0.0}, "temperature_neg must be over 0"),
        ("trl:gspo", {"low": -1.0}, "low must be at least 0"),
        ("trl:cispo", {"epsilon_high": 0.0}, "epsilon_high must be over 0"),
        ("trl:entropy-bonus", {"coef": math.nan}, "coef must be at least 0"),
        ("trl:adaptive-entropy", {"target": "linear:0.3:0"}, "target must be over 0 nats"),
        ("trl:adaptive-entropy", {"target": "0.8x"}, "a schedule is"),
    ],
)
def test_a_bad_name_option_or_value_says_what_to_use(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_method(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "options", "target"),
    [
        (("trl:gspo", "--low", "0.003"), {"low": 0.003, "high": 4e-4}, None),
        (("trl:cispo", "--epsilon-high", "1.2"), {"epsilon_high": 1.2}, None),
        (("trl:adaptive-entropy", "--target", "linear:0.5:0.2"), None, [0.5 - 0.05 * k for k in range(6)]),
        (("objective:entropic", "--target", "0.3"), None, [0.3] * 6),
    ],
    ids=lambda v: v[0] if isinstance(v, tuple) else "",
)
def test_train_takes_a_method_and_saves_it(command, words, options, target):
    command.run("train", *command.small, "--out", "run", *words)
    config = json.loads((command.folder / "run" / "config.json").read_text())
    assert config["strategy"]["name"] == words[0]
    assert config["label"] == " ".join(words).replace("--", "")
    assert options is None or config["strategy"]["options"] == options
    found = [line["target"] for line in command.lines("run")]
    assert found == ([None] * 6 if target is None else pytest.approx(target))


@pytest.mark.parametrize("name", ["trl:adaptive-entropy", "objective:entropic"])
def test_a_controller_that_was_stopped_goes_on_to_the_same_numbers(command, name):
    words = ("--map-every", "0", "--learning-rate", "1e-3", "--out")
    options = (name, "--target", "step:0.9:0.2:0.5")
    command.run("train", *command.small, *words, "whole", *options)
    process = command.start("train", *command.small, *words, "stopped", *options)
    log = command.folder / "stopped" / "metrics.jsonl"
    end = time.monotonic() + 60
    while not log.exists() or not log.read_text():
        assert time.monotonic() < end
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert len(command.lines("stopped")) < 6
    command.run("train", "--resume", "stopped")
    assert command.lines("stopped") == command.lines("whole")
    key = "entropy_coef" if name.startswith("trl") else "alpha"
    assert len({line[key] for line in command.lines("whole")}) > 3


@pytest.mark.parametrize(("name", "own"), [("trl:sapo", "sapo"), ("objective:ce-gppo", "dapo")])
def test_a_loss_type_that_the_method_replaces_is_not_ignored(command, name, own):
    said = command.run("train", "--loss-type", "bnpo", name, code=2).stderr
    assert said == f"entrostat: {name!r} has a loss type of its own, {own}: leave out --loss-type bnpo\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("regions", "--e1", "-2"), "e1 must be at least -1 (which shuts the region), got -2.0"),
        (
            ("dynamic", "--no-upper-dynamic", "--no-lower-dynamic"),
            "one of upper_dynamic and lower_dynamic must be on: for none of them use grpo",
        ),
        (("dcpo", "--cap", "0.5"), "cap must be at least 1, the ratio of a fresh token, got 0.5"),
        (("objective:clip-cov", "--ratio", "0"), "ratio must be in (0, 1], got 0.0"),
        (("objective:kl-cov", "--coef", "-1"), "coef must be at least 0, got -1.0"),
        (("objective:ce-gppo", "--beta-low", "nan"), "beta_low must be at least 0, got nan"),
    ],
    ids=lambda v: v[0] if isinstance(v, tuple) else "",
)
def test_a_bad_value_is_one_line(command, words, message):
    assert command.run("train", *words, code=2).stderr == f"entrostat: {message}\n"
    assert not list(command.folder.iterdir())


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("regions", "--e3", "-1.0", "--e1", "inf"), {"e3": -1.0, "e1": "inf"}),
        (("dynamic", "--no-lower-dynamic"), {"upper_dynamic": True, "lower_dynamic": False}),
        (("objective:clip-cov", "--ratio", "0.02"), {"ratio": 0.02, "low": 1.0, "high": 1.0}),
    ],
    ids=lambda v: v[0] if isinstance(v, tuple) else "",
)
def test_a_methods_words_survive_a_run(command, words, options):
    command.run("train", *command.small, "--out", "run", *words)
    config = json.loads((command.folder / "run" / "config.json").read_text())
    assert options.items() <= config["strategy"]["options"].items()
    assert sorted(config["label"].split()) == sorted(" ".join(words).replace("--", "").split())
    assert len(command.lines("run")) == 6
