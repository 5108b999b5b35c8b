"""Subcommands of ``rlcl runs`` that move results: merge, migrate, send and import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["import_results", "merge", "migrate", "send", "update_seeds"]

Root = Annotated[Path, typer.Option(help="Folder of all runs.")]


def merge(
    target: Annotated[Path, typer.Argument(help="Folder of all runs, to which runs are copied.")],
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Folders of runs; they are not changed.")],
) -> None:
    """Copy the runs of other folders to a folder of runs.

    A run that is in both folders is copied only if it is further in the source. Runs that have finished with different
    records are left out, and the exit status is 1.
    """
    from rlcl.errors import RunFolderError
    from rlcl.tracking.merge import merge_runs, merge_suites

    for source in sources:
        if not source.is_dir():
            raise RunFolderError(f"{source}: no such folder; name folders of runs: rlcl runs merge TARGET SOURCE...")
    counts = {"copied": 0, "already there": 0, "left out": 0}
    problems, groups = [], set()
    for source in sources:
        for merged in merge_runs(source, target):
            counts[merged.action] += 1
            if merged.action == "copied":
                typer.echo(f"copied  {merged.run}")
                groups.add((target / merged.run).parent)
            elif merged.reason:
                problems.append(f"left out  {merged.run}: {merged.reason}")
        problems += merge_suites(source, target)
    for group in sorted(groups):
        update_seeds(group)
    for problem in problems:
        typer.echo(problem, err=True)
    one = counts["copied"] == 1
    typer.echo(f"{counts['copied']} run{'s' * (not one)} copied to {target}, {counts['already there']} already there")
    if problems:
        raise typer.Exit(1)


def migrate(
    root: Annotated[Path, typer.Argument(help="Folder of all runs.")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the planned moves.")] = False,
) -> None:
    """Move runs of a former version of rlcl to the folders of their experiments' current hashes."""
    from rlcl.errors import RlclError
    from rlcl.tracking.migration import migrate as migrate_folders

    if not root.is_dir():
        raise RlclError(f"{root} is not a folder; name the folder of all runs: rlcl runs migrate ROOT")
    moved, skipped = 0, 0
    for move in migrate_folders(root, dry_run):
        if move.skipped:
            typer.echo(f"skipped {move.folder}: {move.skipped}", err=True)
            skipped += 1
        else:
            typer.echo(f"{'would move' if dry_run else 'moved'} {move.folder} to {move.target}")
            moved += 1
    if not moved and not skipped:
        typer.echo(f"nothing to migrate in {root}: every run is in the folder of its experiment's current hash")
    if skipped:
        raise typer.Exit(1)


def send(
    runs: Annotated[
        list[str], typer.Argument(help="Names as listed by 'rlcl runs list', or their beginnings; supports * and ?.")
    ],
    to: Annotated[list[str], typer.Option(help="Sink: a name, or its settings in braces: '{type: mlflow, uri: ...}'.")],
    root: Root = Path("runs"),
) -> None:
    """Send finished runs to trackers, or write their records and events as tables.

    Example:
        rlcl runs send digits --to mlflow

    This also repairs a copy: a tracker that did not answer during training receives what it lacks, and nothing twice.
    """
    from rlcl.config import Document, component, override
    from rlcl.console import make_console
    from rlcl.launch.sent_runs import send_run
    from rlcl.tracking.runs import named_runs

    sinks = [component("sink", override(Document("--to", {}), [f"sink={text}"]).data["sink"]) for text in to]
    for stored in [stored for run in runs for stored in named_runs(run, root)]:
        send_run(stored, sinks, make_console())
        typer.echo(f"sent {stored.path} to {', '.join(sink.type for sink in sinks)}")


def import_results(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...",
            help="Folders with the results of one run each: evaluations.npz or monitor.csv of Stable-Baselines3, or "
            "the files of Avalanche's CSVLogger.",
        ),
    ],
    on: Annotated[
        str, typer.Option(metavar="EXPERIMENT", help="Experiment with the same stream, budget and evaluation.")
    ],
    learner: Annotated[str, typer.Option(metavar="NAME", help="Name of the learner in comparisons.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first run; the others have the following seeds.")] = 0,
    training_episodes: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Without evaluations: take the mean return of the last N training episodes."
        ),
    ] = None,
    root: Root = Path("runs"),
) -> None:
    """Import the results of runs of Stable-Baselines3 or Avalanche, so that they can be compared and reported.

    Example:
        rlcl runs import logs/ppo/CartPole-v1_* --on cartpole.yaml --learner "SB3 PPO"

    The experiment names the stream that the runs were trained on; its learner is not used. Steps are those of the other
    library: env steps for Stable-Baselines3, epochs for Avalanche.
    """
    from rlcl.experiment import load_experiment
    from rlcl.launch.importing.write import import_run

    experiment = load_experiment(on)
    for index, folder in enumerate(folders):
        imported = import_run(folder, experiment, learner, seed + index, root, training_episodes)
        action = "imported" if imported.new else "already imported"
        typer.echo(f"{action} {folder} ({imported.library}) as {imported.path}")


def update_seeds(folder: Path) -> None:
    """Update the results over the seeds of an experiment, after a run was removed or added."""
    from rlcl.errors import ConfigError
    from rlcl.launch.seed_groups import update_seed_group

    try:
        update_seed_group(folder)
    except ConfigError as error:
        typer.echo(f"the verdict and the sinks of {folder} show its former runs: {error}", err=True)
