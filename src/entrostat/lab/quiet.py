"""Screens that are ours alone. It imports no trainer, so `entrostat evaluate` runs in an
environment that has none, such as verl's."""

import warnings

import datasets
import transformers


def quiet() -> None:
    """Keeps bars and notices of the libraries below off stderr, which is the watcher's."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings(
        "ignore", category=FutureWarning, module=r"(transformers|trl)\b"
    )
