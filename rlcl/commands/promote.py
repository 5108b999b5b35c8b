"""Verb ``rlcl promote``, which deploys a candidate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("promote")(promote)


def promote(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder that rlcl export wrote.")],
    candidate: Annotated[str | None, typer.Argument(help="Name of a candidate; the latest one by default.")] = None,
    live: Annotated[Path | None, typer.Option(help="Folder of the alias; BUNDLE.live by default.")] = None,
    allow_signature_change: Annotated[
        bool,
        typer.Option(
            "--allow-signature-change", help="Promote even if the signature changes, for example by a new class."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Promote even if the candidate did not pass its gate.")
    ] = False,
) -> None:
    """Deploy a candidate; a running server switches to it without losing a request.

    Examples:
        rlcl promote bundles/digits
        rlcl promote bundles/digits 0002 --allow-signature-change
    """
    from rlcl.deploy.deployment import Deployment
    from rlcl.deploy.promotion import promote

    deployment = Deployment(bundle) if live is None else Deployment(bundle, live)
    promoted = promote(deployment, candidate, allow_signature_change=allow_signature_change, force=force)
    typer.echo(f"{promoted.path} answers now ({promoted.digest[:12]})")
