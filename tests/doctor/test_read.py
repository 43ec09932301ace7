"""The reader: what it takes, what it refuses in one line, and that no file hangs it, breaks it or runs anything."""

import json
import subprocess
import sys

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings, strategies

from entrostat.cli import main
from entrostat.doctor import Finding, findings, read
from entrostat.doctor import settings as settings_of
from entrostat.doctor.read import MAX_BYTES, read_file
from entrostat.doctor.trl import KINDS


def found(*words):
    return {f.finding for f in findings(settings_of(read([str(word) for word in words])))}


def refused(capsys, *args):
    assert main(["doctor", *map(str, args)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("entrostat: ")
    assert len(lines[0]) < 700
    return lines[0]


FIELDS = {"epsilon_high": 0.5, "delta": 1.3, "steps_per_generation": 4}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.json", json.dumps(FIELDS)),
        ("c.yaml", yaml.safe_dump(FIELDS)),
        ("c.YML", "epsilon_high: 5e-1  # text to YAML 1.1\ndelta: '1.3'\nsteps_per_generation: 4\n"),
        ("c.toml", "epsilon_high = 0.5\ndelta = 1.3\nsteps_per_generation = 4\n"),
        ("c.yaml", "base: &base {delta: 1.3}\nepsilon_high: 0.5\n<<: *base\nsteps_per_generation: 4\n"),
    ],
)
def test_every_format_says_the_same(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    config = settings_of(read([str(file)]))
    assert {f.finding for f in findings(config)} == {Finding.DUAL_CLIP}
    assert {name: config[name] for name in FIELDS} == FIELDS


def test_words_go_over_the_file(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("delta: 1.3\nsteps_per_generation: 4\n")
    assert found(file) == set()
    assert found(file, "epsilon_high=0.5") == {Finding.DUAL_CLIP}
    assert found(file, "epsilon_high=0.5", "delta=null") == set()


def test_a_file_of_verl_and_words_alone(tmp_path):
    file = tmp_path / "ppo.yaml"
    file.write_text(
        "defaults: [ppo_trainer, _self_]\n"
        "hydra: {searchpath: ['file://verl/trainer/config']}\n"
        "data: {train_batch_size: 512}\n"
        "actor_rollout_ref:\n"
        "  actor:\n"
        "    ppo_mini_batch_size: ${data.train_batch_size}\n"
        "    fsdp_config: {anything: 1}\n"
        "    policy_loss: {_target_: mine.Loss, strength: 3}\n"
    )
    assert found(file) == {Finding.RATIO_ALWAYS_ONE}
    assert found(file, "actor_rollout_ref.actor.ppo_epochs=2") == set()
    assert found(file, "data.train_batch_size=1024", "actor_rollout_ref.actor.ppo_mini_batch_size=32") == set()
    words = ["data.train_batch_size=256", "+trainer.mine=1", "++algorithm.mine=2", "~critic", "model@x=y"]
    assert found(*words) == {Finding.RATIO_ALWAYS_ONE}


def test_the_fields_of_trl_s_own_script_are_known(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("model_name_or_path: x\ndataset_name: y\nuse_peft: true\nenv: {A: b}\nsteps_per_generation: 2\n")
    assert found(file) == set()


MODULE = """
import dataclasses
print("imported")
fields = {"steps_per_generation": 2, "top_p": 0.9}
class Holder:
    inner = fields
@dataclasses.dataclass
class Config:
    steps_per_generation: int = 1
    gradient_accumulation_steps: int = 1
config = Config()
"""


def test_an_object_of_a_module(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_settings.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["doctor", "my_settings:fields", "--json"]) == 1
    out, err = capsys.readouterr()
    assert [f["finding"] for f in json.loads(out)["findings"]] == ["SAMPLING_CUT"]
    assert "imported" in err
    assert found("my_settings:Holder.inner") == {Finding.SAMPLING_CUT}
    assert found("my_settings:config") == {Finding.RATIO_ALWAYS_ONE}
    assert "my_settings:nothing cannot be imported: AttributeError" in refused(capsys, "my_settings:nothing")
    assert "must be a GRPOConfig or a dict of fields, got 'type'" in refused(capsys, "my_settings:Holder")
    assert "ModuleNotFoundError" in refused(capsys, "no_such_module:x")
    (tmp_path / "stops.py").write_text("raise SystemExit(0)")
    assert "stops:x cannot be imported: SystemExit" in refused(capsys, "stops:x")


def test_a_grpoconfig_is_read_and_none_is_made(tmp_path, lab_config):
    config = lab_config(steps_per_generation=1)
    assert config.generation_batch_size is not None
    code = (
        "import trl.trainer.grpo_config as c\n"
        "def no(*_): raise SystemExit('made')\n"
        "c.GRPOConfig.__init__ = c.GRPOConfig.__post_init__ = no\n"
        "from entrostat.cli import main\n"
        "raise SystemExit(main(['doctor', 'epsilon=0.3', '--json']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert [f["finding"] for f in json.loads(done.stdout)["findings"]] == ["RATIO_ALWAYS_ONE"]


@pytest.fixture
def lab_config(tmp_path):
    """A GRPOConfig of this machine."""
    from trl import GRPOConfig

    def made(**fields):
        return GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, num_generations=4, **fields)

    return made


def test_an_instance_says_what_its_fields_say(tmp_path, monkeypatch, lab_config):
    import types

    module = types.ModuleType("made_here")
    module.args = lab_config(per_device_train_batch_size=4, steps_per_generation=2, delta=1.1)
    monkeypatch.setitem(sys.modules, "made_here", module)
    assert found("made_here:args") == {Finding.DUAL_CLIP}
    module.args = lab_config(per_device_train_batch_size=4, generation_batch_size=8)
    assert found("made_here:args") == set()


# Refused


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.yaml", "epsilon: much", "epsilon must be a number, got 'much'"),
        ("c.yaml", "epsilon: .nan", "epsilon must be a number, got nan"),
        ("c.yaml", "epsilon: [1]", "epsilon must be a number, got [1]"),
        ("c.yaml", "epsilon: true", "epsilon must be a number, got True"),
        ("c.yaml", "num_iterations: 0", "num_iterations must be a whole number of at least 1, got 0"),
        ("c.yaml", "num_iterations: 1.5", "num_iterations must be a whole number of at least 1, got 1.5"),
        ("c.yaml", "use_vllm: maybe", "use_vllm must be true or false, got 'maybe'"),
        ("c.yaml", "epsilon: 0.1\ngeneration_kwargs: 3", "generation_kwargs must be a mapping, or null, got 3"),
        (
            "c.yaml",
            "epsilon: 0.1\ngeneration_kwargs: {temperature: hot}",
            "generation_kwargs.temperature must be a number",
        ),
        ("c.yaml", "epsilon: 0.1\nepsilon: 0.2", "'epsilon' is set twice"),
        ("c.json", '{"epsilon": 0.1, "epsilon": 0.2}', "'epsilon' is set twice"),
        ("c.yaml", "epsilon: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("c.yaml", "epsilon: [", "expected the node content"),
        ("c.json", "{", "Expecting property name"),
        ("c.toml", "epsilon = ", "Invalid value"),
        ("c.yaml", "- epsilon", "must hold fields by name"),
        ("c.yaml", "1: 2", "must hold fields by name"),
        ("c.yaml", "epsilon_hgh: 0.3", "(epsilon_hgh...): did you mean epsilon_high"),
        ("c.yaml", "", "holds no name that is TRL's (for GRPO), verl's or another known trainer's own: it is empty"),
        ("c.yaml", "colour: blue", "another known trainer's own (colour...): no name is near"),
        ("pyproject.toml", "[project]\nname = 'x'\n[tool.ruff]\nline-length = 88", "another known trainer's own"),
        ("c.yaml", "model: x\ntemperature: 0.7\nmax_tokens: 20", "another known trainer's own"),
        ("c.yaml", "rl: dpo\nbase_model: x", "has rl dpo: of axolotl only grpo is read"),
        (
            "c.yaml",
            "data: {train_batch_size: 1}\nepsilon: 0.1",
            "is both: epsilon is a field of GRPOConfig, data a sect",
        ),
        ("c.yaml", "data: {train_batch_size: many}", "data.train_batch_size must be a whole number"),
        ("c.yaml", "data: {train_batch_sise: 3}", "(data...): did you mean data.train_batch_size"),
        ("c.yaml", "epsilon: 0.1\n\0", "special characters are not allowed"),
        ("c.txt", "epsilon: 0.1", "must end in .json, .yaml, .yml, .toml, .sh, "),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, capsys, name, text, said):
    file = tmp_path / name
    file.write_text(text)
    line = refused(capsys, file)
    assert said in line
    assert str(file) in line


def test_files_that_are_none(tmp_path, capsys):
    assert "No such file" in refused(capsys, tmp_path / "none.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert "is a folder without .hydra/config.yaml" in refused(capsys, tmp_path / "folder.yaml")
    (tmp_path / "training_args.bin").write_bytes(b"no")
    assert "is a pickle, which can run anything" in refused(capsys, tmp_path)
    big = tmp_path / "big.json"
    big.write_text(" " * (MAX_BYTES + 1))
    assert "is larger than 256 KiB" in refused(capsys, big)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"epsilon: \xff")
    assert "can't decode byte" in refused(capsys, latin)
    assert "no configuration given" in refused(capsys)
    good = tmp_path / "good.yaml"
    good.write_text("epsilon: 0.1")
    assert "'epsilon' is no KEY=VALUE" in refused(capsys, good, "epsilon")
    assert "unknown strategy 'thermostt': did you mean thermostat" in refused(capsys, good, "--strategy", "thermostt")
    assert "--processes must be at least 1, got 0" in refused(capsys, good, "--processes", "0")
    assert "unknown option '--procesess': did you mean --processes" in refused(capsys, good, "--procesess", "2")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join(['*' + chr(ord(c) - 1)] * 10)}]\n" for c in "bcdefghij"
)
MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{c}: &{c} {{<<: [{', '.join(['*' + chr(ord(c) - 1)] * 10)}]}}\n" for c in "bcdefghij"
)


