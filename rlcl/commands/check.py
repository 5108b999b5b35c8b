"""Verb ``rlcl check``, which validates an experiment and estimates its cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rlcl.launch.estimate import Estimate
    from rlcl.launch.feasibility import Forecast
    from rlcl.types import Stream

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("check")(check)


def check(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="FILE... [KEY=VALUE...]", help="Experiment files and overrides, see rlcl run."),
    ],
    draw: Annotated[
        bool,
        typer.Option(
            "--draw",
            help="Write a figure with the number of training samples per class and experience to NAME-stream.png, "
            "where NAME is the name of the experiment.",
        ),
    ] = False,
) -> None:
    """Check config, data, environments and objective, and estimate time and memory.

    The command builds all components of a run, steps the environments a few times, and trains for about a
    second to measure the speed. It writes no file except the figure of --draw. It exits with an error if the
    success conditions in the objective cannot be met with this config, or if the results would not show
    whether they are met (for example because of too few seeds or test samples).
    """
    from rich.text import Text

    from rlcl.commands.run import split_arguments
    from rlcl.console import make_console
    from rlcl.experiment import load_experiment

    console = make_console()
    files, overrides = split_arguments(arguments)
    for file in files:
        experiment = load_experiment(file, overrides)
        console.print(Text.assemble((experiment.name, "bold"), f"  {experiment.hash}"))
        from rlcl.launch.baselines import check_baselines
        from rlcl.launch.build import make_stream, make_trainer
        from rlcl.launch.estimate import estimate
        from rlcl.launch.feasibility import forecasts
        from rlcl.launch.initial_state import load_initial_state
        from rlcl.launch.input_scale import input_scale_remark
        from rlcl.launch.memory_errors import memory_errors
        from rlcl.launch.seed_run import total_steps
        from rlcl.launch.setting_warnings import warn_about_settings
        from rlcl.sinks.run_sinks import run_sinks

        run_sinks(experiment.sinks)
        stream = make_stream(experiment, experiment.seeds[0])
        check_baselines(experiment, experiment.seeds[0], len(stream.evaluated))
        _show_stream(stream, console)
        if draw:
            _draw(stream, Path(f"{experiment.name}-stream.png"), console)
        seed = experiment.seeds[0]
        trainer = make_trainer(experiment, seed, stream, load_initial_state(experiment, seed))
        warn_about_settings(trainer, total_steps(trainer))
        with memory_errors(experiment):
            cost = estimate(trainer)
        replay = f", including {cost.replay:,} bytes of the replay buffer" if cost.replay else ""
        steps = "" if cost.steps is None else f", {cost.steps:,} steps in total"
        console.print(
            f"learner   {cost.learner}\n"
            f"budget    {_budget(trainer.stream)} per experience{steps}\n"
            f"time      {_time(cost, len(experiment.seeds))}\n"
            f"memory    about {cost.memory / 2**20:,.0f} MiB at the peak{replay}",
            soft_wrap=True,
        )
        if experiment.objective is not None and experiment.objective.has_conditions:
            _show_objective(forecasts(experiment, trainer, cost), console)
        if remark := input_scale_remark(experiment, trainer):
            console.print(f"inputs    {remark}", style="yellow", soft_wrap=True)
        console.print("ready to run", style="green")


def _show_stream(stream: Stream, console: Console) -> None:
    from rich.table import Table

    visibility = stream.visibility
    title = f"task ids {visibility.task_ids}, boundaries {visibility.boundaries}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("", "experience", "train", "validation", "test"):
        table.add_column(column, justify="left" if column == "experience" else "right")
    for e in stream:
        if e.train.kind == "environment":
            table.add_row(str(e.index), e.name, f"{e.train.num_envs} envs", "", "")
            continue
        held_out = "" if e.validation is None else f"{len(e.validation):,}"  # type: ignore[arg-type]
        table.add_row(str(e.index), e.name, f"{len(e.train):,}", held_out, f"{len(e.test):,}")  # type: ignore[arg-type]
    console.print(table)


def _show_objective(conditions: Sequence[Forecast], console: Console) -> None:
    """Print the forecast of each condition and constraint.

    Raises:
        ConfigError: some of them cannot be met or decided.
    """
    from rich.table import Table
    from rich.text import Text

    from rlcl.errors import ConfigError

    colours = {"good": "green", "remark": "yellow", "fault": "red"}
    table = Table(title="objective", title_justify="left", box=None, pad_edge=False, show_header=False)
    for forecast in conditions:
        message = forecast.message.split(";")[0]  # the error contains the remedies
        table.add_row(forecast.condition, Text(message, colours[forecast.level]))
    console.print(table)
    faults = [f"{f.where}: {f.condition}: {f.message}" for f in conditions if f.level == "fault"]
    if faults:
        raise ConfigError(faults)


def _draw(stream: Stream, path: Path, console: Console) -> None:
    from rlcl.errors import RlclError
    from rlcl.report.figures import stream_figure

    try:
        stream_figure(stream, path.stem).savefig(path, dpi=120)
    except OSError as error:
        raise RlclError(f"cannot write {path}: {error.strerror}") from error
    console.print(f"figure    {path}")


def _budget(stream: Stream) -> str:
    """Return the budget of an experience; the smallest and the largest if they differ."""
    budgets = sorted({experience.budget for experience in stream}, key=lambda budget: (budget.unit, budget.amount))
    return str(budgets[0]) if len(budgets) == 1 else f"{budgets[0].amount:,} to {budgets[-1]}"


def _time(cost: Estimate, seeds: int) -> str:
    evaluation = f"one evaluation {cost.evaluation_seconds:.2f} s"
    if cost.seconds is None:
        return f"unknown: the learner has no method steps(experience); {evaluation}"
    total = f", {_duration(cost.seconds * seeds)} for {seeds} seeds" if seeds > 1 else ""
    return f"about {_duration(cost.seconds)} per seed{total} ({cost.rate:,.0f} steps/s, {evaluation})"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
