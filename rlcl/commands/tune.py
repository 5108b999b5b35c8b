"""Verb ``rlcl tune``, which searches hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rlcl.study.tuning.definition import Tuning
    from rlcl.study.tuning.study import Journal

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("tune")(tune)


def tune(
    arguments: Annotated[
        list[str], typer.Argument(metavar="FILE [KEY=VALUE...]", help="A tuning file, then overrides.")
    ],
    launcher: Annotated[
        str | None, typer.Option(metavar="NAME", help="Launcher that runs the trials; see rlcl list launcher.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum number of jobs at the same time. The default is that of the launcher."),
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=1, metavar="SECONDS", help="Time limit of a job.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the file, and show the search.")] = False,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
) -> None:
    """Search hyper-parameters, then run the winner with fresh seeds.

    A tuning file contains an experiment and a search space, whose keys are those of the experiment:

        name: tune-digits
        base: {extends: quickstart}
        search:
          learner.optimizer.lr: {log: [1e-4, 1e-1]}
          learner.batch_size: [16, 32, 64]
        objective: accuracy.average
        trials: 30

        rlcl tune tune-digits.yaml trials=50

    Trials are evaluated on validation data with tuning seeds. The winner is run with other seeds, and evaluated on test
    data. Repeat the command to resume an interrupted search, or with more trials to continue it. Several calls can run
    the same search at the same time.
    """
    from contextlib import closing

    from rich.text import Text

    from rlcl.commands.run import split_arguments
    from rlcl.config import build
    from rlcl.console import make_console
    from rlcl.study.progress_display import progress_display
    from rlcl.study.tuning.definition import load_tuning
    from rlcl.study.tuning.search_display import SearchLines, parameters_text, search_table
    from rlcl.study.tuning.tuner import check_tuning, run_trials, run_winner

    console = make_console(quiet)
    files, overrides = split_arguments(arguments)
    if len(files) != 1:
        raise typer.BadParameter(f"expected one tuning file, got {', '.join(files) or 'none'}")
    if launcher is not None:
        overrides.append(f"launcher.type={launcher}")
    tuning = load_tuning(files[0], overrides)
    measure = check_tuning(tuning)
    console.print(search_table(tuning))
    if dry_run:
        return
    with closing(build(tuning.definition.launcher, ("launcher",))) as started:
        journal = run_trials(tuning, started, SearchLines(console, tuning), root, measure, workers, timeout)
        best = journal.best()
        console.print(_summary(tuning, journal))
        console.print(Text(f"winner: trial {best.number}  {parameters_text(best.params)}"), soft_wrap=True)
        with progress_display(console) as board:
            grid = run_winner(tuning, journal, started, board, root, workers)
    _print_winner(grid.folder, console)


def _summary(tuning: Tuning, journal: Journal) -> str:
    """Return the number of trials by state, and the distribution of their values."""
    from statistics import median

    trials = journal.trials()
    counts = {name: sum(trial.state.name == state for trial in trials) for name, state in STATES.items()}
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    for index, target in enumerate(tuning.targets):
        values = sorted(trial.values[index] for trial in trials if trial.state.name == "COMPLETE")
        if values:
            parts.append(f"{target.name} from {values[0]:.4g} to {values[-1]:.4g}, median {median(values):.4g}")
    return f"{len(trials)} trials: {'; '.join(parts)}"


STATES: Mapping[str, str] = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "running": "RUNNING"}


def _print_winner(folder: Path, console: Console) -> None:
    """Print the results of the winner's runs, with intervals over their seeds."""
    import json

    from rlcl.report.tables import metrics_table, summarize_metrics
    from rlcl.tracking.runs import find_runs

    record: dict[str, Any] = json.loads((folder / "tuning.json").read_text())
    runs = [run for run in find_runs(folder / record["winner"]["hash"]) if run.finished]
    outcomes = _outcomes(runs)
    console.print(metrics_table(summarize_metrics(outcomes), outcomes[0].meanings))
    console.print(f"{len(runs)} runs of the winner with fresh seeds on test data in {folder}", soft_wrap=True)


def _outcomes(runs: Sequence[Any]) -> list[Any]:
    from rlcl.evaluation.outcome import Outcome
    from rlcl.tracking.folder import read_results

    return [Outcome(read_results(r.path), tuple(r.summary["measures"]), tuple(r.summary["names"])) for r in runs]