@pytest.mark.parametrize(
    "text",
    [BOMB, MERGES, "a: &a [*a]\n", "[" * 100_000, "{a: " * 50_000, "- " * 50_000, "a: " + "9" * 100_000],
    ids=len,
)
def test_bombs_are_refused(tmp_path, capsys, text):
    """One that went off would take hours and all memory."""
    for suffix in (".yaml", ".json", ".toml"):
        file = tmp_path / f"bomb{suffix}"
        file.write_text(text)
        refused(capsys, file)


def test_what_a_file_says_is_no_markup_and_no_escape(tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text('"\\e[31mred\\e[0m\\n[bold]": 1\nepsilon: 0.1\n')
    assert main(["doctor", str(file)]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out and "not read" in out and "[bold]" in out
    named = tmp_path / "[red]c.yaml"
    named.write_text("epsilon: 0.1")
    assert main(["doctor", str(named)]) == 1
    assert "[red]c.yaml" in "".join(capsys.readouterr().out.split())


LEAF = strategies.one_of(
    strategies.none(),
    strategies.booleans(),
    strategies.integers(),
    strategies.floats(),
    strategies.text(max_size=20),
    strategies.sampled_from(["dapo", "sapo", "cispo", "${a.b}", "1e-3", "token-mean"]),
)
TREE = strategies.recursive(
    LEAF,
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(max_size=8), inner),
)
NAMES = strategies.sampled_from([*KINDS, "data", "actor_rollout_ref", "algorithm", "trainer", "hydra", "colour"])


def ends_well(path):
    """Either findings or one ValueError of one bounded line."""
    try:
        found(path)
    except ValueError as error:
        assert len(str(error)) < 1000
        assert "\n" not in str(error)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(strategies.dictionaries(NAMES, TREE, max_size=6))
def test_any_fields_end_in_findings_or_one_line(tmp_path, fields):
    for name, text in (("c.json", json.dumps(fields)), ("c.yaml", yaml.safe_dump(fields))):
        (tmp_path / name).write_text(text)
        ends_well(tmp_path / name)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    strategies.binary(max_size=200) | strategies.text("{}[]&*!:,'\"|>-?%@ \n\tae0<=.~#", max_size=80).map(str.encode)
)
@example(b"? [a]\n: b")
@example(b"2001-99-99: 1")
@example(b"a: 1e400")
@example(b"a: !!binary x")
@example(b"a: !!set {b}")
@example(b"a: !!omap 3")
@example(b"a: 0b_")
@example(b"a: 1:9_:")
@example(b"=: 1")
@example(b"<<: 3")
def test_any_bytes_end_in_fields_or_one_line(tmp_path, data):
    for suffix in (".json", ".yaml", ".toml"):
        path = tmp_path / f"c{suffix}"
        path.write_bytes(data)
        try:
            assert isinstance(read_file(path), dict)
        except ValueError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 700


@settings(max_examples=100)
@given(strategies.text(max_size=60))
@example("a=[")
@example("a=" + "[" * 5000)
@example("+=")
@example("a.b.c=${x}")
@example("a==")
def test_any_word_ends_in_findings_or_one_line(word):
    try:
        read(["epsilon=0.2", word])
    except ValueError as error:
        assert "\n" not in str(error)
