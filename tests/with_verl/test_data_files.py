"""recipes/verl/data.py: its files in verl's own data set and under verl's own rewards, at the paths of the recipes."""

import json
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from transformers import AutoTokenizer
from verl.trainer.ppo.utils import create_rl_dataset
from verl.utils.reward_score import default_compute_score

RECIPES = Path(__file__).parents[2] / "recipes" / "verl"
GSM8K = {
    "train.jsonl": [
        {
            "question": "Natalia sold 48 clips, then half as many. How many?",
            "answer": "48+24 = <<48+24=72>>72\n#### 72",
        },
        {"question": "A car costs $12,000 and a van twice as much. And the van?", "answer": "Twice.\n#### 24,000"},
    ],
    "test.jsonl": [{"question": "Janet eats 3 of 16 eggs. How many are left?", "answer": "16-3 = 13\n#### 13"}],
}
HEAD = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\n"
)
TAIL = '\n\nRemember to put your answer on its own line after "Answer:".'
AIME = [{"id": str(i), "problem": f"Find {i} + {i}.", "answer": str(2 * i)} for i in (60, 61)]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def dapo_row(problem, answer):
    """As the hub's rows are."""
    return {
        "data_source": "math_dapo",
        "prompt": [{"content": f"{HEAD}{problem}{TAIL}", "role": "user"}],
        "ability": "MATH",
        "reward_model": {"ground_truth": answer, "style": "rule-lighteval/MATH_v2"},
        "extra_info": {"index": "9a9b6eb4"},
    }


def run(*words, code=0):
    done = subprocess.run([sys.executable, str(RECIPES / "data.py"), *map(str, words)], capture_output=True, text=True)
    assert done.returncode == code, done.stderr[-2000:]
    return done


def read_by_verl(recipe, home, tokenizer):
    """A recipe's files are under HOME, which is another one while they are looked up and no longer: Ray keeps what it
    finds there."""
    with pytest.MonkeyPatch.context() as patch, initialize_config_dir(str(RECIPES), version_base=None):
        patch.setenv("HOME", str(home))
        data = compose(config_name=recipe).data
        OmegaConf.resolve(data)
    data.filter_overlong_prompts_workers = 1
    sets = (create_rl_dataset(files, data, tokenizer, None) for files in (data.train_files, data.val_files))
    return [[rows[i] for i in range(len(rows))] for rows in sets]


@pytest.fixture
def home(tmp_path):
    return tmp_path


def test_gsm8k_is_read_and_rewarded_by_verl(home, tiny_model):
    for name, rows in GSM8K.items():
        write(home / "copy" / name, rows)
    folder = home / "data" / "gsm8k"
    said = run("gsm8k", folder, "--copy", home / "copy").stdout
    assert f"{folder}: 2 problems, 1 of test" in said
    train, test = read_by_verl("2509.26114-gsm8k-qwen2.5-3b", home, AutoTokenizer.from_pretrained(tiny_model))
    assert (len(train), len(test)) == (2, 1)
    for row, answer in zip([*train, *test], ("72", "24000", "13"), strict=True):
        truth = row["reward_model"]["ground_truth"]
        assert default_compute_score(row["data_source"], f"So it is\n#### {answer}", truth) == 1
        assert default_compute_score(row["data_source"], "So it is\n#### 5", truth) == 0
    assert "already" in run("gsm8k", folder, "--copy", home / "copy", code=1).stderr


def test_dapo_is_read_and_rewarded_by_verl_with_aime_for_its_test(home, tiny_model):
    rows = [dapo_row(f"What is {i} + 1?", str(i + 1)) for i in (33, 33, 40)]
    (home / "copy").mkdir()
    pandas.DataFrame(rows).to_parquet(home / "copy" / "train.parquet")
    write(home / "aime.jsonl", AIME)
    run("dapo-math-17k", home / "data/dapo-math-17k", "--copy", home / "copy", "--test", home / "aime.jsonl")
    train, test = read_by_verl("2602.09782-qwen2.5-7b-id", home, AutoTokenizer.from_pretrained(tiny_model))
    # the repeated problem is gone
    assert (len(train), len(test)) == (2, 2)
    for row, answer in zip([*train, *test], ("34", "41", "120", "122"), strict=True):
        truth = row["reward_model"]["ground_truth"]
        assert default_compute_score(row["data_source"], f"Thus\nAnswer: {answer}", truth)["acc"]
        assert not default_compute_score(row["data_source"], "Thus\nAnswer: 5", truth)["acc"]
    (prompt,) = pandas.read_parquet(home / "data/dapo-math-17k/train.parquet")["prompt"][0]
    assert prompt == {"role": "user", "content": f"{HEAD}What is 33 + 1?{TAIL}"}
