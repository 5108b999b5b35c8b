"""Figures of a comparison: order of the learners, verdicts, performance profiles and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from attrs import frozen
from markupsafe import Markup

from rlcl.comparison.tables import TABLES, ComparisonReport
from rlcl.comparison.tables import Row as TableRow
from rlcl.comparison.verdicts import PairComparison, format_numbers, format_p
from rlcl.evaluation.metric_meaning import MetricMeaning
from rlcl.evaluation.metrics import PERFORMANCE
from rlcl.evaluation.results import Array
from rlcl.report.page.figures import PLOT_SCALE, evenly_spaced, negation_note, scale_heading
from rlcl.report.page.parts import (
    CellValue,
    Figure,
    FigureData,
    PageTable,
    Panel,
    TableCell,
    interval_text,
    number_text,
)
from rlcl.report.page.svg import ChartLine, LinearScale, interval_plot, line_chart

__all__ = [
    "ComparisonTables",
    "aggregates_figure",
    "curves_figure",
    "learners_figure",
    "left_out_figure",
    "profiles_figure",
    "rejection_figure",
    "rows_data",
    "streams_figure",
    "verdicts_figure",
]

MAX_LINES = 8  # of one chart; more lines cannot be distinguished
MAX_PAIRS = 40  # verdicts in the table; the data contain all
STUDENT = "95 % Student interval over seeds"
BOOTSTRAP = "95 % interval by the stratified bootstrap"


@frozen(eq=False)
class ComparisonTables:
    """A comparison with its tables.

    Args:
        report: the comparison.
        tables: rows of each table, by name, see :data:`rlcl.comparison.tables.TABLES`.
    """

    report: ComparisonReport
    tables: Mapping[str, Sequence[TableRow]]

    @classmethod
    def of(cls, report: ComparisonReport) -> ComparisonTables:
        """Return a comparison with all tables."""
        return cls(report, {name: make(report) for name, make in TABLES.items()})

    @classmethod
    def of_learners(cls, report: ComparisonReport) -> ComparisonTables:
        """Return a comparison with only the table of the learners."""
        return cls(report, {"aggregates": (), "learners": TABLES["learners"](report)})

    @property
    def learners(self) -> tuple[str, ...]:
        """The learners, best first if there is one order for all streams, else in the order of the runs."""
        names = [row["learner"] for row in self.tables["aggregates"]]
        if len(self.report.scores.streams) == 1:
            names = [row["learner"] for row in self.tables["learners"]]
        return tuple(dict.fromkeys([*names, *self.report.scores.learners]))

    @property
    def metric(self) -> str:
        """The name of the metric; all names if streams have different metrics."""
        scores = self.report.scores
        return ", ".join(dict.fromkeys(map(scores.metric, scores.streams)))

    @property
    def direction_note(self) -> str:
        """A note on whether higher or lower values are better."""
        meanings: list[MetricMeaning] = [score.meaning for score in self.report.scores.run_scores]
        note = negation_note(m for m in meanings if m.topic == PERFORMANCE)
        return f"{meanings[0].better.capitalize()} is better.{note}"


def rows_data(name: str, rows: Sequence[TableRow]) -> FigureData:
    """Return rows with the same keys as figure data, with all digits."""
    columns = tuple(rows[0]) if rows else ()
    return FigureData(name, columns, tuple(tuple(_cell_value(row[key]) for key in columns) for row in rows))


def _cell_value(value: object) -> CellValue:
    return value if value is None or isinstance(value, str | int | float) else str(value)


def rejection_figure(paths: Sequence[str], reason: str) -> Figure:
    """Return a figure with the reason why runs are not ranked."""
    return Figure(
        "Not ranked",
        "rlcl compare rejects the comparison of these runs for the same reason. The page shows each experiment "
        "separately.",
        FigureData("not-ranked", ("path", "reason"), tuple((path, reason) for path in paths)),
        table=PageTable(("reason",), ((TableCell(reason, kind="wrap"),),)),
    )


def left_out_figure(left_out: Sequence[tuple[str, str]]) -> Figure | None:
    """Return a table of the runs that the comparison leaves out, with the reasons; None if there are none."""
    rows = tuple((TableCell(path, heading=True), TableCell(reason, kind="wrap")) for path, reason in left_out)
    return None if not rows else Figure(
        "Runs left out of the comparison",
        "Leaving out failed runs makes a learner look better than it is.",
        FigureData("left-out", ("path", "reason"), tuple(left_out)),
        table=PageTable(("run", "reason"), rows),
    )  # fmt: skip


def learners_figure(comparison: ComparisonTables, stream: str, name: str = "learners") -> Figure:
    """Draw the values of each learner on one stream, best mean first."""
    rows = [row for row in comparison.tables["learners"] if row["stream"] == stream]
    scores, several = comparison.report.scores, len(comparison.report.scores.streams) > 1
    values = [list(scores.values(row["learner"], stream).values()) for row in rows]
    scale = _column_scale([row[key] for row in rows for key in ("mean", "mean_low", "mean_high")], values)
    cells = []
    for row, points in zip(rows, values, strict=True):
        low, high = _interval_ends(row, "mean")
        plot = interval_plot(row["mean"], low, high, scale, points if len(points) > 1 else ())
        texts = [number_text(row["mean"]), interval_text(low, high), _value_with_interval(row, "iqm")]
        texts += [number_text(row[key]) for key in ("median", "least", "greatest")]
        texts += [str(row["seeds"])]
        cells.append((TableCell(row["learner"], heading=True), TableCell(plot=plot), *map(TableCell, texts)))
    columns = ("#mean", "#interval", "#IQM", "#median", "#minimum", "#maximum", "#seeds")
    return Figure(
        f"{scores.metric(stream)}{f' on {stream}' if several else ' of each learner'}",
        f"Best mean first. {comparison.direction_note} Large dot and bar: mean with {STUDENT}. Small dots: single "
        f"seeds. IQM: mean of the middle half of the seeds with {BOOTSTRAP}.",
        rows_data(name, rows),
        table=PageTable(("learner", scale_heading(scale.low, scale.high), *columns), tuple(cells), "plots"),
    )


def streams_figure(comparison: ComparisonTables) -> Figure:
    """Return a table of the mean of each learner on each of several streams."""
    table = {(row["learner"], row["stream"]): row for row in comparison.tables["learners"]}
    streams = comparison.report.scores.streams
    rows = []
    for learner in comparison.learners:
        texts = []
        for stream in streams:
            row = table.get((learner, stream))
            low, high = _interval_ends(row, "mean") if row else (math.nan, math.nan)
            half = f" ± {number_text((high - low) / 2)}" if math.isfinite(high) else ""
            texts.append("" if row is None else f"{number_text(row['mean'])}{half}")
        rows.append((TableCell(learner, heading=True), *map(TableCell, texts)))
    return Figure(
        f"{comparison.metric} on each stream",
        f"{comparison.direction_note} Mean ± half the width of the {STUDENT}.",
        rows_data("learners", comparison.tables["learners"]),
        table=PageTable(("learner", *(f"#{stream}" for stream in streams)), tuple(rows)),
    )


def aggregates_figure(comparison: ComparisonTables) -> Figure | None:
    """Draw the aggregates of each learner over all streams, best IQM first; None without a common scale."""
    rows = comparison.tables["aggregates"]
    if not rows:
        return None
    names = [key for key in rows[0] if f"{key}_low" in rows[0]]
    scale = _column_scale([row[key] for row in rows for key in ("iqm", "iqm_low", "iqm_high")], [])
    cells = []
    for row in rows:
        low, high = _interval_ends(row, "iqm")
        texts = [_value_with_interval(row, key) for key in names]
        plot = TableCell(plot=interval_plot(row["iqm"], low, high, scale))
        heading = TableCell(row["learner"], heading=True)
        cells.append((heading, plot, *map(TableCell, texts), TableCell(str(row["seeds"]))))
    headings = [f"#{'IQM' if name == 'iqm' else name.replace('_', ' ')}" for name in names]
    return Figure(
        f"{comparison.metric} over {rows[0]['streams']} streams",
        f"Best IQM first. {comparison.direction_note} Dot and bar: IQM (mean of the middle half of all runs) with "
        f"{BOOTSTRAP}. Optimality gap: mean distance below the highest possible value (Agarwal et al. 2021).",
        rows_data("aggregates", rows),
        table=PageTable(("learner", scale_heading(scale.low, scale.high), *headings, "#seeds"), tuple(cells), "plots"),
    )


def verdicts_figure(comparison: ComparisonTables) -> Figure | None:
    """Return a table of the differences between learners with their tests; None with a single learner."""
    shown = comparison.report.main_comparisons[:MAX_PAIRS]
    if not shown:
        return None
    total = len(comparison.report.comparisons)
    selection = "" if len(shown) == total else f" {len(shown)} of {total} pairs; the data contain all."
    return Figure(
        "Differences between learners",
        "Tests over seeds; equal seeds are paired. p values with Holm's correction for all pairs of the comparison."
        + selection,
        rows_data("comparisons", comparison.tables["comparisons"]),
        table=PageTable(
            ("stream", "learner", "ahead of", "#by", "#interval", "#p", "verdict", "verdict as a sentence"),
            tuple(_verdict_row(pair) for pair in shown),
        ),
    )


def _verdict_row(pair: PairComparison) -> tuple[TableCell, ...]:
    value, low, high = format_numbers(pair.difference, pair.low, pair.high)
    p = "" if pair.corrected_p is None else format_p(pair.corrected_p).removeprefix("p ").removeprefix("= ")
    kind = "badge good" if pair.distinguishable else "badge open"
    texts = (pair.first, pair.second, value, f"{low} to {high}" if low else "", p)
    sign = "✓" if pair.distinguishable else "·"
    verdict = TableCell(f"{sign} {pair.verdict}", kind=kind)
    sentence = TableCell(f"{pair.sentence}.", kind="wrap")
    return (TableCell(pair.stream, heading=True), *map(TableCell, texts), verdict, sentence)


def profiles_figure(comparison: ComparisonTables) -> Figure | None:
    """Draw the performance profiles; None without a common scale or with a single learner."""
    rows, learners = comparison.tables["profiles"], comparison.learners[:MAX_LINES]
    if len({row["learner"] for row in rows}) < 2:
        return None
    lines = _chart_lines(rows, learners, "threshold", "share")
    drawing = line_chart(
        lines, "fraction of runs above a score", x_label=comparison.metric, span=(0.0, 1.0), width=440, height=230
    )
    return Figure(
        f"Performance profiles: {comparison.metric}",
        "Fraction of runs above each score; higher curves are better. 95 % bands by the bootstrap."
        f"{_selection_note(comparison)}",
        rows_data("profiles", rows),
        (Panel(comparison.metric, drawing),),
        wide=True,
    )


def curves_figure(comparison: ComparisonTables, points: int) -> Figure | None:
    """Draw the mean over experiences by step, one panel per stream and one line per learner; None without curves."""
    rows, learners = comparison.tables["curves"], comparison.learners[:MAX_LINES]
    panels: list[Panel] = []
    data_rows: list[TableRow] = []
    for stream in comparison.report.scores.streams:
        stream_rows: list[TableRow] = []
        for learner in learners:
            curve = [row for row in rows if (row["stream"], row["learner"]) == (stream, learner)]
            stream_rows += [curve[i] for i in evenly_spaced(len(curve), points)] if curve else []
        if stream_rows:
            panels.append(Panel(stream, _curves_chart(stream_rows, learners, stream)))
            data_rows += stream_rows
    if not panels:
        return None
    return Figure(
        "Mean over all experiences, by step",
        f"IQM over seeds at each evaluation, with {BOOTSTRAP}. Losses are negated, so that higher is better."
        f"{_selection_note(comparison)}",
        rows_data("curves", data_rows),
        tuple(panels),
        wide=True,
    )


def _curves_chart(rows: Sequence[TableRow], learners: Sequence[str], stream: str) -> Markup:
    description = f"mean over experiences, by step, {stream}"
    lines = _chart_lines(rows, learners, "step", "iqm")
    return line_chart(lines, description, x_label="step", width=440, height=230)


def _chart_lines(rows: Sequence[TableRow], learners: Sequence[str], x: str, y: str) -> list[ChartLine]:
    lines = []
    for color, learner in enumerate(learners):
        learner_rows = [row for row in rows if row["learner"] == learner]
        if learner_rows:
            steps, values, low, high = (_column(learner_rows, key) for key in (x, y, f"{y}_low", f"{y}_high"))
            lines.append(ChartLine(learner, steps, values, low, high, color))
    return lines


def _column(rows: Sequence[TableRow], key: str) -> Array:
    """Return the values (rows,) of a column; NaN if unknown."""
    return np.array([math.nan if row[key] is None else row[key] for row in rows])


def _selection_note(comparison: ComparisonTables) -> str:
    count = len(comparison.learners)
    return f" The first {MAX_LINES} of {count} learners." if count > MAX_LINES else ""


def _interval_ends(row: TableRow, key: str) -> tuple[float, float]:
    low, high = (row[f"{key}{end}"] for end in ("_low", "_high"))
    return (math.nan, math.nan) if low is None or high is None else (low, high)


def _value_with_interval(row: TableRow, key: str) -> str:
    return f"{number_text(row[key])} ({interval_text(*_interval_ends(row, key))})".removesuffix(" ()")


def _column_scale(values: Sequence[float | None], points: Sequence[Sequence[float]]) -> LinearScale:
    known = [v for v in (*values, *(p for group in points for p in group)) if v is not None and math.isfinite(v)]
    low, high = min(known), max(known)
    return LinearScale(low, high if high > low else low + 1, PLOT_SCALE.start, PLOT_SCALE.end)
