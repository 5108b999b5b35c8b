"""Verb ``rlcl schema``, which prints the JSON schema of experiment files."""

from __future__ import annotations

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("schema")(schema)


def schema() -> None:
    """Print the JSON schema of experiment files, for completion and validation in an editor.

    To use it with the YAML extension of an editor, run rlcl schema > rlcl.json and begin a file with
    # yaml-language-server: $schema=rlcl.json
    """
    import json

    from rlcl.experiment import schema as experiment_schema

    typer.echo(json.dumps(experiment_schema(), indent=2))
