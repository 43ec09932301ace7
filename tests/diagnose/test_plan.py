"""What is said of a run's loss, from what its dump notes of it."""

import pytest

from entrostat import dump
from entrostat.diagnose.plan import plan
from made_up_dumps import made_up


@pytest.fixture
def noted(tmp_path):
    """Writes a dump with these notes and gives what is left out of its diagnosis."""

    def write(**notes):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
        dump.write(path, **made_up(0)[0], notes=notes)
        return plan([path]).left_out

    return write


@pytest.mark.parametrize("loss", ["grpo", "bnpo", "dr_grpo", "dapo", "luspo", "vanilla"])
def test_of_a_clamped_loss_nothing_is_said(noted, loss):
    assert noted(loss_type=loss) == noted() == ()


def test_a_ratio_of_neither_token_nor_sequence_is_named(noted):
    (line,) = noted(importance_sampling_level="turn")
    assert line.startswith("importance_sampling_level turn") and line.endswith("no thresholds are advised")
    assert noted(importance_sampling_level="sequence") == ()


def test_what_weighs_tokens_beside_the_ratio_is_named(noted):
    (line,) = noted(weighed_by=["top_entropy_quantile", "\x1b[31m"])
    assert "weighs tokens by top_entropy_quantile, unknown, some perhaps by 0" in line
    assert noted(weighed_by=[]) == () and "weighs tokens by unknown," in noted(weighed_by=3)[0]


@pytest.mark.parametrize(("name", "kept"), [("ce-gppo", True), ("kl-cov", True), ("clip-cov", False)])
def test_an_objective_stands_for_the_loss_beneath_it(noted, name, kept):
    (line,) = noted(loss_type="dapo", objective=name)
    assert line.startswith(f"loss type {name} ") and ("no token counts as clipped" in line) == kept


@pytest.mark.parametrize(("loss", "name"), [("sapo", "sapo"), ("my-loss", "my-loss"), ("\x1b[31m", "unknown")])
def test_another_loss_is_named(noted, loss, name):
    (line,) = noted(loss_type=loss)
    assert line.startswith(f"loss type {name} ")
