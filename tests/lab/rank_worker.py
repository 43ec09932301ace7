"""One rank of `entrostat` under a launcher; keeps what the controller of this rank was told. Used by test_ranks.py."""

import json
import os
import sys
from pathlib import Path

from entrostat.cli import main
from entrostat.engines.trl import EntropyControlMixin

FOLDER = Path(sys.argv[1])
_observe = EntropyControlMixin._observe


def observe(self, old, output):
    _observe(self, old, output)
    mask = output["completion_mask"].bool()
    record = {
        "entropy": self._metrics["train"]["entrostat/entropy"][-1],
        "sum": float(old.entropy[mask].double().sum()),
        "tokens": int(mask.sum()),
        "state": self.controller_payload(),
    }
    with (FOLDER / f"rank{os.environ.get('RANK', '0')}.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")


EntropyControlMixin._observe = observe
sys.exit(main(sys.argv[2:]))
