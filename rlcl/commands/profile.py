"""Verb ``rlcl profile``, which describes the data and environments of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlcl.strict_json import json_text

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("profile")(profile)


def profile(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="FILE [KEY=VALUE...]", help="One experiment file and overrides, see rlcl run."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output folder; NAME-profile by default.")
    ] = None,
    steps: Annotated[int, typer.Option(min=10, help="Env steps of the rollout in each environment.")] = 1000,
) -> None:
    """Describe an experiment's data before training: sizes, classes, features, samples, shifts, duplicates.

    For environments: spaces, rewards, episodes and speed with random actions. Write profile.json and profile.html,
    a page without external resources.
    """
    from rlcl.commands.run import split_arguments
    from rlcl.errors import RlclError
    from rlcl.experiment import load_experiment
    from rlcl.launch.build import make_stream
    from rlcl.report.profile.build import make_profile, profile_page
    from rlcl.tracking.folder import disk_errors, write_atomically

    files, overrides = split_arguments(arguments)
    if len(files) != 1:
        raise RlclError(f"expected one experiment to profile, got {len(files)}: {', '.join(map(str, files))}")
    experiment = load_experiment(files[0], overrides)
    data_profile = make_profile(experiment, make_stream(experiment, experiment.seeds[0]), steps)
    folder = output or Path(f"{experiment.name}-profile")
    page = profile_page(data_profile, experiment)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "profile.json", json_text(data_profile.facts, indent=1) + "\n")
        write_atomically(folder / "profile.html", page)
    typer.echo(f"{folder / 'profile.html'} ({len(page.encode()) / 1e6:.2f} MB)\n{folder / 'profile.json'}")
