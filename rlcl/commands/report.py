"""``rlcl report``: the page of a run, an experiment or a suite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("report")(report)


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_OR_SUITE...",
            help="Folders of runs, experiments or suites, or names as rlcl runs list has them.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; report.html in the folder by default.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """Write one HTML page: results with intervals, cost, config; it needs no network and no other file.

    Several experiments are compared. What cannot be read is named on the page and left out.
    """
    from rlcl.report.page.build import make_page
    from rlcl.tracking.folder import disk_errors, write_atomically
    from rlcl.tracking.runs import named_runs

    found = tuple({run.path.resolve(): run for name in runs for run in named_runs(name, root)}.values())
    page = make_page(found, Path(runs[0]).resolve().name if len(runs) == 1 else "comparison")
    file = output or _beside([run.path for run in found])
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, page)
    for run in found:
        if run.fault:
            typer.echo(f"left out: {run.path}: {run.fault}", err=True)
    typer.echo(f"{file} ({len(page.encode()) / 1e6:.2f} MB, {len(found)} run{'s' * (len(found) > 1)})")


def _beside(paths: list[Path]) -> Path:
    """Where the page goes: into a run's own folder, else into the folder that holds them all."""
    import os

    return Path(paths[0] if len(paths) == 1 else os.path.commonpath(paths)) / "report.html"
