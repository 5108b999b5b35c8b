"""Verb ``rlcl forget``, which deletes stored examples from a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("forget")(forget)


def forget(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    rows: Annotated[
        str | None, typer.Option(help="Indices of the rows from 0, such as 3,5-9; without it, the memories are listed.")
    ] = None,
    memory: Annotated[str | None, typer.Option(help="Name of the memory; required if there are several.")] = None,
) -> None:
    """Permanently delete stored examples from a bundle, and renew its checksums.

    Example:
        rlcl forget bundles/digits --rows 3,5-9

    The weights that were trained on these examples do not change.
    """
    from rlcl.deploy.bundle import Bundle
    from rlcl.deploy.update_part import forget as delete
    from rlcl.deploy.update_part import memories, parse_rows

    opened = Bundle.open(bundle)
    if rows is None:
        for stored in memories(opened):
            typer.echo(f"{stored.name}  {stored.rows:,} rows of {', '.join(stored.columns)}")
        return
    indices = set(parse_rows(rows))
    left = delete(opened, sorted(indices), memory)
    typer.echo(f"{bundle}: {len(indices):,} rows deleted, {left:,} left")
