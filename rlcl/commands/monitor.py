"""``rlcl monitor``: looks at what was logged since last time, and says whether anything has changed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rlcl.deploy.deployment import Deployment
    from rlcl.deploy.monitoring.reading import Reading

__all__ = ["add_to"]

DRIFT = 3  # the exit status
ORDER = ("inputs", "encoded", "predictions")


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("monitor")(monitor)


def monitor(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that was served.")],
    on_alarm: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="Run at an alarm, which RLCL_ALARM_... tell it of; without a shell."),
    ] = None,
    watch: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="Look again and again, this long apart.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page of all that was ever seen.")
    ] = None,
    window: Annotated[int, typer.Option(min=50, help="Requests that are compared together.")] = 500,
    alpha: Annotated[
        float, typer.Option(min=1e-9, max=0.5, help="Probability of a false alarm over the whole life.")
    ] = 0.01,
    live: Annotated[
        Path | None, typer.Option(help="Folder of the log, as rlcl serve was told; BUNDLE.live by default.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
) -> None:
    """Compare what a deployed model is asked and answers with what it was tested on, and its losses with those.

    rlcl monitor bundles/digits
    rlcl monitor bundles/digits --on-alarm 'notify-send drift' --watch 60
    rlcl monitor bundles/digits --report drift.html

    Reads what is new in the log since last time. The exit status is 0 without drift, 3 with it.
    """
    from contextlib import closing

    from rlcl.commands.console import console as make_console
    from rlcl.deploy.deployment import Deployment
    from rlcl.deploy.monitoring.alarm import parsed, run
    from rlcl.deploy.monitoring.monitor import Settings
    from rlcl.deploy.monitoring.reading import Reading

    words, console, deployment = (
        parsed(on_alarm) if on_alarm is not None else [],
        make_console(quiet),
        Deployment(bundle) if live is None else Deployment(bundle, live),
    )

    def alarmed(line: dict[str, Any]) -> None:
        if words and (wrong := run(words, line)):
            typer.echo(f"rlcl: warning: {wrong}", err=True)

    with closing(Reading(deployment, Settings(window=window, alpha=alpha), alarmed)) as reading:
        drift = _look(reading, deployment, report, console)
        while watch is not None:
            time.sleep(watch)
            drift = _look(reading, deployment, report, console, again=True)
    if drift:
        raise typer.Exit(DRIFT)


def _look(
    reading: Reading, deployment: Deployment, report: Path | None, console: Console, *, again: bool = False
) -> bool:
    """Reads what is new, tells of it, and says whether there is drift in it."""
    if not deployment.log.is_file():
        if not again:
            console.print(f"nothing was logged yet in {deployment.log}", highlight=False, soft_wrap=True)
        return False
    lines = reading.new()
    if lines or not again:
        _print(lines, console)
    if report is not None and (lines or not again):
        _write(deployment, report, console)
    return any(_drifted(line) for line in lines)


def _drifted(line: dict[str, Any]) -> bool:
    return bool(line.get("drift")) or any(line.get(kind, {}).get("count") for kind in ORDER)


def _print(lines: list[dict[str, Any]], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    if any(line["line"] == "log" for line in lines):
        console.print("another log than last time: its requests are numbered from 1 again", highlight=False)
    windows = [line for line in lines if line["line"] == "window"]
    feedback = [line for line in lines if line["line"] == "feedback" and line["answers"]]
    if not windows and not feedback:
        console.print("nothing new: no window is full yet, and not enough feedback came", highlight=False)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("what", "looked at", "in drift", "most", "statistic", "p", "needed"):
        right = column in ("looked at", "in drift", "statistic", "p", "needed")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for kind in ORDER:
        seen = [line[kind] for line in windows if kind in line]
        if seen:
            most = min(seen, key=lambda each: each["p"] / each["threshold"])
            drifted = sum(each["count"] > 0 for each in seen)
            cells = (f"{most['statistic']:.3f}", f"{most['p']:.1e}", f"{most['threshold']:.1e}")
            table.add_row(kind, f"{len(seen)} windows", str(drifted), Text(most["what"]), *cells, style=_red(drifted))
    if feedback:
        answers, drifted = sum(line["answers"] for line in feedback), sum(line["drift"] for line in feedback)
        loss = sum(line["loss"] * line["answers"] for line in feedback) / answers
        before = feedback[-1]["held_out"]
        told = f"loss {loss:.3g}" + (f", held out {before:.3g}" if before is not None else "")
        table.add_row("performance", f"{answers} answers", str(drifted), told, "", "", "", style=_red(drifted))
    console.print(table, highlight=False)
    if thinned := next((line for line in windows if "every" in line), None):
        told = (
            f"of requests that name no episode every {thinned['every']}th is compared, since those of one episode "
            "resemble each other; send their episodes to /act to find changes sooner"
        )
        console.print(told, highlight=False, soft_wrap=True)
    for kind in ORDER:
        slow = [line[kind]["undecided"] for line in windows if line.get(kind, {}).get("undecided")]
        if slow:
            told = (
                f"undecided: up to {max(slow)} of {kind} in {len(slow)} of {len(windows)} windows, whose requests "
                "resemble each other for too long; make windows longer with --window"
            )
            console.print(told, highlight=False, soft_wrap=True)
    for line in lines:
        if line["line"] == "alarm":
            console.print(Text(_alarm(line), style="bold red"), soft_wrap=True)


def _red(drifted: int) -> str:
    return "red" if drifted else ""


def _alarm(line: dict[str, Any]) -> str:
    first, last = line["requests"]
    if line["kind"] == "performance":
        told = f"loss from {line['before']:.3g} to {line['after']:.3g}"
    else:
        told = f"{line['what']} ({line['statistic']:+.3f}), and {line['count'] - 1} more"
    return f"alarm: {line['kind']}, requests {first} to {last}: {told}"


def _write(deployment: Deployment, report: Path, console: Console) -> None:
    from rlcl.deploy.monitoring.page import make_page
    from rlcl.tracking.folder import disk_errors, write_atomically

    page = make_page(deployment)
    with disk_errors(report):
        report.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(report, page)
    console.print(f"{report} ({len(page.encode()) / 1e6:.2f} MB)", highlight=False, soft_wrap=True)
