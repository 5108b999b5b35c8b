"""Console of the command line."""

from __future__ import annotations

from rich.console import Console

__all__ = ["console"]

WIDTH = 140  # of output that is not a terminal


def console(quiet: bool = False) -> Console:
    """Return a console for the terminal, or one of ``WIDTH`` characters if the output is a file or a pipe."""
    terminal = Console(quiet=quiet)
    return terminal if terminal.is_terminal else Console(quiet=quiet, width=WIDTH)
