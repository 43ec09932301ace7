"""`entrostat doctor --verl`: whether verl finds the plug-in in the worker processes of
Ray, and which one.

verl imports its plug-ins in every process that imports it, and says nothing of one that
fails. So it is asked there: a local Ray is started, and each of its workers says what its
own interpreter sees.
"""

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

import entrostat
from entrostat.trainers import TESTED_VERL, VERL_PLUGIN

WORKERS = 2
GROUP = "verl.plugins"
"""verl's entry-point group, in which the plug-in has the name of its policy loss."""


def answer_verl() -> tuple[dict[str, Any], str, int]:
    """A JSON-able result, the same to print, and the exit code: 1 where a worker lacks
    the plug-in."""
    seen = ask_workers()
    wrong = faults(seen)
    good = []
    for one in seen:
        versions = f"entrostat {one['entrostat']}, loaded by verl {one['verl']}"
        good.append(f"worker {one['pid']}: {versions}")
    answered = {"workers": seen, "findings": wrong}
    return answered, "\n".join(wrong or good), int(bool(wrong))


def ask_workers(workers: int = WORKERS) -> list[dict[str, Any]]:
    """What each worker of a local Ray sees.

    A dict with the keys `pid`, `python` (the interpreter), `entrostat` and `verl` (their
    versions), `plugin` (the entry point's module and attribute), `registered` (whether
    verl's registry of policy losses has ours) and `error` (why something could not be
    asked, or None).

    Raises ValueError where verl is not installed, RuntimeError where Ray does not start.
    """
    needed = ("verl", "ray")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"{' and '.join(missing)} not installed in this environment: "
            "pip install 'entrostat[verl]'"
        )
    ray: Any = importlib.import_module("ray")
    try:
        # "local": without it Ray joins whatever cluster runs on the machine
        ray.init(
            "local",
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except Exception as error:
        raise RuntimeError(
            f"a local Ray does not start ({error}): try `ray start --head` to see why"
        ) from error
    try:
        # an actor each: tasks could all run in one process
        kind = ray.remote(num_cpus=1)(_witness())
        actors = [kind.remote() for _ in range(workers)]
        return ray.get([actor.see.remote(GROUP, VERL_PLUGIN) for actor in actors])
    finally:
        ray.shutdown()


def _witness() -> type:
    """The actor's class. It is made in a function, and imports what it needs itself: Ray
    then sends its code, so that it runs where entrostat is missing."""

    class Witness:
        def see(self, group: str, loss: str) -> dict[str, Any]:
            import os
            import sys
            from importlib import import_module, metadata

            def version(name: str) -> str | None:
                try:
                    return metadata.version(name)
                except metadata.PackageNotFoundError:
                    return None

            points = list(metadata.entry_points(group=group, name=loss))
            seen = {
                "pid": os.getpid(),
                "python": sys.executable,
                "registered": False,
                "error": None,
                "entrostat": version("entrostat"),
                "verl": version("verl"),
                "plugin": points[0].value if points else None,
            }
            try:
                core_algos = import_module("verl.trainer.ppo.core_algos")
                seen["registered"] = loss in core_algos.POLICY_LOSS_REGISTRY
                if points and not seen["registered"]:
                    # verl has swallowed the error: load the plug-in again to see it
                    points[0].load()
            except Exception as error:
                text = " ".join(str(error).split())
                seen["error"] = f"{type(error).__name__}: {text}"
            return seen

    return Witness


def faults(
    seen: Sequence[dict[str, Any]], version: str = entrostat.__version__
) -> list[str]:
    """What is wrong, each with its cure; nothing where every worker has this version's
    plug-in."""
    wrong = []
    for one in seen:
        fault = _fault(one, version)
        if fault is not None:
            wrong.append(f"worker {one['pid']}: {fault}")
    return wrong


def _fault(one: dict[str, Any], version: str) -> str | None:
    """What is wrong in one worker; the first of its faults, as the others follow."""
    install = (
        f"install it in the environment of {one['python']}: "
        f"pip install 'entrostat[verl]=={version}'"
    )
    if one["entrostat"] is None or one["plugin"] is None:
        return f"no entrostat plug-in in group {GROUP}; {install}"
    if one["entrostat"] != version:
        return f"entrostat {one['entrostat']}, and {version} here; {install}"
    if one["error"] is not None:
        return f"the plug-in does not load ({one['error']}); {install}"
    if not one["registered"]:
        return (
            f"verl {one['verl']} did not load the plug-in; unset "
            f"VERL_USE_EXTERNAL_MODULES, and use verl {TESTED_VERL}"
        )
    return None
