"""``rlcl forget``: examples that a bundle remembers for its updates are deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("forget")(forget)


def forget(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    rows: Annotated[str | None, typer.Option(help="Which, from 0: 3,5-9. Without it memories are listed.")] = None,
    memory: Annotated[str | None, typer.Option(help="Of which memory, where there are several.")] = None,
) -> None:
    """Delete remembered examples from a bundle for good, and seal it again.

    rlcl forget bundles/digits --rows 3,5-9

    What the weights have learned from them stays.
    """
    from rlcl.deploy.bundle import Bundle
    from rlcl.deploy.update_part import forget as delete
    from rlcl.deploy.update_part import memories, parsed_rows

    opened = Bundle.open(bundle)
    if rows is None:
        for each in memories(opened):
            typer.echo(f"{each.name}  {each.rows:,} rows of {', '.join(each.columns)}")
        return
    chosen = set(parsed_rows(rows))
    left = delete(opened, sorted(chosen), memory)
    typer.echo(f"{bundle}: {len(chosen):,} rows deleted, {left:,} left")
