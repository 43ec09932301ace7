"""One rank of `entrostat` under a launcher; keeps what the controller of this rank was told. Used by test_ranks.py."""

import json
import os
import sys
from pathlib import Path

from entrostat.cli import main
from entrostat.engines.trl import EntropyControlMixin


def keep(folder):
    """From here on `folder` gets a line a rollout: what this rank's controller observed."""
    plain = EntropyControlMixin._observe

    def observe(self, old, output):
        plain(self, old, output)
        mask = output["completion_mask"].bool()
        record = {
            "entropy": self._metrics["train"]["entrostat/entropy"][-1],
            "sum": float(old.entropy[mask].double().sum()),
            "tokens": int(mask.sum()),
            "state": self.controller.payload(),
        }
        with (folder / f"rank{os.environ.get('RANK', '0')}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    EntropyControlMixin._observe = observe


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
