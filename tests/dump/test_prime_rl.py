"""prime-rl's token export, as its token_export.py writes it (commit 004274e), field by field."""

import json
import math

import pytest

from entrostat import dump
from entrostat.diagnose.advice import advise
from entrostat.diagnose.causes import kept
from entrostat.diagnose.stream import attribute
from entrostat.dump.prime_rl import EXPORTED

INSIDE = {"rl": {"advantage": -0.5, "mask": True}}


def record(**changes):
    """A prompt of two tokens and a completion of three."""
    return {
        "schema_version": 1,
        "step": 12,
        "export_step": 12,
        "rank": 0,
        "micro_step": 3,
        "micro_sequence_idx": 0,
        "export_sequence_idx": 5,
        "run_id": None,
        "env_name": "math",
        "token_ids": [11, 12, 13, 14, 15],
        "position_ids": [0, 1, 2, 3, 4],
        "loss_mask": [False, False, True, True, True],
        "advantages": [0.0, 0.0, -0.5, -0.5, -0.5],
        "losses": [{"rl": {"advantage": 0.0, "mask": False}}] * 2 + [INSIDE] * 3,
        "rewards": [0.0, 0.0, 0.25, 0.25, 0.25],
        "inference_logprobs": [0.0, 0.0, -0.1, -0.2, -1.5],
        "trainer_logprobs": [-11.9, -3.0, -0.15, -0.1, -2.5],
        "entropy": [11.9, 2.0, 0.3, 0.4, 0.5],
        "mismatch_kl": [0.0] * 5,
        "log_importance_ratio": [-11.9, -3.0, -0.05, 0.1, -1.0],
        "importance_ratio": [0.0, 0.05, 0.95, 1.1, 0.37],
        "prob_delta": [0.0, 0.0, -0.04, 0.08, -0.14],
        "is_masked": [False, False, False, False, True],
        "is_masked_high": [False] * 5,
        "is_masked_low": [False, False, False, False, True],
        **changes,
    }


