"""``rlcl rollback``: lets the bundle answer that did before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("rollback")(rollback)


def rollback(
    bundle: Annotated[Path, typer.Argument(help="The folder that rlcl export wrote.")],
    live: Annotated[Path | None, typer.Option(help="Folder of the alias; BUNDLE.live by default.")] = None,
) -> None:
    """Let the bundle answer again that did before the last promotion.

    rlcl rollback bundles/digits
    """
    from rlcl.deploy.deployment import Deployment
    from rlcl.deploy.promotion import rollback

    made = rollback(Deployment(bundle) if live is None else Deployment(bundle, live))
    typer.echo(f"{made.path} answers now ({made.digest[:12]})")
