"""Tables of a comparison for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from rlcl.comparison.tables import TABLES, ComparisonReport, Row
from rlcl.comparison.verdicts import PairComparison, format_numbers
from rlcl.statistics.hypotheses import MAX_SEEDS

__all__ = ["aggregate_table", "learner_tables", "left_out_lines", "verdict_table"]

MAX_LINES_PER_REASON = 5  # runs that are left out for the same reason; of more runs only the first is named
COLUMNS = ("mean", "mean_low", "mean_high", "median", "iqm", "iqm_low", "iqm_high", "least", "greatest")


def learner_tables(report: ComparisonReport) -> list[Table]:
    """Return one table of learners per stream."""
    tables = []
    rows = TABLES["learners"](report)
    better = "higher" if report.scores.sign > 0 else "lower"
    caption = f"{100 * report.settings.confidence:g} % intervals: Student for the mean, bootstrap for the IQM"
    for stream in report.scores.streams:
        title = f"{stream}: {report.scores.metric(stream)}, {better} is better"
        table = Table(title=title, caption=caption, title_justify="left", title_style="bold", caption_justify="left")
        table.add_column("learner")
        for column in ("mean", "interval", "median", "IQM", "interval", "min", "max", "seeds"):
            table.add_column(column, justify="right")
        stream_rows = [row for row in rows if row["stream"] == stream]
        for row in stream_rows:
            mean, low, high, median, iqm, iqm_low, iqm_high, minimum, maximum = _value_texts(row, COLUMNS)
            ends = [f"{a} to {b}" if a else "" for a, b in ((low, high), (iqm_low, iqm_high))]
            table.add_row(row["learner"], mean, ends[0], median, iqm, ends[1], minimum, maximum, str(row["seeds"]))
        tables.append(table)
    return tables


def aggregate_table(report: ComparisonReport) -> list[Table]:
    """Return the table over all streams as a list; empty with a single stream or without a common scale."""
    rows = TABLES["aggregates"](report)
    if not rows:
        return []
    names = [key for key in rows[0] if f"{key}_low" in rows[0]]
    values = "values scaled to 0 and 1 per stream" if report.scales else "unscaled values"
    title = f"over {rows[0]['streams']} streams, {values}"
    caption = f"{100 * report.settings.confidence:g} % intervals: stratified bootstrap"
    table = Table(title=title, caption=caption, title_justify="left", title_style="bold", caption_justify="left")
    table.add_column("learner")
    for name in names:
        table.add_column("IQM" if name == "iqm" else name.replace("_", " "), justify="right")
    table.add_column("seeds", justify="right")
    for row in rows:
        cells = []
        for name in names:
            value, low, high = _value_texts(row, (name, f"{name}_low", f"{name}_high"))
            cells.append(f"{value} ({low} to {high})" if low else value)
        table.add_row(row["learner"], *cells, str(row["seeds"]))
    return [table]


def _value_texts(row: Row, keys: Sequence[str]) -> list[str]:
    """Return values as text with the same number of decimals; unknown values are empty."""
    return format_numbers(*(math.nan if row[key] is None else float(row[key]) for key in keys))


def verdict_table(comparisons: Sequence[PairComparison]) -> Table:
    """Return a table with one verdict per row, for comparisons that are too many for sentences."""
    title = f"comparisons (p with Holm's correction; level {comparisons[0].alpha:.2g})"
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("stream", "learner", "ahead of"):
        table.add_column(column)
    for column in ("by", "interval", "p"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    table.add_column("seeds to add", justify="right")
    for comparison in comparisons:
        value, low, high = format_numbers(comparison.difference, comparison.low, comparison.high)
        ends = f"{low} to {high}" if low else ""
        p = "" if comparison.corrected_p is None else f"{comparison.corrected_p:.3f}"
        style = "green" if comparison.distinguishable else "yellow"
        table.add_row(
            comparison.stream,
            comparison.first,
            comparison.second,
            value,
            ends,
            p,
            Text(comparison.verdict, style),
            _seeds_to_add(comparison),
        )
    return table


def _seeds_to_add(comparison: PairComparison) -> str:
    if comparison.distinguishable or comparison.corrected_p is None or comparison.difference == comparison.null_value:
        return ""
    return f"over {MAX_SEEDS:,}" if comparison.seeds_needed is None else f"{comparison.additional_seeds:,}"


def left_out_lines(left_out: Sequence[tuple[str, str]]) -> list[str]:
    """Return one line per run that is left out, with its reason; many runs with the same reason share a line."""
    lines = []
    for reason in dict.fromkeys(reason for _, reason in left_out):
        paths = [path for path, other in left_out if other == reason]
        more = f" and {len(paths) - 1} more" if len(paths) > MAX_LINES_PER_REASON else ""
        lines += [f"left out: {path}{more}: {reason}" for path in (paths[:1] if more else paths)]
    return lines
