"""``rlcl list``: the components there are."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    app.command("list")(list_components)


def list_components(
    kind: Annotated[str | None, typer.Argument(help="data, stream, encoder, network, learner, method, ...")] = None,
) -> None:
    """List components: one line each, and where each comes from."""
    from rich.table import Table

    from rlcl.commands.console import console as make_console
    from rlcl.errors import Problem, did_you_mean
    from rlcl.registry import KINDS, entries

    if kind is not None and kind not in KINDS:
        raise Problem(f"unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
    console = make_console()
    for each in [kind] if kind else KINDS:
        table = Table(title=each, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False)
        table.add_column("name", no_wrap=True, style="cyan")
        table.add_column("what it is")
        table.add_column("from", style="dim", no_wrap=True)
        for entry in entries(each).values():
            table.add_row(entry.name, _first_line(each, entry.name), entry.origin)
        console.print(table, highlight=False)
        console.print()


def _first_line(kind: str, name: str) -> str:
    from rlcl.errors import Problem
    from rlcl.registry import find

    try:
        component = find(kind, name)
    except Problem as error:
        return f"[red]{error}[/]"
    text = getattr(component, "measure", component).__doc__ or ""
    return text.strip().split("\n\n")[0].replace("\n", " ").split(". ")[0].replace("``", "").replace("[", r"\[")
