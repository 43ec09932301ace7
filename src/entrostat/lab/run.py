"""A run's folder: what is in it, how it is written so that a kill at any moment leaves a
run that resumes.

    config.json     the run's options and its strategy
    metrics.jsonl   one line per rollout; nothing in it differs between two equal runs
    timing.jsonl    seconds of each rollout
    response.jsonl  every so many rollouts what other thresholds would have done
                    (entrostat.lab.maps)
    dump/           every so many rollouts each token that was trained on (entrostat.dump)
    state.json      the last checkpoint that is whole, and how long the three logs above
                    were at that moment
    trainer/        the trainer's checkpoints (model, optimizer, generator states)
    checkpoint/     the final model, a Hugging Face folder
    scores-start.json, scores-end.json
                    right samples of each held-out problem, before and after
    summary.json    both, once the run is over

state.json is replaced in one step, after the checkpoint that it names is whole. A resumed
run cuts logs and dumps back to what it says, and goes on from there.
"""

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from entrostat.dump import cut
from entrostat.files import held, write_atomic, write_json, written_whole
from entrostat.lab.folders import check_new, check_run
from entrostat.statefile import read_state, write_state

LOGS = ("metrics.jsonl", "timing.jsonl", "response.jsonl")
_KEYS = {"label", "strategy", "steps", "threads"}
"""What tells a run's config.json from another program's."""


