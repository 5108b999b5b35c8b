"""Console of the terminal and of log files."""

from __future__ import annotations

from typing import Any, TextIO

from rich.console import Console

__all__ = ["make_console"]

WIDTH = 140  # of output that is not a terminal


def make_console(
    quiet: bool = False, *, stderr: bool = False, file: TextIO | None = None, width: int = WIDTH
) -> Console:
    """Return a console that prints text as it is.

    Names of files, classes and settings may contain what rich would interpret as markup or as the name of an emoji.
    Styles are therefore set by ``rich.text.Text`` or ``style``.

    Args:
        quiet: whether nothing is printed.
        stderr: whether to print to the standard error.
        file: file to print to instead.
        width: characters per line if the output is not a terminal.
    """
    settings: dict[str, Any] = {"quiet": quiet, "stderr": stderr, "file": file}
    settings |= {"markup": False, "emoji": False, "highlight": False}
    terminal = Console(**settings)
    return terminal if terminal.is_terminal else Console(**settings, width=width)
