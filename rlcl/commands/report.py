"""Verb ``rlcl report``, which writes an HTML page of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("report")(report)


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_OR_SUITE...",
            help="Folders of runs, experiments or suites, or names as listed by 'rlcl runs list'.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Output file. The default is report.html in the folder of the run, or in the common parent folder of "
            "all runs.",
        ),
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """Write a self-contained HTML report with results, confidence intervals, costs and config.

    If several experiments are given, the report compares them. Runs that cannot be read are listed in the report and
    excluded.
    """
    from rlcl.report.page.build import make_page
    from rlcl.tracking.folder import disk_errors, write_atomically
    from rlcl.tracking.runs import named_runs

    stored = tuple({run.path.resolve(): run for name in runs for run in named_runs(name, root)}.values())
    page = make_page(stored, Path(runs[0]).resolve().name if len(runs) == 1 else "comparison")
    file = output or _default_file([run.path for run in stored])
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, page)
    for run in stored:
        if run.fault:
            typer.echo(f"left out: {run.path}: {run.fault}", err=True)
    typer.echo(f"{file} ({len(page.encode()) / 1e6:.2f} MB, {len(stored)} run{'s' * (len(stored) > 1)})")


def _default_file(paths: list[Path]) -> Path:
    """Return the path of the page: in the folder of a single run, else in the common parent folder of all runs."""
    import os

    return Path(paths[0] if len(paths) == 1 else os.path.commonpath(paths)) / "report.html"
