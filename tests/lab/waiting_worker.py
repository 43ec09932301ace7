"""One rank of two whose process group gives up after two seconds. Used by test_ranks.py."""

import contextlib
import datetime
import json
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from entrostat.engines.meter import TokenSample
from entrostat.lab.ranks import join


def scores():
    time.sleep(5)
    return f"scores of {dist.get_rank()}"


def main(folder: str) -> None:
    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=2))
    ranks, said = join(), []

    @contextlib.contextmanager
    def lock():
        said.append("held")
        yield
        said.append("let go")

    found = {"value": ranks.first(scores)}
    try:
        ranks.first(lambda: int("no number"))
    except (ValueError, RuntimeError) as error:
        found["error"] = type(error).__name__
    with ranks.holding(lock()):
        found["any"] = [ranks.any(ranks.rank == 1), ranks.any(False)]
    found["lock"] = said
    mine = TokenSample(*[torch.tensor([float(ranks.rank)])] * 6, torch.tensor([False]))
    tokens = ranks.gather_tokens(mine)
    found["tokens"] = None if tokens is None else tokens.weight.tolist()
    (Path(folder) / f"{ranks.rank}.json").write_text(json.dumps(found))
    dist.barrier()


if __name__ == "__main__":
    main(sys.argv[1])
