"""Verb ``rlcl tune``, which searches hyper-parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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

    import attrs
    from rich.text import Text

    from rlcl.commands.run import show_results, split_arguments
    from rlcl.config import build
    from rlcl.console import make_console
    from rlcl.launch.seeds import run_experiment
    from rlcl.study.progress_display import progress_display
    from rlcl.study.tuning.definition import load_tuning
    from rlcl.study.tuning.search_display import SearchLines, parameters_text, search_table, trials_text
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
        console.print(trials_text(tuning, journal), soft_wrap=True)
        console.print(Text(f"winner: trial {best.number}  {parameters_text(best.params)}"), soft_wrap=True)
        with progress_display(console) as board:
            grid = run_winner(tuning, journal, started, board, root, workers)
    winner = tuning.winner(best.params)
    finished = run_experiment(winner, root, make_console(quiet=True))  # only reads the finished runs
    show_results(winner, [attrs.evolve(run, repeated=False) for run in finished], console)
    count = len(finished)
    runs = f"{count} runs of the winner with fresh seeds" if count > 1 else "1 run of the winner with a fresh seed"
    console.print(f"{runs}{' on test data' * tuning.holds_out} in {grid.folder}", soft_wrap=True)
