"""`entrostat train --dump-every`: which rollouts, that the run does not move, and that a killed one has each once."""

import pyarrow.parquet as pq
import pytest

from entrostat import dump

FAST = ("--learning-rate", "3e-4", "--reward", "normal")


def names(command, folder):
    return sorted(path.name for path in (command.folder / folder / "dump").iterdir())


def test_every_second_rollout_is_dumped_and_the_run_is_the_same(command):
    command.run("train", *command.small, *FAST, "--out", "plain", "od")
    command.run("train", *command.small, *FAST, "--dump-every", "2", "--out", "dumped", "od")
    assert names(command, "dumped") == [f"step-00000{i}.parquet" for i in (0, 2, 4)]
    assert not (command.folder / "plain" / "dump").exists()
    for name in ("metrics.jsonl", "response.jsonl", "checkpoint/model.safetensors", "scores-end.json"):
        ours, theirs = (command.bytes(run, name) for run in ("dumped", "plain"))
        assert ours == theirs, name
    for batch in dump.read(command.folder / "dumped"):
        line = command.lines("dumped")[batch.column("step")[0].as_py()]
        tokens = dump.per_token(batch)
        assert line["clip_low"] == pytest.approx((tokens["clipped"] == -1).mean(), rel=1e-6)
        assert line["clip_high"] == pytest.approx((tokens["clipped"] == 1).mean(), rel=1e-6)
        assert line["entropy"] == pytest.approx(tokens["old_entropy"].mean(), rel=1e-6)
        rewards = batch.column("reward").to_numpy()
        assert line["reward"] == pytest.approx(rewards.mean(), rel=1e-5)
    refused = command.run("train", "--dump-every", "-1", "grpo", code=2)
    assert refused.stderr.strip().endswith("--dump-every must be at least 0, got -1")


def test_a_run_killed_again_and_again_has_each_dump_once(command):
    options = [*command.small, *FAST, "--dump-every", "1"]
    command.run("train", *options, "--out", "whole", "grpo")
    command.kill("train", *options, "--out", "killed", "grpo", when="killed/dump/step-000003.parquet")
    # what a kill in the middle of a write leaves
    (command.folder / "killed" / "dump" / ".step-000005.parquet.part").write_bytes(b"PAR1")
    command.kill("train", "--resume", "killed", when="killed/scores-end.json")
    command.run("train", "--resume", "killed")
    assert names(command, "killed") == names(command, "whole") == [f"step-00000{i}.parquet" for i in range(6)]
    for name in names(command, "whole"):
        ours, theirs = (pq.read_table(command.folder / run / "dump" / name) for run in ("killed", "whole"))
        assert ours.equals(theirs, check_metadata=True), name
