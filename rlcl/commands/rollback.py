"""Verb ``rlcl rollback``, which undoes the last promotion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("rollback")(rollback)


def rollback(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder that rlcl export wrote.")],
    live: Annotated[Path | None, typer.Option(help="Folder of the alias; BUNDLE.live by default.")] = None,
) -> None:
    """Undo the last promotion and deploy the previous bundle again.

    Example:
        rlcl rollback bundles/digits
    """
    from rlcl.deploy.deployment import Deployment
    from rlcl.deploy.promotion import rollback

    restored = rollback(Deployment(bundle) if live is None else Deployment(bundle, live))
    typer.echo(f"{restored.path} answers now ({restored.digest[:12]})")