@pytest.fixture
def export(tmp_path):
    def write(*records, name="token_exports/step_12/rank_0.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
        return path

    return write


def test_its_fields_are_our_columns(whole, export):
    (row,) = whole(export(record()))
    assert {k: row[k] for k in ("step", "sample", "update", "reward")} == dict(step=12, sample=0, update=0, reward=0.25)
    assert row["tokens"] == [11, 12, 13, 14, 15]
    assert row["mask"] == [False, False, True, True, True]
    for name, want in {
        "advantages": [-0.5, -0.5, -0.5],
        "logprobs": [-0.15, -0.1, -2.5],
        "old_logprobs": [-0.1, -0.2, -1.5],
        "entropy": [0.3, 0.4, 0.5],
    }.items():
        assert all(map(math.isnan, row[name][:2])) and row[name][2:] == pytest.approx(want)
    assert row["clipped"] == [0, 0, 0, 0, -1]
    assert not {"low", "high", "sum_p2", "group", "text"} & set(row)


def test_ranks_and_steps_of_a_whole_export(whole, export, tmp_path):
    export(record(), record(), name="token_exports/step_2/rank_0.jsonl")
    export(
        record(is_masked_low=[False] * 5, is_masked_high=[False] * 3 + [True] * 2),
        name="token_exports/step_2/rank_1.jsonl",
    )
    export(record(export_step=10), name="token_exports/step_10/rank_0.jsonl")
    for path in (tmp_path, tmp_path / "token_exports"):
        rows = whole(path)
        assert [(row["step"], row["sample"]) for row in rows] == [(12, 0), (12, 1), (12, 2), (10, 0)]
        assert rows[2]["clipped"] == [0, 0, 0, 1, 1]
    assert dump.notes(tmp_path) == {}
    (batch,) = dump.read(tmp_path / "token_exports" / "step_10", ["entropy"])
    assert batch.schema.names == ["step", "sample", "mask", "entropy"]


def test_tokens_of_other_losses_are_not_trained_on_here(whole, export):
    other = {"ce": {"advantage": 1.0, "mask": True}}
    (row,) = whole(export(record(losses=[{}, {}, INSIDE, other, INSIDE | other])))
    assert row["mask"] == [False, False, True, False, True]
    older = record()
    del older["losses"]
    (row,) = whole(export(older))
    assert row["mask"] == [False, False, True, True, True]


def present(**changes):
    """The same sequence as the export of commit 559b447 writes it: without losses, rewards and run_id."""
    made = record()
    for name in ("losses", "rewards", "run_id", "export_step"):
        del made[name]
    weights = {"rl_weights": [None] * 5, "ce_weights": [None] * 5, "ref_kl_weights": [None] * 5}
    return made | weights | changes


def test_the_present_export_has_no_rewards_and_weights_of_0_leave_the_mask(whole, export):
    (row,) = whole(export(present()))
    assert row["mask"] == [False, False, True, True, True]
    assert row["reward"] is None
    assert row["clipped"] == [0, 0, 0, 0, -1]
    (row,) = whole(export(present(rl_weights=[1.0, 1.0, 0.5, 0.0, 1.0])))
    assert row["mask"] == [False, False, True, False, True]


def test_the_present_export_is_diagnosed(export):
    attribution, _ = attribute([export(present(), present(rl_weights=[0.0] * 5))])
    assert attribution.tokens == 3


def test_nulls_where_nothing_is_trained_do_not_matter(whole, export):
    nulls = {name: [None] * 5 for name in ("advantages", "rewards", "is_masked_low", "is_masked_high")}
    (row,) = whole(export(record(losses=[{}] * 5, **nulls)))
    assert row["mask"] == [False] * 5 and row["reward"] is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("", "row 1: not a line of JSON"),
        ('{"schema_version": 1, "st', "row 1: not a line of JSON"),
        ("[" * 100_000, "row 1: not a line of JSON"),
        ("[1]", "row 1: no token export of prime-rl with schema_version 1, got None"),
        (record(schema_version=2), "row 1: no token export of prime-rl with schema_version 1, got 2"),
        (record(step="x", export_step="x"), "row 1: step is 'x', it must be an integer"),
        (record(entropy=[0.1]), "row 1: entropy must be lists as long as those of tokens"),
        (record(entropy=["a"] * 5), "row 1: could not convert string to float"),
        (record(rewards=1.0), "row 1: rewards must be a list with one entry a token"),
        (record(rewards=[1.0]), "row 1: rewards has 1 entries, the mask 5"),
        (record(losses=None, rl_weights=[1.0]), "row 1: rl_weights has 1 entries, the mask 5"),
        (record(token_ids=[[1, 2]] * 5), "row 1: token_ids must be a list with one entry a token"),
        (record(advantages=[1e300] * 5), "row 1: column 'advantages': inf at trained position 2"),
        (record(losses=[1] * 5), "row 1: losses must be a list of one object a token"),
        (record(trainer_logprobs=[0.0, 0.0, None, 0.0, 0.0]), "row 1: column 'logprobs': nan at trained position 2"),
        ({k: v for k, v in record().items() if k != "entropy"}, "row 1: field 'entropy' is missing"),
    ],
)
def test_a_bad_line_is_named(whole, export, bad, message):
    path = export(record(), bad)
    with pytest.raises(ValueError) as caught:
        whole(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_line_that_is_cut_in_half_costs_that_line_alone(export):
    """As a kill leaves the last one."""
    half = json.dumps(record())[:200]
    path = export(*[record()] * 2, half, *[record()] * 3, half)
    told = []
    batches = list(dump.read(path, bad=lambda line, rows: told.append((line, rows))))
    assert [batch.num_rows for batch in batches] == [2, 3]
    assert [i for batch in batches for i in batch.column("sample").to_pylist()] == list(range(5))
    assert told == [(f"{path}: row {i}: not a line of JSON: cut it off, or export again", 1) for i in (2, 6)]
    found, skipped = attribute([path], skip_bad=True)
    assert (found.completions, skipped.rows, skipped.files) == (5, 2, 0)
    with pytest.raises(ValueError, match="row 2: not a line of JSON"):
        attribute([path])


def test_the_row_of_a_ratio_that_overflows_is_its_line_whatever_was_left_out_before(export):
    over = record(inference_logprobs=[0.0, 0.0, -3e38, -0.2, -1.5])
    path = export(record(), "{", record(), over, record())
    _, skipped = attribute([path], skip_bad=True)
    assert skipped.rows == 2 and skipped.told[1].startswith(f"{path}: row 3, column 'logprobs': its ratio")


def test_every_export_has_the_same_columns(export):
    (batch,) = dump.read(export(record()))
    assert set(batch.schema.names) == EXPORTED


def test_an_empty_export_is_said(whole, export):
    with pytest.raises(ValueError, match="no rows in it"):
        whole(export())


def test_no_thresholds_are_advised_for_a_bound_that_is_not_of_the_ratio(export):
    found, _ = attribute([export(*[record()] * 30)])
    assert advise(found) is None and kept(found).value and not found.plan.clamped
    assert [line for line in found.plan.left_out if line.startswith("prime-rl bounds the difference of probabilities")]
    assert found.regions.tokens[:, 1].sum() == 30  # its own bound's events stand
