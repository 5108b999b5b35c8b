"""Verb ``rlcl compare``, which compares learners with statistical tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlcl.strict_json import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from rlcl.comparison.tables import ComparisonReport
    from rlcl.comparison.verdicts import PairComparison

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("compare")(compare)


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUNS...",
            help="Runs, experiments or suites to compare: folders, names, patterns of run names, or files.",
        ),
    ],
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    metric: Annotated[
        str | None,
        typer.Option(
            help="Metric to compare. The default is the average over experiences of the learner's main measure, for "
            "example accuracy.average."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Config keys, separated by commas. Runs with equal values of these keys count as one learner. The "
            "default is all settings of learner, encoder and boundary."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Name of the baseline: each learner is compared only with it, not with every other learner."),
    ] = None,
    test: Annotated[
        str,
        typer.Option(
            help="Test: t (Student's t test if seeds are paired, otherwise Welch's) or ranks (Wilcoxon's test if seeds "
            "are paired, otherwise Mann-Whitney's)."
        ),
    ] = "t",
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Do not pair seeds.")] = False,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="Confidence level of intervals and tests.")
    ] = 0.95,
    aggregate: Annotated[
        str, typer.Option(help="Aggregate over streams: iqm, mean, median or optimality_gap.")
    ] = "iqm",
    scale: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STREAM=LOW:HIGH",
            help="Normalization of the metric on a stream: LOW is mapped to 0, and HIGH to 1. STREAM is a name, a part "
            "of a name, or a pattern with the wildcard *. May be repeated.",
        ),
    ] = None,
    replications: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Number of bootstrap replications.")
    ] = 50_000,
    export: Annotated[Path | None, typer.Option(help="Write a table to FILE.csv, .parquet, .tex or .md.")] = None,
    table: Annotated[
        str,
        typer.Option(
            help="Table to export: learners, aggregates, comparisons, runs, profiles (performance profiles) or curves "
            "(learning curves)."
        ),
    ] = "learners",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all tables except the learning curves as JSON.")
    ] = False,
) -> None:
    """Compare learners with confidence intervals and tests over seeds, and print the verdicts.

    Examples:
        rlcl compare runs/digits-ewc runs/digits-si
        rlcl compare digits-* --metric forgetting.chaudhry --baseline digits-naive
        rlcl compare runs/my-suite --export table.tex

    Runs with the same learner settings form a group; each seed is one observation. Runs of different groups with the
    same seed are paired. For one stream, confidence intervals are Student t intervals; for several streams, they come
    from a stratified bootstrap. Tests are corrected for multiple comparisons (Holm). Runs with different data, budgets
    or evaluations are rejected.
    """
    from rlcl.comparison.export import check_export
    from rlcl.comparison.export import export as write
    from rlcl.comparison.pairs import ComparisonSettings
    from rlcl.comparison.run_arguments import runs_of_arguments
    from rlcl.comparison.scales import read_scales
    from rlcl.comparison.scores import gather_scores
    from rlcl.comparison.tables import TABLES, ComparisonReport
    from rlcl.console import make_console
    from rlcl.statistics.aggregates import AGGREGATES

    _check_choice("--test", test, ("t", "ranks"))
    _check_choice("--aggregate", aggregate, AGGREGATES)
    _check_choice("--table", table, TABLES)
    if export is not None:
        check_export(export)
    readable, missing = runs_of_arguments(runs, root)
    scores = gather_scores(readable, metric, [key.strip() for key in (by or "").split(",") if key.strip()])
    settings = ComparisonSettings(
        aggregate=aggregate,
        confidence=confidence,
        test=test,  # type: ignore[arg-type]
        paired=not unpaired,
        baseline=baseline,
        replications=replications,
    )
    report = ComparisonReport(scores=scores, settings=settings, scales=read_scales(scale or [], scores))
    left_out = [*missing, *scores.left_out]
    console = make_console()
    if as_json:
        typer.echo(_json(report, left_out))
    else:
        _print(report, left_out, console)
    if export is not None:
        write(export, TABLES[table](report), _caption(report, table))
        if not as_json:
            console.print(f"written: {export}", soft_wrap=True)


def _check_choice(option: str, value: str, allowed: Mapping[str, Any] | Sequence[str]) -> None:
    from rlcl.errors import UnsupportedError, did_you_mean

    if value not in allowed:
        raise UnsupportedError(f"{option} {value}: unknown value{did_you_mean(value, allowed)}")


def _json(report: ComparisonReport, left_out: Sequence[tuple[str, str]]) -> str:
    from rlcl.comparison.tables import TABLES

    content = {
        "metric": {stream: report.scores.metric(stream) for stream in report.scores.streams},
        "higher_is_better": report.scores.sign > 0,
        "confidence": report.settings.confidence,
        **{name: make(report) for name, make in TABLES.items() if name != "curves"},
        "left_out": [{"path": path, "reason": reason} for path, reason in left_out],
        "remarks": list(report.caveats),
    }
    return json_text(content, indent=2)


def _caption(report: ComparisonReport, table: str) -> str:
    metrics = sorted({report.scores.metric(stream) for stream in report.scores.streams})
    level = f"{100 * report.settings.confidence:g} %"
    return f"{table.capitalize()}: {', '.join(metrics)}; intervals at {level}"


def _print(report: ComparisonReport, left_out: Sequence[tuple[str, str]], console: Console) -> None:
    from rich.text import Text

    from rlcl.comparison.tables import MAX_LISTED_PAIRS
    from rlcl.comparison.terminal import aggregate_table, learner_tables, left_out_lines, verdict_table

    for table in (*learner_tables(report), *aggregate_table(report)):
        console.print(table)
    shown = report.main_comparisons
    if len(shown) > MAX_LISTED_PAIRS:
        console.print(verdict_table(shown))
    else:
        _print_verdicts(shown, len(report.scores.streams) > 1, console)
    rest = len(report.comparisons) - len(shown)
    if rest:
        console.print(f"{rest} more comparisons: --json, or --export pairs.csv --table comparisons")
    for caveat in report.caveats:
        console.print(Text(f"caveat: {caveat}"), soft_wrap=True)
    for line in left_out_lines(left_out):
        console.print(Text(line, style="red"), soft_wrap=True)


def _print_verdicts(comparisons: Sequence[PairComparison], with_stream: bool, console: Console) -> None:
    """Print one sentence per comparison, with the name of the stream as its prefix if ``with_stream``."""
    from rich.text import Text

    for comparison in comparisons:
        style = "green" if comparison.distinguishable else "yellow"
        prefix = f"{comparison.stream}: " if with_stream else ""
        console.print(Text(f"{prefix}{comparison.sentence}.", style=style), soft_wrap=True)
