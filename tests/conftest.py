"""What all tests share: the reference on the path, Hypothesis without a clock, modules without the shape checker."""

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import entrostat

sys.path.insert(0, str(Path(__file__).parent))

# a loaded machine is slow, not wrong
settings.register_profile("entrostat", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("entrostat")


@pytest.fixture(scope="session")
def as_users_see():
    """Loads a module of the package again, past pytest's shape checker: its own ValueErrors speak then."""

    def load(name):
        path = Path(entrostat.__file__).parent / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"unchecked_{name}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
