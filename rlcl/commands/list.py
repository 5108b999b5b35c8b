"""Verb ``rlcl list``, which lists the available components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

__all__ = ["add_to", "list_suites"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("list")(list_components)


def list_components(
    kind: Annotated[
        str | None, typer.Argument(help="data, stream, encoder, network, learner, method, ..., or suites.")
    ] = None,
    name: Annotated[str | None, typer.Argument(help="Component of this kind whose settings are listed.")] = None,
) -> None:
    """List the available components, one line each, or the settings of one component.

    Examples:
        rlcl list
        rlcl list method
        rlcl list method rehearsal
        rlcl list suites
    """
    from rich.table import Table
    from rich.text import Text

    from rlcl.console import make_console
    from rlcl.errors import Problem, did_you_mean
    from rlcl.registry import KINDS, entries

    console = make_console()
    if kind == "suites":
        list_suites(console)
        return
    if kind is not None and kind not in KINDS:
        raise Problem(f"unknown kind {kind!r}{did_you_mean(kind, [*KINDS, 'suites'])}")
    if kind is not None and name is not None:
        table = _settings_table(kind, name)
        console.print(Text.assemble((f"{kind} {name}", "bold"), ": ", _first_line(kind, name), "\n"))
        console.print(table)
        return
    for listed_kind in [kind] if kind else KINDS:
        table = Table(
            title=listed_kind, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False
        )
        table.add_column("name", no_wrap=True, style="cyan")
        table.add_column("description")
        table.add_column("origin", style="dim", no_wrap=True)
        for entry in entries(listed_kind).values():
            table.add_row(entry.name, _first_line(listed_kind, entry.name), entry.origin)
        console.print(table)
        console.print()


def list_suites(console: Console) -> None:
    """List the shipped suites: cells, estimated hours, the extra that they need, and their purpose."""
    from rich.table import Table

    from rlcl.study.suite import suites_folder, summarize_suite

    table = Table(box=None, pad_edge=False)
    for column in ("suite", "cells", "hours", "extra", "purpose"):
        table.add_column(column, justify="right" if column in ("cells", "hours") else "left")
    for path in sorted(suites_folder().glob("*.yaml")):
        suite = summarize_suite(path)
        hours = "" if suite.hours is None else f"{suite.hours:,.3g}" if suite.hours < 1000 else f"{suite.hours:,.0f}"
        table.add_row(path.stem, f"{suite.cells:,}", hours, suite.extra or "", suite.statement)
    console.print(table)
    console.print("Hours: estimate of the budget full on two cores. Extra: install it with pip install 'rlcl[EXTRA]'.")
    console.print("Run a suite with rlcl bench SUITE, and try it with rlcl bench SUITE --budget smoke.")


def _settings_table(kind: str, name: str) -> Table:
    """Return a table of a component's settings: key, default and description."""
    import inspect

    from attrs import NOTHING
    from rich.table import Table

    from rlcl.config import descriptions, settings, unstructure
    from rlcl.errors import Problem
    from rlcl.registry import find

    component: Any = find(kind, name)
    if not inspect.isclass(component):
        raise Problem(f"{kind} {name} has no settings: {_first_line(kind, name)}")
    cls: Any = component
    table = Table(box=None, pad_edge=False)
    for column in ("key", "default", "description"):
        table.add_column(column, style="cyan" if column == "key" else "")
    meanings = descriptions(cls)
    for setting in settings(cls):
        default = NOTHING if setting.default is None else setting.default()
        text = "required" if setting.default is None else "" if default is NOTHING else str(unstructure(default))
        table.add_row(setting.name, text, meanings.get(setting.name, ""))
    return table


def _first_line(kind: str, name: str) -> str | Text:
    from rich.text import Text

    from rlcl.errors import Problem
    from rlcl.registry import find

    try:
        component: Any = find(kind, name)
        if kind in ("measure", "metric"):
            from rlcl.evaluation.results import measure_named, metric_named

            component = (measure_named if kind == "measure" else metric_named)(name).function
    except Problem as error:
        return Text(str(error), "red")
    text = component.__doc__ or ""
    return text.strip().split("\n\n")[0].replace("\n", " ").split(". ")[0].replace("``", "")
