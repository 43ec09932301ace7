"""The Parquet files that the recipes beside this read: verl's wheel has no script for them.

python recipes/verl/data.py gsm8k ~/data/gsm8k                    train.parquet and test.parquet, from the hub
python recipes/verl/data.py dapo-math-17k ~/data/dapo-math-17k    the same; the test is AIME 2024

Problems are read, worded and sorted out as `entrostat train --dataset` does (docs/data.md), so both trainers have the
same. Without the hub: --copy PATH for the data set, and for DAPO's test --test FILE.jsonl (id, problem, answer).
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from entrostat.data.benchmarks import load_benchmark
from entrostat.data.load import load_problems
from entrostat.data.prompts import WORDING_OF, worded
from entrostat.data.sources import SOURCES
from entrostat.files import is_taken, written_whole
from entrostat.verify.gsm8k import final_number

# by the verifier that a data set has here: the name by which verl chooses its reward, which goes by the same rule
REWARD = {"gsm8k": "openai/gsm8k", "dapo": "math_dapo"}


def row(verifier: str, index: int, problem: str, answer: str) -> dict:
    prompt = worded(WORDING_OF[verifier], problem)
    if verifier == "gsm8k":
        # verl compares with the number alone, not with a worked solution
        answer = final_number(answer)
    return {
        "data_source": REWARD[verifier],
        "prompt": [{"role": "user", "content": prompt}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": {"index": index},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SOURCES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copy", help="file or folder with the data set, in the place of the hub's")
    parser.add_argument("--test", default="aime24", help="benchmark, for a data set that holds nothing out")
    chosen = parser.parse_args()
    if is_taken(chosen.folder):
        raise ValueError(f"{chosen.folder} is there already: choose another folder")
    source = SOURCES[chosen.name]
    if chosen.copy:
        source = dataclasses.replace(source, where=chosen.copy, config=None)
    problems = load_problems(source)
    test = problems.test or load_benchmark(chosen.test).questions
    with written_whole(chosen.folder) as folder:
        for split, items in (("train", problems.train), ("test", test)):
            rows = [row(source.verifier, index, item.problem, item.answer) for index, item in enumerate(items)]
            pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")
    print(*problems.notes, f"{chosen.folder}: {len(problems.train)} problems, {len(test)} of test", sep="\n")


# the verifiers' processes import this file again
if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"data.py: {error}")
