"""Verb ``rlcl reproduce``, which runs published protocols and compares the results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.table import Table

    from rlcl.reproduction.protocols import ReproductionProtocol
    from rlcl.reproduction.types import ResultRow

__all__ = ["add_to"]

STYLES = {"reproduced": "green", "differs": "red", "not judged": "yellow"}
TEXT_COLUMNS = ("protocol", "side", "verdict")  # aligned to the left


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("reproduce")(reproduce)


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="Protocols, patterns, or paths of protocol files; all by default."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list the protocols and their targets.")] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Run this many consecutive seeds, starting at the first seed of the protocol. By default, the seeds "
            "listed in the protocol are run.",
        ),
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    results: Annotated[
        Path, typer.Option(help="JSON file for the results; tables and figures are written to the same folder.")
    ] = Path("benchmarks/results/published.json"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
) -> None:
    """Run published protocols and check whether their results are reproduced.

    Examples:
        rlcl reproduce --list
        rlcl reproduce buzzega2020-split-rehearsal-500
        rlcl reproduce 'vandeven2022-task-*' --seeds 10
        rlcl reproduce 'beside-sb3-*'
        rlcl reproduce mine.yaml

    A protocol is an experiment file with a target. A target of type mean contains a published mean, its
    standard deviation over runs or its standard error (if published), and the source. The result counts as
    reproduced if our mean and the published mean differ by at most two standard errors of the difference or
    at most 0.015, whichever is larger. Both limits can be set in the target (standard_errors, tolerance).
    With one seed, the standard error of our mean is unknown and counts as 0.

    For a target of type peer, the protocol also runs a learner of another library, for example of
    Stable-Baselines3. The result counts as reproduced if the upper end of the 95 % bootstrap interval of the
    difference in the interquartile mean (ours minus the other library's) is at least 0, and our mean is at
    least the minimum that the target specifies (key 'floor').

    For a target of type order, the protocol runs several variants of the experiment. The result counts as
    reproduced if their means have the published order.

    The runs are stored as usual: finished runs are not repeated, interrupted runs are resumed.
    The exit status is 1 if a result is not reproduced (verdict "differs").
    """
    from rich.text import Text

    from rlcl.console import make_console
    from rlcl.reproduction.protocols import load_protocols
    from rlcl.reproduction.reproduce import read_results, reproduce, write_results

    console = make_console(quiet)
    protocols = load_protocols(names or ())
    if seeds is not None:
        protocols = [protocol.with_seeds(seeds) for protocol in protocols]
    if listed:
        console.print(_targets(protocols))
        return
    read_results(results)  # a file of another format is rejected before the runs, not after them
    rows: dict[str, ResultRow] = {}
    for number, protocol in enumerate(protocols, 1):
        count = len(protocol.seeds)
        console.print(
            Text.assemble(
                (protocol.name, "bold"),
                f" ({number} of {len(protocols)}), {count} seed{'s' * (count > 1)}; ",
                f"published: {protocol.target.metric} {protocol.target.claim}",
            )
        )
        rows[protocol.name] = reproduce(protocol, root, console)
        write_results(results, {protocol.name: rows[protocol.name]})
    for table in _verdicts(rows):
        console.print(table)
    console.print(f"written: {results} and {results.with_suffix('.md')}", soft_wrap=True)
    if any(row["verdict"] == "differs" for row in rows.values()):
        raise typer.Exit(1)


def _targets(protocols: Sequence[ReproductionProtocol]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("protocol", style="cyan", no_wrap=True)
    for column in ("metric", "published", "seeds", "source"):
        table.add_column(column, justify="right" if column in ("published", "seeds") else "left")
    for protocol in protocols:
        target = protocol.target
        table.add_row(protocol.name, target.metric, target.claim, str(len(protocol.seeds)), target.source)
    return table


def _verdicts(rows: Mapping[str, ResultRow]) -> Iterator[Table]:
    """Yield a table for each kind of target."""
    from rich.table import Table
    from rich.text import Text

    from rlcl.reproduction.reproduce import kind_of_row

    for kind in dict.fromkeys(map(kind_of_row, rows.values())):
        table = Table(box=None, pad_edge=False)
        for column in kind.brief:
            is_text = column in TEXT_COLUMNS
            table.add_column(column, no_wrap=is_text, justify="left" if is_text else "right")
        for name, row in rows.items():
            for line in kind.lines(name, row) if kind_of_row(row) is kind else ():
                styles = {"verdict": STYLES.get(line["verdict"], "")}
                table.add_row(*(Text(line[column], styles.get(column, "")) for column in kind.brief))
        yield table
