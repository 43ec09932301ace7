"""The trackers that a run logs to, tried before it has a folder."""

from collections.abc import Sequence

from transformers.integrations.integration_utils import (
    get_reporting_integration_callbacks,
)

from entrostat.texts import first_line


def check_trackers(names: Sequence[str]) -> None:
    """ValueError, one line, for a tracker that there is not or that is not installed.

    It is made and thrown away, as transformers' Trainer makes it: a tracker opens
    nothing before training begins.
    """
    if list(names) in (["all"], ["none"]):
        return
    try:
        for kind in get_reporting_integration_callbacks(list(names)):
            kind()
    except Exception as error:
        raise ValueError(
            f"--report-to {' '.join(names)}: {first_line(error)}"
        ) from None
