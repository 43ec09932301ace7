"""One tiny model for all tests of the room."""

import pytest

from tiny_benchmark import made_up_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    return made_up_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def backend(model_folder):
    from entrostat.evaluation.on_transformers import TransformersBackend

    return TransformersBackend.load(str(model_folder), batch=6)
