"""``rlcl run``: runs experiments, or goes on with them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rlcl.experiment import Experiment
    from rlcl.launch.finished import Finished

__all__ = ["add_to", "split_arguments"]

NOT_MET = 4  # the exit status


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("run")(run)


def run(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE... [KEY=VALUE...]", help="Experiment files (or names of shipped ones), then changes."
        ),
    ],
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    continue_from: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Continue finished runs: a folder, a name, a pattern or a file."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
) -> None:
    """Run experiments; unfinished runs go on where they stopped, finished ones are only shown.

    A change is a key path and a value in YAML:

        rlcl run quickstart learner.optimizer.lr=3e-4 'seeds=[0,1]'

    A run is found again by the hash of what decides its records (stream, encoder, learner, budget,
    evaluation), so another seed adds a run and repeats nothing. Ctrl-C saves a checkpoint first.

    With --continue-from RUN, each finished run of RUN goes on in a new one, with more budget for its last
    experience or with more experiences:

        rlcl run digits.yaml budget.epochs=20 --continue-from digits.yaml

    The exit status is 4 where all ran and an objective was not met, and 5 where training diverged.
    """
    from rlcl.commands.console import console as make_console
    from rlcl.experiment import load_experiment

    files, overrides = split_arguments(arguments)
    console = make_console(quiet)
    experiments = [load_experiment(file, overrides) for file in files]
    if continue_from is not None:
        experiments = [_continued(experiments, overrides, continue_from, root, console)]
    said = [_run(experiment, root, console) for experiment in experiments]
    if "not met" in said:
        raise typer.Exit(NOT_MET)


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files, and changes: what has a ``=`` is one."""
    files = [a for a in arguments if "=" not in a]
    if not files:
        raise typer.BadParameter("expected an experiment file before the changes, for example: rlcl run quickstart")
    return files, [a for a in arguments if "=" in a]


def _continued(
    experiments: Sequence[Experiment], overrides: Sequence[str], place: str, root: Path, console: Console
) -> Experiment:
    """The experiment as it continues runs, whose states are in its folders from now on."""
    from rlcl.comparison.places import runs_of
    from rlcl.launch.continuing.parents import continuing
    from rlcl.launch.continuing.planting import plant

    if len(experiments) != 1:
        raise typer.BadParameter(f"--continue-from: expected one experiment file, got {len(experiments)}")
    seeds = experiments[0].seeds if any(change.startswith("seeds=") for change in overrides) else ()
    experiment, runs = continuing(experiments[0], runs_of([place], root)[0], seeds)
    for run in runs:
        plant(experiment, run, root, console)
    return experiment


def _run(experiment: Experiment, root: Path, console: Console) -> str:
    """What became of its objective: ``met``, ``not met`` or ``undecided``; empty where it has none."""
    from rlcl.launch.seeds import SeedsDiverged, run_experiment

    if experiment.objective and experiment.objective.statement:
        console.print(f"[bold]{experiment.name}[/]: {experiment.objective.statement}", highlight=False)
    try:
        finished = run_experiment(experiment, root, console)
    except SeedsDiverged as error:
        if error.finished:
            _show(experiment, error.finished, console)
        raise
    return _show(experiment, finished, console)


def _show(experiment: Experiment, finished: Sequence[Finished], console: Console) -> str:
    from rlcl.launch.judging import verdict_over
    from rlcl.report.tables import costs_line, metrics_table, probes_table, r_table, summaries, verdict_table
    from rlcl.sinks.run_sinks import run_sinks
    from rlcl.tracking.json_files import read_json

    outcomes, names = [f.outcome for f in finished], finished[0].names
    found = summaries(outcomes)
    console.print(r_table(outcomes, names, finished[0].trained), metrics_table(found, outcomes[0].meanings))
    if (probes := probes_table(outcomes, names)) is not None:
        console.print(probes)
    verdict = verdict_over(experiment, [f.result for f in finished])
    if verdict is not None:
        console.print(verdict_table(verdict))
    again = sum(f.repeated for f in finished)
    if again:
        console.print(f"{again} of {len(finished)} runs had been finished before; they were not repeated.")
    folder = finished[0].path.parent
    drawn = _draw_r(experiment, finished, folder)
    spent = [read_json(f.path / "summary.json") for f in finished]
    console.print(f"cost:          {costs_line(outcomes, spent)}", highlight=False, soft_wrap=True)
    if drawn:
        console.print(f"picture of R:  {folder / 'R.png'}", highlight=False, soft_wrap=True)
    for place in run_sinks(experiment.sinks).look(folder).splitlines():
        console.print(f"curves:        {place}", highlight=False, soft_wrap=True)
    console.print(f"page:          rlcl report {folder}", highlight=False, soft_wrap=True)
    return "" if verdict is None else verdict.said


def _draw_r(experiment: Experiment, finished: Sequence[Finished], folder: Path) -> bool:
    """Draws R as R.png; False, with a warning, where that fails: the runs are finished and recorded."""
    from rlcl.evaluation.results import measure_named
    from rlcl.report.figures import r_figure
    from rlcl.tracking.folder import disk_errors

    outcomes, names = [f.outcome for f in finished], finished[0].names
    measure = outcomes[0].measures[0]
    seeds = f"mean of {len(outcomes)} seeds" if len(outcomes) > 1 else "1 seed"
    title = f"{experiment.name}: {measure_named(measure).called}, {seeds}"
    try:
        with disk_errors(folder):
            figure = r_figure(sum(o.R for o in outcomes) / len(outcomes), names, measure, title, finished[0].trained)
            figure.savefig(folder / "R.png", dpi=120)
    except Exception as error:
        warnings.warn(f"the picture of R is missing ({type(error).__name__}: {error})", stacklevel=2)
        return False
    return True
