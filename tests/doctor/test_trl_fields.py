"""The shipped fields of GRPOConfig are those of the installed TRL, and the doctor needs neither TRL nor torch."""

import dataclasses
import enum
import subprocess
import sys

import pytest

from entrostat.doctor import trl_fields
from entrostat.doctor.others_streamed import TRL_ASYNC


def plain(value):
    return value.value if isinstance(value, enum.Enum) else value


def test_what_is_shipped_is_the_installed_release():
    shipped, imported = trl_fields.shipped(), trl_fields.imported()
    assert shipped.version == imported.version
    assert shipped.script == imported.script
    assert shipped.defaults == {name: plain(value) for name, value in imported.defaults.items()}


def test_the_asynchronous_trainers_defaults_are_those_of_the_installed_release():
    from trl.experimental.async_grpo import AsyncGRPOConfig

    theirs = {field.name: field.default for field in dataclasses.fields(AsyncGRPOConfig)}
    for setting in TRL_ASYNC.settings.values():
        assert setting.default == theirs[setting.name]
    assert TRL_ASYNC.signature <= theirs.keys() - trl_fields.shipped().names


TRL = "from trl import GRPOConfig\nGRPOConfig(output_dir='x', epsilon=0.3)\n"
VERL = "python3 -m verl.trainer.main_ppo data.train_batch_size=64 actor_rollout_ref.actor.ppo_mini_batch_size=64\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [("train.py", TRL), ("trl.sh", "trl grpo --model_name_or_path m --epsilon 0.3\n"), ("verl.sh", VERL)],
)
def test_a_script_is_read_without_trl_and_torch(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    code = (
        "import sys\nfrom entrostat.cli import main\n"
        f"code = main(['doctor', {str(tmp_path / name)!r}])\n"
        "print(code, [m for m in ('torch', 'trl', 'transformers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "1 []"
    assert "ratio always 1" in done.stdout
