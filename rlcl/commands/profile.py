"""Verb ``rlcl profile``, which describes the data and environments of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlcl.strict_json import json_text

__all__ = ["add_to"]

NOT_INTERFERING = 4  # exit status


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
    transfer: Annotated[
        bool,
        typer.Option("--transfer", help="Train a policy on each task alone, and evaluate it on all tasks."),
    ] = False,
    root: Annotated[Path, typer.Option(help="Folder of all runs, for the policies of --transfer.")] = Path("runs"),
) -> None:
    """Describe an experiment's data before training: sizes, classes, features, samples, shifts, duplicates.

    For environments: spaces, rewards, episodes and speed with random actions. Write profile.json and profile.html,
    a page without external resources.

    With --transfer, the profile of environments contains the return of each single-task policy on every task, and
    states whether the tasks interfere. The policies are the single-task baselines of the experiment
    (evaluation.baselines), which its runs reuse. The exit status is 4 if the tasks do not interfere:

        rlcl profile continual.yaml --transfer
    """
    from rlcl.commands.run import split_arguments
    from rlcl.console import make_console
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
    matrix = None
    if transfer:
        from rlcl.launch.transfer_matrix import transfer_matrix

        matrix = transfer_matrix(experiment, root, make_console(False))
        data_profile.facts["transfer"] = matrix.facts
    folder = output or Path(f"{experiment.name}-profile")
    page = profile_page(data_profile, experiment)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "profile.json", json_text(data_profile.facts, indent=1) + "\n")
        write_atomically(folder / "profile.html", page)
    if matrix is not None:
        typer.echo(matrix.statement)
    typer.echo(f"{folder / 'profile.html'} ({len(page.encode()) / 1e6:.2f} MB)\n{folder / 'profile.json'}")
    if matrix is not None and matrix.interferes is False:
        raise typer.Exit(NOT_INTERFERING)
