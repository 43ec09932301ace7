"""Rollouts as verl, TRL and slime log them: the files as their writers make them, field by field."""

import json
import math
import pickle
from pathlib import Path

import pandas
import pytest
import torch

from entrostat import dump
from entrostat.dump.logs import log_files, read_log
from entrostat.dump.logs.completion import grpo_advantages, numbered

# verl: what RayPPOTrainer._write_generations of 0.9.1 wrote for v0 (with the reward function's field acc), and what the
# trainer of v1 did (with uid)
VERL_V0 = (
    '{"input": "user\\nHi\\nassistant\\n", "output": "a <b>", "gts": "3", "score": 1.0, "step": 7, "acc": true,'
    ' "request_id": "u"}',
    '{"input": "user\\nHi\\nassistant\\n", "output": "é\\u001b", "gts": null, "score": 0.0, "step": 7, "acc": false,'
    ' "request_id": "v"}',
)
VERL_V1 = (
    '{"input": "a", "output": "x", "gts": "3", "score": 1.0, "step": 7, "uid": "3f2-1_0_0"}',
    '{"input": "a", "output": "y", "gts": "3", "score": 0.0, "step": 7, "uid": "3f2-1_1_0"}',
    '{"input": "a", "output": "z", "gts": "3", "score": 1.0, "step": 7, "uid": "9c_2-2_0_0"}',
)


