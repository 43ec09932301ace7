"""One rank of a two-process run on gloo; prints what this rank saw, as JSON. Started by test_trl_ddp.py."""

import json
import sys

from tiny_trl import config, logged, make

from entrostat.engines.trl import PREFIX, EntropyControlGRPOTrainer


class Recorded(EntropyControlGRPOTrainer):
    """Keeps this rank's own sums of entropy and tokens, and its own clip events."""

    rollouts: list

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        mask = output["completion_mask"].bool()
        entropy = output["entrostat_old_entropy"]
        self.rollouts.append([float(entropy[mask].double().sum()), int(mask.sum()), self.controller_state._asdict()])
        return output


def main(folder: str) -> None:
    args = config(folder, max_steps=8)
    watched = {"attribution_share": 1.0, "dump_every": 1, "dump_dir": f"{folder}/dump"}
    trainer = make(Recorded, args, strategy="thermostat", **watched)
    trainer.rollouts = []
    trainer.train()
    found = {
        "rank": trainer.accelerator.process_index,
        "rollouts": trainer.rollouts,
        "log": logged(trainer, PREFIX),
    }
    with open(f"{folder}/rank{found['rank']}.json", "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(sys.argv[1])
