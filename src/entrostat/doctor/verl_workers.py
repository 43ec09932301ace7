"""`entrostat doctor --verl`: whether verl finds the plug-in in the worker processes of Ray, and which one.

verl imports its plug-ins in every process that imports it, and says nothing of one that fails. So it is asked there: a
local Ray is started, and each of its workers says what its own interpreter sees.
"""

import importlib
import importlib.util
from typing import Any

import entrostat

WORKERS = 2
LOSS = "entrostat"
"""The name of the policy loss, and of the plug-in in verl's entry-point group."""
GROUP = "verl.plugins"


def ask_workers(workers: int = WORKERS) -> list[dict[str, Any]]:
    """What each worker of a local Ray sees: {"pid", "python", "entrostat", "verl", "plugin", "registered", "error"}.

    entrostat, verl: versions; plugin: of the entry point, module and attribute; registered: whether verl's registry of
    policy losses has ours; error: why something could not be asked, or null. ValueError where verl is not installed.
    """
    missing = [
        name for name in ("verl", "ray") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ValueError(
            f"{' and '.join(missing)} not installed in this environment: pip install 'entrostat[verl]'"
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
        return ray.get([actor.see.remote(GROUP, LOSS) for actor in actors])
    finally:
        ray.shutdown()


def _witness() -> type:
    """The actor. A class of its own function: Ray then sends its code, so that it runs where entrostat is missing."""

    class Witness:
        def see(self, group: str, loss: str) -> dict[str, Any]:
            import importlib
            import os
            import sys
            from importlib import metadata

            def version(name: str) -> str | None:
                try:
                    return metadata.version(name)
                except metadata.PackageNotFoundError:
                    return None

            points = [
                point.value
                for point in metadata.entry_points(group=group)
                if point.name == loss
            ]
            seen = {
                "pid": os.getpid(),
                "python": sys.executable,
                "registered": False,
                "error": None,
            }
            seen |= {
                "entrostat": version("entrostat"),
                "verl": version("verl"),
                "plugin": points[0] if points else None,
            }
            try:
                core_algos = importlib.import_module("verl.trainer.ppo.core_algos")

                seen["registered"] = loss in core_algos.POLICY_LOSS_REGISTRY
                if points and not seen["registered"]:
                    # verl has swallowed why
                    metadata.entry_points(group=group, name=loss)[loss].load()
            except Exception as error:
                seen["error"] = (
                    f"{type(error).__name__}: {' '.join(str(error).split())}"
                )
            return seen

    return Witness


def faults(
    seen: list[dict[str, Any]], version: str = entrostat.__version__
) -> list[str]:
    """What is wrong, each with its cure; nothing where every worker has this version's plug-in."""
    return [
        f"worker {one['pid']}: {said}" for one in seen if (said := _fault(one, version))
    ]


def _fault(one: dict[str, Any], version: str) -> str | None:
    install = f"install it in the environment of {one['python']}: pip install 'entrostat[verl]=={version}'"
    if one["entrostat"] is None or one["plugin"] is None:
        return f"no entrostat plug-in in group {GROUP}; {install}"
    if one["entrostat"] != version:
        return f"entrostat {one['entrostat']}, and {version} here; {install}"
    if one["error"] is not None:
        return f"the plug-in does not load ({one['error']}); {install}"
    if not one["registered"]:
        return f"verl {one['verl']} did not load the plug-in; unset VERL_USE_EXTERNAL_MODULES, and take verl 0.9.1"
    return None


def answer_verl() -> tuple[dict[str, Any], str, int]:
    """A JSON-able result, the same to print, and the exit code: 1 where a worker lacks the plug-in."""
    seen = ask_workers()
    found = faults(seen)
    good = [
        f"worker {one['pid']}: entrostat {one['entrostat']}, loaded by verl {one['verl']}"
        for one in seen
    ]
    return (
        {"workers": seen, "findings": found},
        "\n".join(found or good),
        int(bool(found)),
    )
