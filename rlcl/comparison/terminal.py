"""A comparison on the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from rlcl.comparison.tables import TABLES, Report, Row
from rlcl.comparison.verdicts import Comparison, numbers
from rlcl.statistics.hypotheses import MOST_SEEDS

__all__ = ["aggregate_table", "learner_tables", "left_out_lines", "verdict_table"]

ALIKE = 5  # runs that are left out for the same reason; of more the first is named
COLUMNS = ("mean", "mean_low", "mean_high", "median", "iqm", "iqm_low", "iqm_high", "least", "greatest")


def learner_tables(report: Report) -> list[Table]:
    """One a stream."""
    made = []
    rows = TABLES["learners"](report)
    better = "higher" if report.scores.sign > 0 else "lower"
    caption = f"{100 * report.settings.confidence:g} % intervals: of the mean Student's, of the IQM bootstrap"
    for stream in report.scores.streams:
        title = f"{escape(stream)}: {report.scores.metric(stream)}, {better} is better"
        table = Table(title=title, caption=caption, title_justify="left", title_style="bold", caption_justify="left")
        table.add_column("learner")
        for column in ("mean", "interval", "median", "IQM", "interval", "least", "greatest", "seeds"):
            table.add_column(column, justify="right")
        ours = [row for row in rows if row["stream"] == stream]
        for row in ours:
            mean, low, high, median, iqm, iqm_low, iqm_high, least, greatest = _shown(row, COLUMNS)
            ends = [f"{a} to {b}" if a else "" for a, b in ((low, high), (iqm_low, iqm_high))]
            table.add_row(
                escape(row["learner"]), mean, ends[0], median, iqm, ends[1], least, greatest, str(row["seeds"])
            )
        made.append(table)
    return made


def aggregate_table(report: Report) -> list[Table]:
    """One over all streams; none where there is but one, or they share no scale."""
    rows = TABLES["aggregates"](report)
    if not rows:
        return []
    names = [key for key in rows[0] if f"{key}_low" in rows[0]]
    title = f"over {rows[0]['streams']} streams, {'each on its scale' if report.scales else 'values as they are'}"
    caption = f"{100 * report.settings.confidence:g} % intervals: stratified bootstrap"
    table = Table(title=title, caption=caption, title_justify="left", title_style="bold", caption_justify="left")
    table.add_column("learner")
    for name in names:
        table.add_column("IQM" if name == "iqm" else name.replace("_", " "), justify="right")
    table.add_column("seeds", justify="right")
    for row in rows:
        cells = []
        for name in names:
            value, low, high = _shown(row, (name, f"{name}_low", f"{name}_high"))
            cells.append(f"{value} ({low} to {high})" if low else value)
        table.add_row(escape(row["learner"]), *cells, str(row["seeds"]))
    return [table]


def _shown(row: Row, keys: Sequence[str]) -> list[str]:
    """Values with as many decimals each; what is not known is empty."""
    return numbers(*(math.nan if row[key] is None else float(row[key]) for key in keys))


def verdict_table(shown: Sequence[Comparison]) -> Table:
    """Verdicts a line each, where sentences would be too many."""
    title = f"comparisons (p with Holm's correction; level {shown[0].alpha:.2g})"
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("stream", "ahead", "of"):
        table.add_column(column)
    for column in ("by", "interval", "p"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    table.add_column("more seeds", justify="right")
    for each in shown:
        value, low, high = numbers(each.difference, each.low, each.high)
        ends = f"{low} to {high}" if low else ""
        p = "" if each.corrected is None else f"{each.corrected:.3f}"
        style = "green" if each.distinguishable else "yellow"
        table.add_row(
            *map(escape, (each.stream, each.first, each.second)),
            value,
            ends,
            p,
            f"[{style}]{each.verdict}[/]",
            _more_seeds(each),
        )
    return table


def _more_seeds(each: Comparison) -> str:
    if each.distinguishable or each.corrected is None or each.difference == each.null:
        return ""
    return f"over {MOST_SEEDS:,}" if each.needed is None else f"{each.more:,}"


def left_out_lines(left_out: Sequence[tuple[str, str]]) -> list[str]:
    """A line a run with its reason; many of one reason are counted."""
    lines = []
    for reason in dict.fromkeys(reason for _, reason in left_out):
        paths = [path for path, why in left_out if why == reason]
        more = f" and {len(paths) - 1} more" if len(paths) > ALIKE else ""
        lines += [f"left out: {path}{more}: {reason}" for path in (paths[:1] if more else paths)]
    return lines
