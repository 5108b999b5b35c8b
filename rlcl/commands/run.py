"""Verb ``rlcl run``, which runs or resumes experiments."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rlcl.experiment import Experiment
    from rlcl.launch.finished_run import FinishedRun

__all__ = ["add_to", "split_arguments"]

NOT_MET = 4  # exit status


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("run")(run)


def run(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE... [KEY=VALUE...]", help="Experiment files (or names of shipped experiments), then overrides."
        ),
    ],
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    continue_from: Annotated[
        str | None,
        typer.Option(
            metavar="RUNS", help="Finished runs to continue: a folder, a name, a pattern or an experiment file."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
) -> None:
    """Run experiments; resume unfinished runs and print the results of finished ones.

    An override is a key path and a value in YAML:

        rlcl run quickstart learner.optimizer.lr=3e-4 'seeds=[0,1]'

    A run is identified by the name of the experiment, a hash of the settings that affect its results (stream,
    encoder, learner, budget, evaluation, ...) and its seed. Adding a seed therefore starts one new run, and
    does not repeat existing runs. Ctrl-C saves a checkpoint and stops.

    With --continue-from RUNS, each of these finished runs is continued in a new run, with a larger budget
    for the last experience or with additional experiences:

        rlcl run digits.yaml budget.epochs=20 --continue-from digits.yaml

    Several processes train one classifier, regressor, autoencoder or vae together, each on its part of
    every minibatch, if torchrun starts them:

        torchrun --nproc-per-node 4 -m rlcl run digits.yaml

    The exit status is 4 if all runs finished and an objective is not met, and 5 if training diverged.
    """
    from rlcl.console import make_console
    from rlcl.experiment import load_experiment
    from rlcl.process_group import joined

    files, overrides = split_arguments(arguments)
    console = make_console(quiet)
    with joined() as group:
        if group.rank:
            from rlcl.launch.data_parallel import follow

            follow(group)
            return
        experiments = [load_experiment(file, overrides) for file in files]
        if continue_from is not None:
            experiments = [_continued(experiments, overrides, continue_from, root, console)]
        statuses = [_run(experiment, root, console) for experiment in experiments]
        group.dismiss()
    if "not met" in statuses:
        raise typer.Exit(NOT_MET)


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split arguments into files and overrides; an override contains ``=``."""
    files = [a for a in arguments if "=" not in a]
    if not files:
        raise typer.BadParameter("expected an experiment file before the overrides, for example: rlcl run quickstart")
    return files, [a for a in arguments if "=" in a]


def _continued(
    experiments: Sequence[Experiment], overrides: Sequence[str], finished: str, root: Path, console: Console
) -> Experiment:
    """Return the experiment that continues finished runs, after copying their states to its run folders."""
    from rlcl.comparison.run_arguments import runs_of_arguments
    from rlcl.launch.continuation.initial_checkpoint import write_initial_checkpoint
    from rlcl.launch.continuation.parent_runs import continued_experiment

    if len(experiments) != 1:
        raise typer.BadParameter(f"--continue-from: expected one experiment file, got {len(experiments)}")
    seeds = experiments[0].seeds if any(override.startswith("seeds=") for override in overrides) else ()
    experiment, runs = continued_experiment(experiments[0], runs_of_arguments([finished], root)[0], seeds)
    for run in runs:
        write_initial_checkpoint(experiment, run, root, console)
    return experiment


def _run(experiment: Experiment, root: Path, console: Console) -> str:
    """Run an experiment and return the status of its objective: ``met``, ``not met`` or ``undecided``, else empty."""
    from rich.text import Text

    from rlcl.launch.seeds import SeedsDiverged, run_experiment

    if experiment.objective and experiment.objective.statement:
        console.print(Text.assemble((experiment.name, "bold"), f": {experiment.objective.statement}"))
    try:
        finished = run_experiment(experiment, root, console)
    except SeedsDiverged as error:
        if error.finished:
            show_results(experiment, error.finished, console)
        raise
    return show_results(experiment, finished, console)


def show_results(experiment: Experiment, finished: Sequence[FinishedRun], console: Console) -> str:
    """Print the results of an experiment's runs; return the status of its objective, or an empty text."""
    from rlcl.launch.verdicts import objective_verdict
    from rlcl.report.tables import (
        costs_line,
        metrics_table,
        probes_table,
        r_table,
        summarize_metrics,
        undefined_lines,
        verdict_table,
    )
    from rlcl.sinks.run_sinks import run_sinks
    from rlcl.tracking.json_files import read_json

    outcomes, names = [f.outcome for f in finished], finished[0].names
    table = metrics_table(summarize_metrics(outcomes), outcomes[0].meanings)
    console.print(r_table(outcomes, names, finished[0].trained), table)
    for line in undefined_lines(outcomes[0]):
        console.print(line)
    if (probes := probes_table(outcomes, finished[0].trained)) is not None:
        console.print(probes)
    verdict = objective_verdict(experiment, [f.result for f in finished])
    if verdict is not None:
        console.print(verdict_table(verdict))
    skipped = sum(f.repeated for f in finished)
    if skipped:
        console.print(f"{skipped} of {len(finished)} runs had finished before and were not repeated.")
    folder = finished[0].path.parent
    has_figure = _draw_r(experiment, finished, folder)
    run_summaries = [read_json(f.path / "summary.json") for f in finished]
    console.print(f"cost:          {costs_line(outcomes, run_summaries)}", soft_wrap=True)
    if has_figure:
        console.print(f"figure of R:   {folder / 'R.png'}", soft_wrap=True)
    for line in run_sinks(experiment.sinks).look(folder).splitlines():
        console.print(f"curves:        {line}", soft_wrap=True)
    console.print(f"page:          rlcl report {folder}", soft_wrap=True)
    return "" if verdict is None else verdict.status


def _draw_r(experiment: Experiment, finished: Sequence[FinishedRun], folder: Path) -> bool:
    """Draw R to R.png and return True; warn and return False if that fails, since the runs are recorded anyway."""
    from rlcl.evaluation.results import measure_named
    from rlcl.report.figures import r_figure
    from rlcl.tracking.folder import disk_errors

    outcomes, names = [f.outcome for f in finished], finished[0].names
    measure = outcomes[0].measures[0]
    seeds = f"mean of {len(outcomes)} seeds" if len(outcomes) > 1 else "1 seed"
    title = f"{experiment.name}: {measure_named(measure).display_name}, {seeds}"
    try:
        with disk_errors(folder):
            rows = outcomes[0].row_names(finished[0].trained)
            figure = r_figure(sum(o.R for o in outcomes) / len(outcomes), names, measure, title, rows)
            figure.savefig(folder / "R.png", dpi=120)
    except Exception as error:
        warnings.warn(f"the figure of R is missing ({type(error).__name__}: {error})", stacklevel=2)
        return False
    return True
