"""Where the command line prints."""

from __future__ import annotations

from rich.console import Console

__all__ = ["console"]

WIDTH = 140  # where there is no terminal, whose width would be taken


def console(quiet: bool = False) -> Console:
    """The terminal, or a wide page where the output goes to a file or a pipe."""
    made = Console(quiet=quiet)
    return made if made.is_terminal else Console(quiet=quiet, width=WIDTH)
