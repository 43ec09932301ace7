"""The options of `entrostat diagnose`; nothing here imports torch."""

import dataclasses
from pathlib import Path

from tyro.conf import Positional

from entrostat.lab.options import at_least


@dataclasses.dataclass(frozen=True)
class Diagnose:
    """Why entropy moved: its first-order change in dumped rollouts by cause, and what other
    thresholds would have done by that estimate.

    Dumps come from `entrostat train --dump-every`, from the TRL engine (dump_every=...), from anybody's tensors by
    entrostat.dump, or from prime-rl's token export (docs/dump.md). Of verl's rollout_data_dir, TRL's log_completions
    and slime's debug rollouts it says what they tell, and with --model recomputes what they lack.
    """

    paths: Positional[tuple[Path, ...]] = ()
    """Dumps, folders of them or folders of runs, taken together; or a trainer's own log of rollouts."""
    model: str = ""
    """The checkpoint that sampled the rollout of a trainer's log: a folder or a name of the hub. Log-probabilities and
    entropies are recomputed from it."""
    temperature: float = 1.0
    """At which --model's rollout was sampled."""
    reward: str = ""
    """Name of the reward, where a trainer's log has several."""
    html: Path | None = None
    """Write a page of it with a token viewer."""
    responses: int = 200
    """At most so many responses in the viewer: those of the prompts that moved entropy most."""
    right: float = 0.5
    """The least reward of a right answer."""
    skip_bad: bool = False
    """Leave out rows and files that can't be read, and count them."""
    full: bool = False
    """Print the tables too: by region, position, token and prompt, and the map of other
    thresholds."""
    json: bool = False
    """Print the result as JSON."""


def check_asked(options: Diagnose) -> None:
    """Raises ValueError for paths that there are not, and for no response to show."""
    if not options.paths:
        raise ValueError(
            "no dump given: entrostat diagnose PATH..., a dump, a folder of them or a "
            "run's folder"
        )
    for path in options.paths:
        if not path.exists():
            raise ValueError(
                f"{path}: there is no such file or folder: give a dump, a folder of "
                "dumps or a run's folder"
            )
    at_least("responses", options.responses, 1)
