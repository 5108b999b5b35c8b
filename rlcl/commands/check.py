"""``rlcl check``: says whether an experiment will run, and what it will cost."""

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
    """Adds the verb to the command line."""
    app.command("check")(check)


def check(
    arguments: Annotated[list[str], typer.Argument(metavar="FILE... [KEY=VALUE...]", help="As for rlcl run.")],
    draw: Annotated[bool, typer.Option("--draw", help="Draw the stream as NAME-stream.png: what comes when.")] = False,
) -> None:
    """Check config, data, environment and objective, and estimate time and memory; run nothing long.

    Builds everything that a run is made of, tries the environments for a few steps, trains for about
    a second to measure the rate, and writes nothing but the picture that --draw asks for. An objective
    that these runs cannot reach, or that they cannot decide, is an error.
    """
    from rlcl.commands.console import console as make_console
    from rlcl.commands.run import split_arguments
    from rlcl.experiment import load_experiment

    console = make_console()
    files, overrides = split_arguments(arguments)
    for file in files:
        experiment = load_experiment(file, overrides)
        console.print(f"[bold]{experiment.name}[/]  {experiment.hash}", highlight=False)
        from rlcl.launch.build import make_stream, make_trainer
        from rlcl.launch.estimate import estimate
        from rlcl.launch.feasibility import forecasts
        from rlcl.launch.initial import start_of
        from rlcl.launch.inputs import remark_on_inputs
        from rlcl.launch.remarks import remark
        from rlcl.launch.running import total_steps
        from rlcl.launch.sizes import memory_told
        from rlcl.sinks.run_sinks import run_sinks

        run_sinks(experiment.sinks)
        stream = make_stream(experiment, experiment.seeds[0])
        _show_stream(stream, console)
        if draw:
            _draw(stream, Path(f"{experiment.name}-stream.png"), console)
        seed = experiment.seeds[0]
        trainer = make_trainer(experiment, seed, stream, start_of(experiment, seed))
        remark(trainer, total_steps(trainer))
        with memory_told(experiment):
            found = estimate(trainer)
        replay = f", of which the replay buffer {found.replay:,} bytes" if found.replay else ""
        steps = "" if found.steps is None else f", {found.steps:,} steps in all"
        console.print(
            f"learner   {found.learner}\n"
            f"budget    {experiment.budget} an experience{steps}\n"
            f"time      {_time(found, len(experiment.seeds))}\n"
            f"memory    about {found.memory / 2**20:,.0f} MiB at the peak{replay}",
            highlight=False,
            soft_wrap=True,
        )
        if experiment.objective is not None and experiment.objective.judged:
            _show_objective(forecasts(experiment, trainer, found), console)
        if told := remark_on_inputs(experiment, trainer):
            console.print(f"inputs    {told}", style="yellow", highlight=False, soft_wrap=True, markup=False)
        console.print("[green]ready to run[/]")


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
    console.print(table, highlight=False)


def _show_objective(foreseen: Sequence[Forecast], console: Console) -> None:
    """What is foreseen of each condition and constraint.

    Raises:
        ConfigError: some of them cannot be met or decided.
    """
    from rich.markup import escape
    from rich.table import Table

    from rlcl.errors import ConfigError

    colours = {"good": "green", "remark": "yellow", "fault": "red"}
    table = Table(title="objective", title_justify="left", box=None, pad_edge=False, show_header=False)
    for each in foreseen:
        told = each.told.split(";")[0]  # remedies stand in the error
        table.add_row(escape(each.condition), f"[{colours[each.level]}]{escape(told)}[/]")
    console.print(table, highlight=False)
    faults = [f"{f.where}: {f.condition}: {f.told}" for f in foreseen if f.level == "fault"]
    if faults:
        raise ConfigError(faults)


def _draw(stream: Stream, path: Path, console: Console) -> None:
    from rlcl.errors import RlclError
    from rlcl.report.figures import stream_figure

    try:
        stream_figure(stream, path.stem).savefig(path, dpi=120)
    except OSError as error:
        raise RlclError(f"cannot write {path}: {error.strerror}") from error
    console.print(f"picture   {path}", highlight=False)


def _time(found: Estimate, seeds: int) -> str:
    evaluation = f"one evaluation {found.evaluation_seconds:.2f} s"
    if found.seconds is None:
        return f"unknown: the learner has no method steps(experience); {evaluation}"
    several = f", {_duration(found.seconds * seeds)} for {seeds} seeds" if seeds > 1 else ""
    return f"about {_duration(found.seconds)} a seed{several} ({found.rate:,.0f} steps/s, {evaluation})"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