def write_verl(folder, *lines, name="7.jsonl"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder / name


def trl_rows(**changes):
    """The columns of TRL 1.16's table, one reward function."""
    columns = {
        "step": [3] * 4,
        "prompt": ["p", "p", "q", "q"],
        "completion": ["a", "b", "c", "d"],
        "accuracy": [1.0, 0.0, 0.0, None],
        "advantage": [0.7, -0.7, 0.0, 0.0],
    }
    return columns | changes


def write_trl(folder, *, name="completions_00003.parquet", **changes):
    folder.mkdir(exist_ok=True, parents=True)
    pandas.DataFrame(trl_rows(**changes)).to_parquet(folder / name)
    return folder / name


def sample(**changes):
    """Sample.to_dict() of slime at commit 624b824, the fields that a rollout fills."""
    made = {
        "group_index": 0,
        "index": 0,
        "rollout_id": None,
        "prompt": "p",
        "tokens": [5, 6, 7, 8, 9],
        "multimodal_inputs": None,
        "multimodal_train_inputs": None,
        "multimodal_train_input_id": None,
        "apply_chat_template_kwargs": {},
        "response": "abc",
        "response_length": 3,
        "label": "4",
        "reward": 1.0,
        "loss_mask": None,
        "weight_versions": ["1"],
        "rollout_log_probs": [-0.1, -0.2, -0.3],
        "rollout_top_p_token_ids": None,
        "rollout_top_p_token_offsets": None,
        "rollout_routed_experts": None,
        "remove_sample": False,
        "teacher_log_probs": None,
        "status": "completed",
        "metadata": {"source": "gsm8k"},
        "generate_function_path": None,
        "custom_rm_path": None,
        "train_metadata": None,
        "session_id": None,
        "non_generation_time": 0.0,
        "spec_info": {"spec_accept_token_num": 0, "completion_token_num": 3},
        "prefix_cache_info": {"cached_tokens": 0, "total_prompt_tokens": 2},
    }
    return made | changes


def write_slime(folder, *samples, name="rollout_2.pt", rollout=2):
    folder.mkdir(exist_ok=True)
    torch.save({"rollout_id": rollout, "samples": list(samples)}, folder / name)
    return folder / name


def only(path, **options):
    (rollout,) = read_log(log_files(path), **options)
    return rollout


def test_verl_v0(tmp_path):
    rollout = only(write_verl(tmp_path / "r", *VERL_V0))
    assert (rollout.known.trainer, rollout.step) == ("verl", 7)
    first, second = rollout.completions
    assert (first.prompt, first.response, first.reward) == ("user\nHi\nassistant\n", "a <b>", 1.0)
    assert (first.group, second.group, first.tokens) == (0, 0, None)
    assert [first.advantage, second.advantage] == pytest.approx([0.7070, -0.7070], abs=1e-4)


def test_verl_v1_has_its_groups_by_uid(tmp_path):
    """The same prompt may come twice in a batch."""
    rollout = only(write_verl(tmp_path / "r", *VERL_V1))
    assert [each.group for each in rollout.completions] == [0, 0, 1]
    assert rollout.completions[2].advantage == 0


def test_a_folder_of_verl_s_in_the_order_of_its_steps(tmp_path):
    for step in (10, 9):
        write_verl(tmp_path, VERL_V0[0].replace('"step": 7', f'"step": {step}'), name=f"{step}.jsonl")
    assert [rollout.step for rollout in read_log(log_files(tmp_path))] == [9, 10]


def test_trl(tmp_path):
    write_trl(tmp_path / "completions")
    for path in (tmp_path, tmp_path / "completions"):
        rollout = only(path)
        assert (rollout.known.trainer, rollout.step, rollout.notes) == ("TRL", 3, ())
        assert [each.group for each in rollout.completions] == [0, 0, 1, 1]
        assert [each.advantage for each in rollout.completions] == [0.7, -0.7, 0.0, 0.0]
        assert [each.reward for each in rollout.completions][:3] == [1.0, 0.0, 0.0]
        assert math.isnan(rollout.completions[3].reward)


def test_trl_s_conversations(tmp_path):
    turn = {"role": "user", "content": "Hi"}
    answers = [[{"role": "assistant", "content": text}] for text in "abcd"]
    rollout = only(write_trl(tmp_path, prompt=[[turn]] * 4, completion=answers))
    assert rollout.completions[1].prompt == [turn] and rollout.completions[1].response == "b"
    assert {each.group for each in rollout.completions} == {0}


def test_of_several_rewards_none_is_taken_unless_it_is_named(tmp_path):
    path = write_trl(tmp_path, format_ok=[1.0] * 4)
    rollout = only(path)
    assert all(math.isnan(each.reward) for each in rollout.completions)
    assert "accuracy, format_ok" in rollout.notes[0]
    assert [each.reward for each in only(path, reward="format_ok").completions] == [1.0] * 4
    with pytest.raises(ValueError, match="no column 'other' for --reward: it has step, prompt"):
        only(path, reward="other")


def test_trl_s_files_that_repeat_a_rollout_are_left_out(tmp_path):
    for step in (1, 2, 3):
        text = "a" if step < 3 else "other"
        write_trl(tmp_path, name=f"completions_0000{step}.parquet", step=[step] * 4, completion=[text] * 4)
    first, second = read_log(log_files(tmp_path))
    assert (first.step, second.step) == (1, 3)
    assert second.notes[-1].startswith("1 repeated files")


def test_slime(tmp_path):
    rollout = only(
        write_slime(
            tmp_path,
            sample(),
            sample(reward=0.0, loss_mask=[1, 0, 1]),
            sample(group_index=1, remove_sample=True, rollout_log_probs=torch.tensor([-1.0, -2.0, -3.0])),
        )
    )
    first, second, third = rollout.completions
    assert (rollout.known.trainer, rollout.step) == ("slime", 2)
    assert first.tokens == ([5, 6], [7, 8, 9], [True] * 3, [-0.1, -0.2, -0.3])
    assert second.tokens.mask == [True, False, True] and third.tokens.mask == [False] * 3
    assert third.tokens.logprobs == [-1.0, -2.0, -3.0]
    assert [each.group for each in rollout.completions] == [0, 0, 1]
    assert first.advantage == pytest.approx(-second.advantage) and first.advantage > 0 == third.advantage


def test_slime_s_evaluations_are_left_out(tmp_path):
    write_slime(tmp_path, sample())
    path = write_slime(tmp_path, sample(), name="rollout_eval_2.pt")
    assert only(tmp_path).notes == ("1 files of evaluations: nothing is trained on them",)
    with pytest.raises(ValueError, match="completions of an evaluation"):
        only(path)


def test_slime_s_rewards_by_name(tmp_path):
    path = write_slime(tmp_path, sample(reward={"acc": 0.5, "format": 1.0}))
    with pytest.raises(ValueError, match="sample 0: its rewards are 'acc', 'format': say with --reward NAME"):
        only(path)
    assert only(path, reward="acc").completions[0].reward == 0.5


class Harm:
    """What a file of torch's may hold: a call that is made while it is loaded."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_nothing_in_a_torch_file_runs(tmp_path):
    mark = tmp_path / "harmed"
    path = write_slime(tmp_path / "r", sample(metadata={"x": Harm(mark)}))
    with pytest.raises(ValueError, match="no torch file of plain numbers and text") as caught:
        only(path)
    assert not mark.exists() and "\n" not in str(caught.value) and "it could run code" in str(caught.value)
    (tmp_path / "r" / "3.pt").write_bytes(pickle.dumps(Harm(mark)))
    with pytest.raises(ValueError, match="it could run code"):
        only(tmp_path / "r" / "3.pt")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokens": [1]}, "response_length is 3, it must be within 0 and the 1 tokens"),
        ({"loss_mask": [1]}, "loss_mask has 1 entries, the response 3 tokens"),
        ({"rollout_log_probs": [-0.1]}, "rollout_log_probs has 1 entries, the response 3 tokens"),
        ({"rollout_log_probs": 3}, "rollout_log_probs is 3, it must be a list"),
        ({"reward": "x"}, "reward is 'x', it must be a number"),
        ({"reward": math.inf}, "reward is infinite"),
        ({"prompt": 3}, "the prompt is 3, it must be text"),
        ({"prompt": [{"role": "user", "content": [1]}]}, r"a message in the prompt is \[1\], it must be text"),
    ],
)
def test_a_bad_sample_is_named(tmp_path, changes, said):
    path = write_slime(tmp_path, sample(), sample(**changes))
    with pytest.raises(ValueError, match=f"rollout_2.pt: sample 1: {said}"):
        only(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"input": "a", "outp', "row 1: not a line of JSON"),
        ('{"input": "a", "output": "b"}', "row 1: no line of verl's rollout_data_dir"),
        ('{"input": 1, "output": "b", "score": 1}', "row 1: input is 1, it must be text"),
        ('{"input": "a", "output": "b", "score": "x"}', "row 1: score is 'x', it must be a number"),
        ('{"input": "a", "output": "b", "score": Infinity}', "row 1: score is infinite"),
        ('{"input": "a", "output": "b", "score": 1, "step": "s"}', "row 1: step is 's', it must be an integer"),
    ],
)
def test_a_bad_line_of_verl_s_is_named_or_left_out(tmp_path, line, said):
    path = write_verl(tmp_path, VERL_V0[0], line, VERL_V0[1])
    with pytest.raises(ValueError) as caught:
        only(path)
    assert str(caught.value).startswith(f"{path}: {said}")
    told = []
    assert len(only(path, bad=lambda text, rows: told.append((text, rows))).completions) == 2
    assert len(told) == 1 and told[0][1] == 1


def test_half_a_character_is_replaced(tmp_path):
    path = write_verl(tmp_path, json.dumps({"input": "a\ud800", "output": "b", "score": 1}))
    assert only(path).completions[0].prompt == "a?"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"completion": [[{"role": "assistant", "content": "a"}] * 2] * 4}, "the completion has 2 messages"),
        ({"advantage": ["x"] * 4}, "advantage is 'x', it must be a number"),
        ({"prompt": [1] * 4}, "the prompt is 1, it must be text"),
    ],
)
def test_a_bad_row_of_trl_s_is_named(tmp_path, changes, said):
    path = write_trl(tmp_path, **changes)
    with pytest.raises(ValueError, match=f"completions_00003.parquet: row 0: {said}"):
        only(path)


def test_what_is_no_log(tmp_path, written):
    """A dump, prime-rl's export, any other file, and a run's folder that has a dump beside TRL's completions."""
    assert log_files(written()) == []
    assert log_files(tmp_path) == []
    (tmp_path / "x.jsonl").write_text('{"schema_version": 1}\n')
    (tmp_path / "y.txt").write_text("")
    assert log_files(tmp_path / "x.jsonl") == log_files(tmp_path / "y.txt") == log_files(tmp_path / "none") == []
    write_trl(tmp_path / "run" / "completions")
    assert len(log_files(tmp_path / "run")) == 1
    (tmp_path / "run" / "dump").mkdir()
    (tmp_path / "a.parquet").rename(tmp_path / "run" / "dump" / dump.file_name(0))
    assert log_files(tmp_path / "run") == []


def test_a_file_of_another_kind_under_a_log_s_name(tmp_path):
    torch.save([1], tmp_path / "1.pt")
    with pytest.raises(ValueError, match="no debug rollout of slime: it has not rollout_id and samples"):
        only(tmp_path)


def test_a_bad_file_is_left_out_where_that_is_asked(tmp_path):
    torch.save([1], tmp_path / "1.pt")
    write_slime(tmp_path, sample())
    told = []
    assert only(tmp_path, bad=lambda text, rows: told.append(rows)).step == 2
    assert told == [0]
    (tmp_path / "rollout_2.pt").unlink()
    with pytest.raises(ValueError, match="no rollout in it that can be read"):
        only(tmp_path, bad=lambda text, rows: None)


def test_advantages_of_groups_of_any_size():
    rewards = [1.0, 0.0, 3.0, math.nan, 0.0]
    found = grpo_advantages(rewards, numbered("aabba"))
    # of a: mean 1/3 and standard deviation .57735; of b one alone was scored
    assert found == pytest.approx([1.1545, -0.5773, 0.0, 0.0, -0.5773], abs=2e-4)
