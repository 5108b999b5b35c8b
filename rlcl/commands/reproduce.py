"""``rlcl reproduce``: runs published protocols and judges the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.table import Table

    from rlcl.reproduction.published import Protocol
    from rlcl.reproduction.sides import Row

__all__ = ["add_to"]

STYLES = {"reproduced": "green", "differs": "red", "not judged": "yellow"}
LEFT = ("protocol", "side", "verdict")  # columns of words


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("reproduce")(reproduce)


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="Protocols, patterns, or files of one's own; all by default."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list the protocols and their targets.")] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many seeds, from the protocol's first one on, instead of its own.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    results: Annotated[
        Path, typer.Option(help="JSON file that the rows are put into; tables and pictures are written beside it.")
    ] = Path("benchmarks/results/published.json"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
) -> None:
    """Run published protocols and say whether their numbers come out.

    rlcl reproduce --list
    rlcl reproduce buzzega2020-split-rehearsal-500
    rlcl reproduce 'vandeven2022-task-*' --seeds 10
    rlcl reproduce 'beside-sb3-*'
    rlcl reproduce mine.yaml

    A protocol is an experiment file with a target. Of a published mean that is the value, its error and
    its source: it is reproduced where the two means differ by no more than two standard errors of the
    difference, or by 0.015 where that is more; both are keys of the target. With one seed our own error
    is unknown and counts as none.

    Beside a peer (type: peer) another library's learner runs as well: it is reproduced where the 95 %
    bootstrap interval of the difference of the interquartile means does not lie below 0, and our mean
    reaches the floor. Of an order (type: order) several sides run: it is reproduced where their means
    stand in it.

    Its runs are ordinary ones: what is finished is not repeated, what was interrupted goes on.
    The exit status is 1 if anything differs.
    """
    from rlcl.commands.console import console as make_console
    from rlcl.reproduction.published import load_protocols
    from rlcl.reproduction.reproduce import read_results, reproduce, write_results

    console = make_console(quiet)
    protocols = load_protocols(names or ())
    if seeds is not None:
        protocols = [protocol.with_seeds(seeds) for protocol in protocols]
    if listed:
        console.print(_targets(protocols), highlight=False)
        return
    read_results(results)  # a file that is none of ours is refused before the work, not after it
    done: dict[str, Row] = {}
    for place, protocol in enumerate(protocols, 1):
        count = len(protocol.seeds)
        console.print(
            f"[bold]{protocol.name}[/] ({place} of {len(protocols)}), {count} seed{'s' * (count > 1)}; "
            f"published: {protocol.target.metric} {protocol.target.claim}",
            highlight=False,
        )
        done[protocol.name] = reproduce(protocol, root, console)
        write_results(results, {protocol.name: done[protocol.name]})
    for table in _verdicts(done):
        console.print(table, highlight=False)
    console.print(f"written: {results} and {results.with_suffix('.md')}", highlight=False, soft_wrap=True)
    if any(row["verdict"] == "differs" for row in done.values()):
        raise typer.Exit(1)


def _targets(protocols: Sequence[Protocol]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("protocol", style="cyan", no_wrap=True)
    for column in ("metric", "published", "seeds", "source"):
        table.add_column(column, justify="right" if column in ("published", "seeds") else "left")
    for each in protocols:
        count = str(len(each.seeds))
        table.add_row(each.name, each.target.metric, each.target.claim, count, each.target.source)
    return table


def _verdicts(rows: Mapping[str, Row]) -> Iterator[Table]:
    """A table for each kind of target."""
    from rich.table import Table

    from rlcl.reproduction.reproduce import kind_of_row

    for kind in dict.fromkeys(map(kind_of_row, rows.values())):
        table = Table(box=None, pad_edge=False)
        for column in kind.brief:
            named = column in LEFT
            table.add_column(column, no_wrap=named, justify="left" if named else "right")
        for name, row in rows.items():
            for line in kind.lines(name, row) if kind_of_row(row) is kind else ():
                verdict = line["verdict"] and f"[{STYLES[line['verdict']]}]{line['verdict']}[/]"
                table.add_row(*({**line, "verdict": verdict}[column] for column in kind.brief))
        yield table
