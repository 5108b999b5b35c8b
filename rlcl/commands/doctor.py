"""Verb ``rlcl doctor``, which examines environments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlcl.strict_json import json_text

if TYPE_CHECKING:
    from rich.console import Console

    from rlcl.data.environments.environment import Environment
    from rlcl.doctor.examine import Examination

__all__ = ["add_to"]

ILL = 1  # exit status
STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("doctor")(doctor)


def doctor(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="ENV [KEY=VALUE...]",
            help="An environment (CartPole-v1, module:Id, file.py:Class) with its kwargs, or an experiment file with "
            "overrides, whose environments are examined.",
        ),
    ],
    wrapper: Annotated[
        list[str] | None, typer.Option(help="Wrapper around the environment, the innermost first; may be repeated.")
    ] = None,
    steps: Annotated[int, typer.Option(min=10, help="Env steps with random allowed actions.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the environment and of the actions.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 for warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Examine environments: find habits with which learners fail or learn badly, each with its remedy.

    The checks: whether a seed determines the environment; observations, actions and masks against their spaces;
    scale of observations and rewards; length and end of episodes; resets by the environment itself; arrays that
    are written again later; kind and order of wrappers; whether the state can be saved, restored and copied;
    channels of images; worker processes; Gymnasium's own checker; speed of step, reset and rendering.

    Examples:
        rlcl doctor CartPole-v1
        rlcl doctor my_env.py:Robot size=5 --json
        rlcl doctor minigrid:MiniGrid-DoorKey-5x5-v0 --wrapper minigrid.wrappers:ImgObsWrapper
        rlcl doctor experiments/my-continual-run.yaml

    The exit status is 1 if a check finds an error: a run would fail, or its results would be wrong.
    """
    from rlcl.console import make_console
    from rlcl.doctor.examine import examine

    examinations: list[Examination] = []
    console = make_console(as_json)
    for source in _sources(arguments, wrapper or []):
        examination = examine(source, steps, seed)
        if examinations:
            console.print()
        examinations.append(examination)
        _show(examination, console)
    if as_json:
        typer.echo(json_text([examination.to_json() for examination in examinations], indent=1))
    bad = ("warning", "error") if strict else ("error",)
    if any(examination.worst in bad for examination in examinations):
        raise typer.Exit(ILL)


def _sources(arguments: Sequence[str], wrappers: Sequence[str]) -> Iterator[Environment]:
    """Yield the environments that the arguments name."""
    from rlcl.config.files import Document, override
    from rlcl.data.environments.environment import Environment, environment_class
    from rlcl.data.environments.wrappers import EnvironmentWrapper
    from rlcl.errors import Problem

    names = [argument for argument in arguments if "=" not in argument]
    settings = [argument for argument in arguments if "=" in argument]
    if len(names) != 1:
        raise Problem(f"expected one environment or experiment file, got {len(names)}: {', '.join(names) or 'none'}")
    (name,) = names
    if Path(name).suffix in (".yaml", ".yml"):
        if wrappers:
            raise Problem("--wrapper: an experiment file names its own wrappers (stream.wrappers); remove the option")
        yield from _of_experiment(name, settings)
        return
    kwargs = override(Document("command line", {}), settings).data
    yield Environment(
        environment_class(name),
        kwargs=kwargs,
        wrappers=tuple(EnvironmentWrapper(wrapper=each) for each in wrappers),
        name=name,
    )


def _of_experiment(file: str, overrides: Sequence[str]) -> Iterator[Environment]:
    """Yield the different environments of an experiment's stream, in the order of its experiences."""
    from rlcl.data.environments.environment import Environment
    from rlcl.errors import Problem
    from rlcl.experiment import load_experiment
    from rlcl.launch.build import make_stream

    experiment = load_experiment(file, list(overrides))
    seen = set()
    for experience in make_stream(experiment, experiment.seeds[0]):
        for part in experience.parts:
            source = part.train
            if not isinstance(source, Environment):
                raise Problem(f"{file}: its stream consists of data and not of environments; use rlcl profile")
            if source.recipe not in seen:
                seen.add(source.recipe)
                yield source


def _show(examination: Examination, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text.assemble((examination.name, "bold"), f"  {examination.steps:,} env steps"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in examination.findings:
        style = STYLES[finding.severity]
        text = Text(finding.text)
        if finding.remedy:
            text.append(f"\n{finding.remedy}", "dim")
        table.add_row(Text(finding.severity, style), finding.check, text)
    console.print(table)
    counts = examination.to_json()["counts"]
    parts = [f"{counts[key]} {key}{'s' if counts[key] != 1 else ''}" for key in ("error", "warning", "note")]
    console.print(", ".join(parts))
