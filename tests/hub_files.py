"""Small files in the schemas of the hub's data sets, with made-up problems."""

import json
import random
from pathlib import Path

import datasets

from entrostat.data.prompts import worded


def sums(n, seed=0):
    """n problems, each another, and their answers."""
    rng = random.Random(seed)
    pairs = rng.sample([(a, b) for a in range(200) for b in range(200)], n)
    return [(f"Ada has {a} apples and buys {b} more. How many has she?", a, b) for a, b in pairs]


def write_gsm8k(folder: Path, train=40, test=12):
    """openai/gsm8k: configs main and socratic, columns question and answer, a worked answer that ends in "#### n"."""
    rows = [
        {"question": text, "answer": f"She has {a} + {b} = <<{a}+{b}={a + b}>>{a + b:,} apples.\n#### {a + b:,}"}
        for text, a, b in sums(train + test)
    ]
    (folder / "main").mkdir(parents=True)
    for split, part in (("train", rows[:train]), ("test", rows[train:])):
        datasets.Dataset.from_list(part).to_parquet(str(folder / "main" / f"{split}-00000-of-00001.parquet"))
    files = "".join(f"  - split: {s}\n    path: main/{s}-*\n" for s in ("train", "test"))
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: main\n  data_files:\n{files}---\n")
    return folder


def write_dapo(folder: Path, n=40, copies=3):
    """BytedTsinghua-SIA/DAPO-Math-17k: one Parquet file, a conversation a row, each problem there several times."""
    rows = [
        {
            "data_source": "math_dapo",
            "prompt": [{"content": worded("dapo", text), "role": "user"}],
            "ability": "MATH",
            "reward_model": {"ground_truth": str(a + b), "style": "rule-lighteval/MATH_v2"},
            "extra_info": {"index": f"{i:08d}-0000"},
        }
        for i, (text, a, b) in enumerate(sums(n))
    ]
    (folder / "data").mkdir(parents=True)
    datasets.Dataset.from_list(rows * copies).to_parquet(str(folder / "data" / "dapo-math-17k.parquet"))
    return folder


def write_jsonl(path: Path, rows):
    """A JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path: Path, rows):
    datasets.Dataset.from_list(rows).to_parquet(str(path))
    return path


def verl_row(source, problem, answer, *, before=(), **more):
    """A row of verl's preprocessing: a conversation with the wording in it."""
    turns = [*before, {"role": "user", "content": problem}]
    reward = {"style": "rule", "ground_truth": answer}
    return {"data_source": source, "prompt": turns, "ability": "math", "reward_model": reward, **more}