class Run:
    """The folder of one run."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(
        cls, path: Path, config: dict[str, Any], controller: dict[str, Any]
    ) -> "Run":
        """A new run at `path`. ValueError where something is there: nothing is
        overwritten."""
        check_new(path)
        with written_whole(path) as aside:
            run = cls(aside)
            write_json(aside / "config.json", config)
            for name in LOGS:
                (aside / name).touch()
            run.commit(None, 0, controller)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """An existing run. ValueError where there is none."""
        check_run(path)
        return cls(path)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Holds the run against a second writer; ValueError where there is one. A killed
        process holds nothing."""
        return held(
            self.path,
            f"{self.path} is being trained by another process: wait for it, or stop it",
        )

    def change(self, **options: Any) -> None:
        """Writes other values of these options to config.json. ValueError where the run is
        in training."""
        with self.locked():
            write_json(self.path / "config.json", self.config | options)

    @property
    def resume(self) -> str:
        """The command that goes on with it: of a run in a comparison, the comparison's."""
        # the runs by which a setting is chosen are one folder deeper
        for folder in (self.path.parent, self.path.parent.parent):
            if (folder / "compare.json").is_file():
                return f"entrostat compare --resume {folder}"
        return f"entrostat train --resume {self.path}"

    @property
    def trainer_folder(self) -> Path:
        """Where the trainer's checkpoints are."""
        return self.path / "trainer"

    @property
    def dump_folder(self) -> Path:
        """Where dumps are."""
        return self.path / "dump"

    # What is read

    @property
    def config(self) -> dict[str, Any]:
        """config.json. ValueError where it is not that of a run."""
        path = self.path / "config.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{path} is not JSON ({error}): the run can't be continued"
            ) from None
        if not isinstance(record, dict) or not record.keys() >= _KEYS:
            raise ValueError(
                f"{path} is not the config.json of a run: the run can't be continued"
            )
        return record

    @property
    def state(self) -> dict[str, Any]:
        """state.json: {"checkpoint": name or None, "rollouts": done, "lengths": bytes of
        each log, "controller": its payload}."""
        path = self.path / "state.json"
        if not path.is_file():
            raise ValueError(f"{path} is missing: the run can't be continued")
        state = read_state(path)
        if set(state) != {"checkpoint", "rollouts", "lengths", "controller"}:
            raise ValueError(
                f"{path} has fields {sorted(state)}: it is not the state of a run"
            )
        return state

    @property
    def summary(self) -> dict[str, Any] | None:
        """summary.json; None as long as the run goes on."""
        return _read(self.path / "summary.json")

    def read_scores(self, when: str) -> dict[str, Any] | None:
        """What `write_scores` wrote, or None."""
        return _read(self.path / f"scores-{when}.json")

    # What is written as the run goes

    def append(self, name: str, record: dict[str, Any]) -> None:
        """Adds a line to a log."""
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def write_scores(self, when: str, scores: dict[str, Any]) -> None:
        """Keeps scores under the time of the run that they were taken at."""
        write_atomic(self.path / f"scores-{when}.json", json.dumps(scores) + "\n")

    def commit(
        self, checkpoint: str | None, rollouts: int, controller: dict[str, Any]
    ) -> None:
        """Makes `checkpoint` (a folder under trainer/) the one to resume from."""
        lengths = {name: (self.path / name).stat().st_size for name in LOGS}
        state = {
            "checkpoint": checkpoint,
            "rollouts": rollouts,
            "lengths": lengths,
            "controller": controller,
        }
        write_state(self.path / "state.json", state)

    def rewind(self) -> Path | None:
        """Takes back what came after the last commit; the checkpoint to go on from, or
        None for the start."""
        state = self.state
        for name in LOGS:
            self._cut_log(name, state["lengths"][name])
        cut(self.dump_folder, state["rollouts"])
        checkpoint = None
        if state["checkpoint"]:
            checkpoint = self.trainer_folder / state["checkpoint"]
            if not checkpoint.is_dir():
                raise ValueError(
                    f"{checkpoint} is missing, and state.json names it: "
                    "the run can't be continued"
                )
        # what is left of another one is half written, or of rollouts that come again
        for folder in self.trainer_folder.glob("checkpoint-*"):
            if folder != checkpoint:
                shutil.rmtree(folder)
        return checkpoint

    def _cut_log(self, name: str, length: int) -> None:
        """Takes back the lines of a log behind its first `length` bytes."""
        path = self.path / name
        if not path.is_file() or path.stat().st_size < length:
            raise ValueError(
                f"{path} is shorter than state.json says ({length} bytes): "
                "the run can't be continued"
            )
        os.truncate(path, length)

    # What is written at the end

    @property
    def _aside(self) -> Path:
        return self.path / ".checkpoint"

    def save_model(self, model: Any, tokenizer: Any) -> None:
        """Writes the model as the run's checkpoint/."""
        model.save_pretrained(self.clear_aside())
        self.keep_aside(tokenizer)

    def clear_aside(self) -> Path:
        """The folder that a model is written to before it becomes checkpoint/, with nothing
        in it."""
        shutil.rmtree(self._aside, ignore_errors=True)
        return self._aside

    def keep_aside(self, tokenizer: Any) -> None:
        """Makes that folder, the model in it, the run's checkpoint/."""
        tokenizer.save_pretrained(self._aside)
        self.rename_aside()

    def rename_aside(self) -> None:
        """Makes that folder, model and tokenizer in it, the run's checkpoint/."""
        final = self.path / "checkpoint"
        shutil.rmtree(final, ignore_errors=True)
        os.replace(self._aside, final)

    def finish(self, start: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
        """Writes summary.json, which ends the run, and returns it."""
        timing = (self.path / "timing.jsonl").read_text(encoding="utf-8")
        seconds = sum(json.loads(line)["seconds"] for line in timing.splitlines())
        summary = {
            **end,
            "entropy_start": start.get("entropy"),
            "entropy_end": end.get("entropy"),
            "seconds": round(seconds, 2),
            "start": start,
        }
        # it stands under entropy_end
        summary.pop("entropy", None)
        write_json(self.path / "summary.json", summary)
        return summary


def _read(path: Path) -> dict[str, Any] | None:
    """What a JSON file holds; None where there is no file."""
    if not path.is_file():
        return None
    return json.loads(path.read_text(encoding="utf-8"))
