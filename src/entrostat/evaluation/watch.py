"""What hears how an evaluation goes."""

import sys


class Watcher:
    """Hears it and does nothing; a base for those that do."""

    def warn(self, text: str) -> None:
        """Something that the user should know."""

    def note(self, text: str) -> None:
        """How something was understood."""

    def progress(self, benchmark: str, done: int, problems: int) -> None:
        """So many problems of the benchmark are kept."""


class Screen(Watcher):
    """Warnings, and the progress by problems, on stderr.

    The progress is one line that moves where stderr is a terminal.
    """

    def warn(self, text: str) -> None:
        print(f"warning: {text}", file=sys.stderr)

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)

    def progress(self, benchmark: str, done: int, problems: int) -> None:
        is_terminal = sys.stderr.isatty()
        moving = is_terminal and done < problems
        # to the start of the line, and clear it
        clear = "\r\x1b[K" if is_terminal else ""
        print(
            f"{clear}{benchmark}: {done}/{problems} problems",
            end="" if moving else "\n",
            file=sys.stderr,
            flush=True,
        )
