"""``rlcl schema``: a JSON schema of experiment files, for editors."""

from __future__ import annotations

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("schema")(schema)


def schema() -> None:
    """Print the JSON schema of experiment files, for completion and checks in an editor.

    With the YAML extension of an editor: rlcl schema > rlcl.json, and as a file's first line
    # yaml-language-server: $schema=rlcl.json
    """
    import json

    from rlcl.experiment import schema as experiment_schema

    typer.echo(json.dumps(experiment_schema(), indent=2))
