"""What docs/real-runs.md needs at toy size: a tiny random Qwen2, made-up problems in GSM8K's form, a benchmark.

python recipes/toy/make.py FOLDER     model/, train.jsonl and benchmark.jsonl in it
"""

import json
import random
import sys
from pathlib import Path

from entrostat.lab.scratch import random_model, train_tokenizer


def problems(n: int, seed: int) -> list[tuple[str, int]]:
    rng = random.Random(seed)
    made = []
    for _ in range(n):
        a, b = rng.randrange(100), rng.randrange(100)
        who, what = rng.choice(("Ada", "Ben", "Cleo", "Dan")), rng.choice(("apples", "books", "coins", "pens"))
        made.append((f"{who} has {a} {what} and buys {b} more. How many {what} has {who} now?", a + b))
    return made


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    train = [{"question": text, "answer": f"The sum.\n#### {total}"} for text, total in problems(400, seed=0)]
    bench = [{"id": str(i), "problem": text, "answer": str(total)} for i, (text, total) in enumerate(problems(8, 1))]
    for name, rows in (("train.jsonl", train), ("benchmark.jsonl", bench)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tokenizer = train_tokenizer((f"{row['question']} {row['answer']}" for row in train), 400)
    random_model(tokenizer, hidden=32, layers=2, mlp=64, heads=4).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python recipes/toy/make.py FOLDER")
    main(Path(sys.argv[1]))
