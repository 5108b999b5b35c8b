"""Verb ``rlcl monitor``, which tests new log entries of a deployment for drift."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rlcl.deploy.deployment import Deployment
    from rlcl.deploy.monitoring.log_monitor import LogMonitor

__all__ = ["add_to"]

DRIFT = 3  # exit status
KINDS = ("inputs", "encoded", "predictions")


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("monitor")(monitor)


def monitor(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the deployed bundle.")],
    on_alarm: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Command to run at each alarm, without a shell; RLCL_ALARM_... variables describe the alarm.",
        ),
    ] = None,
    watch: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="SECONDS", help="Repeat the check at this interval until it is stopped."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write an HTML page of the whole history.")
    ] = None,
    window: Annotated[int, typer.Option(min=50, help="Requests per window.")] = 500,
    alpha: Annotated[
        float, typer.Option(min=1e-9, max=0.5, help="Probability of a false alarm over the lifetime of the deployment.")
    ] = 0.01,
    live: Annotated[
        Path | None, typer.Option(help="Folder of the log, the --live of rlcl serve; BUNDLE.live by default.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
) -> None:
    """Test a deployed model's requests, answers and losses for drift from its held-out data.

    Examples:
        rlcl monitor bundles/digits
        rlcl monitor bundles/digits --on-alarm 'notify-send drift' --watch 60
        rlcl monitor bundles/digits --report drift.html

    Read the log entries since the last call. The exit status is 0 without drift and 3 with drift.
    """
    from contextlib import closing

    from rlcl.console import make_console
    from rlcl.deploy.deployment import Deployment
    from rlcl.deploy.monitoring.alarm_command import parse_command, run_command
    from rlcl.deploy.monitoring.log_monitor import LogMonitor
    from rlcl.deploy.monitoring.monitor import MonitorSettings

    words, console, deployment = (
        parse_command(on_alarm) if on_alarm is not None else [],
        make_console(quiet),
        Deployment(bundle) if live is None else Deployment(bundle, live),
    )

    def on_alarm_line(line: dict[str, Any]) -> None:
        if words and (failure := run_command(words, line)):
            typer.echo(f"rlcl: warning: {failure}", err=True)

    with closing(LogMonitor(deployment, MonitorSettings(window=window, alpha=alpha), on_alarm_line)) as log_monitor:
        drift = _check_log(log_monitor, deployment, report, console)
        while watch is not None:
            time.sleep(watch)
            drift = _check_log(log_monitor, deployment, report, console, again=True)
    if drift:
        raise typer.Exit(DRIFT)


def _check_log(
    log_monitor: LogMonitor, deployment: Deployment, report: Path | None, console: Console, *, again: bool = False
) -> bool:
    """Read the new log entries, print the results, and return True if they contain drift."""
    if not deployment.log.is_file():
        if not again:
            console.print(f"nothing was logged yet in {deployment.log}", soft_wrap=True)
        return False
    lines = log_monitor.read_new()
    if lines or not again:
        _print(lines, console)
    if report is not None and (lines or not again):
        _write(deployment, report, console)
    return any(_has_drift(line) for line in lines)


def _has_drift(line: dict[str, Any]) -> bool:
    return bool(line.get("drift")) or any(line.get(kind, {}).get("count") for kind in KINDS)


def _print(lines: list[dict[str, Any]], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    if any(line["line"] == "log" for line in lines):
        console.print("the log was replaced since the last call: its requests are numbered from 1 again")
    windows = [line for line in lines if line["line"] == "window"]
    feedback = [line for line in lines if line["line"] == "feedback" and line["answers"]]
    if not windows and not feedback:
        console.print("nothing new: no window is complete yet, and there is not enough feedback")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("source", "compared", "drifted", "largest change", "statistic", "p", "threshold"):
        right = column in ("compared", "drifted", "statistic", "p", "threshold")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for kind in KINDS:
        results = [line[kind] for line in windows if kind in line]
        if results:
            largest = min(results, key=lambda result: result["p"] / result["threshold"])
            drifted = sum(result["count"] > 0 for result in results)
            cells = (f"{largest['statistic']:.3f}", f"{largest['p']:.1e}", f"{largest['threshold']:.1e}")
            count = f"{len(results)} windows"
            table.add_row(kind, count, str(drifted), Text(largest["what"]), *cells, style=_style(drifted))
    if feedback:
        answers, drifted = sum(line["answers"] for line in feedback), sum(line["drift"] for line in feedback)
        loss = sum(line["loss"] * line["answers"] for line in feedback) / answers
        held_out = feedback[-1]["held_out"]
        losses = f"loss {loss:.3g}" + (f", held out {held_out:.3g}" if held_out is not None else "")
        table.add_row("performance", f"{answers} answers", str(drifted), losses, "", "", "", style=_style(drifted))
    console.print(table)
    if thinned := next((line for line in windows if "every" in line), None):
        message = (
            f"only every {thinned['every']}th request without an episode id is compared, because requests of one "
            "episode are correlated; send episode ids to /act to detect changes sooner"
        )
        console.print(message, soft_wrap=True)
    for kind in KINDS:
        undecided = [line[kind]["undecided"] for line in windows if line.get(kind, {}).get("undecided")]
        if undecided:
            message = (
                f"undecided: up to {max(undecided)} of {kind} in {len(undecided)} of {len(windows)} windows, whose "
                "requests are correlated for too long; increase the window with --window"
            )
            console.print(message, soft_wrap=True)
    for line in lines:
        if line["line"] == "alarm":
            console.print(Text(_alarm_text(line), style="bold red"), soft_wrap=True)


def _style(drifted: int) -> str:
    return "red" if drifted else ""


def _alarm_text(line: dict[str, Any]) -> str:
    first, last = line["requests"]
    if line["kind"] == "performance":
        change = f"loss from {line['before']:.3g} to {line['after']:.3g}"
    else:
        change = f"{line['what']} ({line['statistic']:+.3f}), and {line['count'] - 1} more"
    return f"alarm: {line['kind']}, requests {first} to {last}: {change}"


def _write(deployment: Deployment, report: Path, console: Console) -> None:
    from rlcl.deploy.monitoring.page import make_page
    from rlcl.tracking.folder import disk_errors, write_atomically

    page = make_page(deployment)
    with disk_errors(report):
        report.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(report, page)
    console.print(f"{report} ({len(page.encode()) / 1e6:.2f} MB)", soft_wrap=True)
