"""How many processes a launcher has started, by the environment that it has set. Needs
nothing, so that a wrong command line is told before torch is imported."""

import os

# torchrun's name, then those of the MPIs: the list that accelerate goes through
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def world_size() -> int:
    """How many processes the launcher has started, by the environment that it has set."""
    for name in _SIZES:
        if os.environ.get(name):
            return int(os.environ[name])
    return 1


def is_lone() -> bool:
    """Whether accelerate was asked for several processes and has started this one alone.

    Its --cpu does, unless it is given an --mpirun_hostfile (accelerate 1.15,
    commands/launch.py, simple_launcher): then it sets an address to meet at, and no rank.
    """
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
    asked = on_cpu and "MASTER_ADDR" in os.environ
    return asked and not any(os.environ.get(name) for name in _SIZES)
