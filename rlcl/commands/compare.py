"""``rlcl compare``: which learners differ, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlcl.strict_json import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from rlcl.comparison.tables import Report
    from rlcl.comparison.verdicts import Comparison

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("compare")(compare)


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUNS...", help="Folders, names or patterns of runs; experiments; suites.")
    ],
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    metric: Annotated[str | None, typer.Option(help="The average of the first measure by default.")] = None,
    by: Annotated[str | None, typer.Option(help="Keys of the config that make the learner, with commas.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Compare all others with this learner alone.")] = None,
    test: Annotated[str, typer.Option(help="t (Student, Welch), or ranks (Wilcoxon, Mann-Whitney).")] = "t",
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Do not pair seeds.")] = False,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Of intervals and tests.")] = 0.95,
    aggregate: Annotated[str, typer.Option(help="Over streams: iqm, mean, median or optimality_gap.")] = "iqm",
    scale: Annotated[
        list[str] | None,
        typer.Option(metavar="STREAM=LOW:HIGH", help="What counts as 0 and 1 on a stream; * matches. May be repeated."),
    ] = None,
    replications: Annotated[int, typer.Option(min=100, max=1_000_000, help="Of a bootstrap.")] = 50_000,
    export: Annotated[Path | None, typer.Option(help="Write a table: FILE.csv, .parquet, .tex or .md.")] = None,
    table: Annotated[
        str, typer.Option(help="To export: learners, aggregates, comparisons, runs, profiles or curves.")
    ] = "learners",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: all tables but the curves.")] = False,
) -> None:
    """Compare learners: intervals, tests over seeds, and a verdict in words.

    rlcl compare runs/digits-ewc runs/digits-si
    rlcl compare digits-* --metric forgetting.chaudhry --baseline digits-naive
    rlcl compare runs/my-suite --export table.tex

    Runs of one learner (all of its settings) are a group, their seeds are its sample. Seeds are paired where they
    match. On one stream intervals are Student's; over several the stratified bootstrap's. Tests are corrected
    for many comparisons (Holm). What cannot be compared fairly (other data, budgets, evaluations) is refused.
    """
    from rlcl.commands.console import console as make_console
    from rlcl.comparison.export import check_export
    from rlcl.comparison.export import export as write
    from rlcl.comparison.pairs import Settings
    from rlcl.comparison.places import runs_of
    from rlcl.comparison.scales import read_scales
    from rlcl.comparison.scores import gather
    from rlcl.comparison.tables import TABLES, Report
    from rlcl.statistics.aggregates import AGGREGATES

    _one_of("--test", test, ("t", "ranks"))
    _one_of("--aggregate", aggregate, AGGREGATES)
    _one_of("--table", table, TABLES)
    if export is not None:
        check_export(export)
    found, missing = runs_of(runs, root)
    scores = gather(found, metric, [key.strip() for key in (by or "").split(",") if key.strip()])
    settings = Settings(
        aggregate=aggregate,
        confidence=confidence,
        test=test,  # type: ignore[arg-type]
        paired=not unpaired,
        baseline=baseline,
        replications=replications,
    )
    report = Report(scores=scores, settings=settings, scales=read_scales(scale or [], scores))
    left_out = [*missing, *scores.left_out]
    console = make_console()
    if as_json:
        typer.echo(_json(report, left_out))
    else:
        _print(report, left_out, console)
    if export is not None:
        write(export, TABLES[table](report), _caption(report, table))
        if not as_json:
            console.print(f"written: {export}", highlight=False, soft_wrap=True)


def _one_of(option: str, value: str, allowed: Mapping[str, Any] | Sequence[str]) -> None:
    from rlcl.errors import UnsupportedError, did_you_mean

    if value not in allowed:
        raise UnsupportedError(f"{option} {value}: there is no such{did_you_mean(value, allowed)}")


def _json(report: Report, left_out: Sequence[tuple[str, str]]) -> str:

    from rlcl.comparison.tables import TABLES

    content = {
        "metric": {stream: report.scores.metric(stream) for stream in report.scores.streams},
        "higher_is_better": report.scores.sign > 0,
        "confidence": report.settings.confidence,
        **{name: make(report) for name, make in TABLES.items() if name != "curves"},
        "left_out": [{"path": path, "reason": reason} for path, reason in left_out],
        "remarks": list(report.remarks),
    }
    return json_text(content, indent=2)


def _caption(report: Report, table: str) -> str:
    metrics = sorted({report.scores.metric(stream) for stream in report.scores.streams})
    level = f"{100 * report.settings.confidence:g} %"
    return f"{table.capitalize()}: {', '.join(metrics)}; intervals at {level}"


def _print(report: Report, left_out: Sequence[tuple[str, str]], console: Console) -> None:
    from rich.text import Text

    from rlcl.comparison.tables import MANY
    from rlcl.comparison.terminal import aggregate_table, learner_tables, left_out_lines, verdict_table

    for table in (*learner_tables(report), *aggregate_table(report)):
        console.print(table, highlight=False)
    shown = report.decisive
    if len(shown) > MANY:
        console.print(verdict_table(shown), highlight=False)
    else:
        _speak(shown, len(report.scores.streams) > 1, console)
    rest = len(report.comparisons) - len(shown)
    if rest:
        console.print(f"{rest} more comparisons: --json, or --export pairs.csv --table comparisons", highlight=False)
    for remark in report.remarks:
        console.print(Text(f"remark: {remark}"), soft_wrap=True)
    for line in left_out_lines(left_out):
        console.print(Text(line, style="red"), soft_wrap=True)


def _speak(shown: Sequence[Comparison], several: bool, console: Console) -> None:
    """Prints verdicts as sentences, under the name of the stream where there are several."""
    from rich.text import Text

    for each in shown:
        style = "green" if each.distinguishable else "yellow"
        where = f"{each.stream}: " if several else ""
        console.print(Text(f"{where}{each.words}.", style=style), soft_wrap=True)
