"""``rlcl reproduce``: runs published protocols and judges the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from rlcl.launch.published import Protocol
    from rlcl.launch.reproduce import Reproduced

__all__ = ["add_to"]

STYLES = {"reproduced": "green", "differs": "red", "not judged": "yellow"}


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("reproduce")(reproduce)


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="Protocols, patterns, or files of one's own; all by default."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list the protocols and their targets.")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 0 to N-1 instead of the protocol's.")] = None,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    results: Annotated[
        Path, typer.Option(help="JSON file that the rows are put into; a Markdown table is written beside it.")
    ] = Path("benchmarks/results/published.json"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
) -> None:
    """Run published protocols and say whether their numbers come out.

    rlcl reproduce --list
    rlcl reproduce buzzega2020-split-rehearsal-500
    rlcl reproduce 'vandeven2022-task-*' --seeds 10
    rlcl reproduce mine.yaml

    A protocol is an experiment file with a target: the published value, its error and its source.
    It is reproduced where the two means differ by no more than two standard errors of the difference,
    or by 0.015 where that is more; both are keys of the target. With one seed our own error is unknown
    and counts as none.

    Its runs are ordinary ones: what is finished is not repeated, what was interrupted goes on.
    The exit status is 1 if a number differs.
    """
    from rlcl.commands.console import console as make_console
    from rlcl.launch.published import load_protocols
    from rlcl.launch.reproduce import read_results, reproduce, write_results

    console = make_console(quiet)
    protocols = load_protocols(names or ())
    if seeds is not None:
        protocols = [protocol.with_seeds(seeds) for protocol in protocols]
    if listed:
        console.print(_targets(protocols), highlight=False)
        return
    read_results(results)  # a file that is none of ours is refused before the work, not after it
    done: list[Reproduced] = []
    for place, protocol in enumerate(protocols, 1):
        count = len(protocol.experiment.seeds)
        console.print(
            f"[bold]{protocol.name}[/] ({place} of {len(protocols)}), {count} seed{'s' * (count > 1)}; "
            f"published: {protocol.target.metric} {_published(protocol)}",
            highlight=False,
        )
        done.append(reproduce(protocol, root, console))
        write_results(results, done[-1:])
    console.print(_verdicts(done), highlight=False)
    console.print(f"written: {results} and {results.with_suffix('.md')}", highlight=False, soft_wrap=True)
    if any(one.verdict == "differs" for one in done):
        raise typer.Exit(1)


def _published(protocol: Protocol) -> str:
    target = protocol.target
    return f"{target.value:.4f}" + ("" if target.error is None else f" ± {target.error:.4f}")


def _targets(protocols: Sequence[Protocol]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("protocol", style="cyan", no_wrap=True)
    for column in ("metric", "published", "seeds", "source"):
        table.add_column(column, justify="right" if column in ("published", "seeds") else "left")
    for each in protocols:
        count = str(len(each.experiment.seeds))
        table.add_row(each.name, each.target.metric, _published(each), count, each.target.source)
    return table


def _verdicts(done: Sequence[Reproduced]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("protocol", no_wrap=True)
    for column in ("published", "ours", "interval", "seeds", "difference", "allowed"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for one in done:
        found = one.summary
        interval = f"{found.low:.4f} to {found.high:.4f}" if found.seeds > 1 else ""
        verdict = f"[{STYLES[one.verdict]}]{one.verdict}[/]"
        numbers = (f"{found.mean:.4f}", interval, str(found.seeds), f"{one.difference:+.4f}", f"{one.allowed:.4f}")
        table.add_row(one.protocol.name, _published(one.protocol), *numbers, verdict)
    return table
