"""The rig: verl on this machine's CPU, its real worker and its real main_ppo, in processes of their own."""

import sys
from pathlib import Path

import pytest

RIG = Path(__file__).parent / "rig"
sys.path.insert(0, str(RIG))
# own_strategy.py
sys.path.append(str(RIG.parents[1]))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    from tiny_model import build

    return build(tmp_path_factory.mktemp("model"))
