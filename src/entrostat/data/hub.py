"""Whether the hub has a model or a data set: asked once, with a short wait.

The hub's libraries ask six times with growing pauses where there is no network, for
each file anew: a minute for a name that was mistyped.
"""

from typing import Literal

SECONDS = 10.0
"""The wait for an answer."""


def ask(name: str, kind: Literal["model", "dataset"]) -> str | None:
    """None where the hub has it; else why not, in a line.

    Where the hub does not answer, this process is offline from here on: the libraries
    then look into their caches and don't ask.
    """
    # loads slowly, and what is on the disk needs none of it
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
    from huggingface_hub.utils import HFValidationError

    if constants.HF_HUB_OFFLINE:
        return "the hub is switched off (HF_HUB_OFFLINE, or it did not answer)"
    try:
        HfApi().repo_info(name, repo_type=kind, timeout=SECONDS)
    except GatedRepoError:
        return f"the hub wants your consent for it: https://huggingface.co/{name}"
    except (RepositoryNotFoundError, HFValidationError):
        return f"the hub has no {kind} {name!r} (a private one needs `hf auth login`)"
    except Exception as error:
        go_offline()
        return f"the hub can't be reached ({' '.join(str(error).split())[:100]})"
    return None


def go_offline() -> None:
    """No library of the hub asks it from here on, in this process."""
    import sys

    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True
    if "datasets" in sys.modules:
        sys.modules["datasets"].config.HF_HUB_OFFLINE = True


def is_cached(model: str) -> bool:
    """Whether the cache has the model's configuration."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model, "config.json"), str)
