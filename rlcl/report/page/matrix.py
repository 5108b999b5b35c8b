"""Figures of the matrix R of evaluations after each experience: a heatmap, and the retention of each experience."""

from __future__ import annotations

import math

import numpy as np

from rlcl.comparison.groups import SeedGroup
from rlcl.comparison.matrices import MatrixRow, r_rows, retention
from rlcl.evaluation.measures import Measure
from rlcl.evaluation.results import Array, measure_named
from rlcl.report.page.figures import PLOT_SCALE, evenly_spaced, mean_note, rounded_or_none, scale_heading
from rlcl.report.page.parts import CellValue, Figure, FigureData, PageTable, TableCell, heat_cell, number_text
from rlcl.report.page.svg import LinearScale, interval_plot

__all__ = ["r_figure", "retention_figure"]

MAX_SIDE = 40  # rows and columns of R
R_NOTE = (
    "Rows: experience trained on last. Columns: experience evaluated. Stronger colors are better values. The outlined "
    "cell is the experience trained on last."
)


def r_figure(group: SeedGroup, measure: str | None = None, title: str = "", short: bool = False) -> Figure:
    """Draw R as a table with colors: one row per experience trained on last, one column per experience evaluated.

    Args:
        group: seeds of the experiment.
        measure: name of the measure; the primary one by default.
        title: heading of the figure; the name of the measure by default.
        short: whether to leave out the explanation of rows, columns and colors.
    """
    shown_measure = measure_named(measure or group.measure)
    every = r_rows(group, measure or group.measure)
    indices = {-1, *evenly_spaced(1 + max((row.trained_on for row in every), default=-1), MAX_SIDE)}
    rows = [row for row in every if row.trained_on in indices]
    columns = evenly_spaced(len(group.evaluated_names), MAX_SIDE)
    visits = group.results(measure)[0].visits if group.seeds else ()
    low, high = _value_range(shown_measure, np.concatenate([row.mean for row in rows]) if rows else np.array([]))
    scale = LinearScale(low, high, 0, 1) if shown_measure.better == "higher" else LinearScale(high, low, 0, 1)
    table_rows: list[tuple[TableCell, ...]] = []
    data: list[tuple[CellValue, ...]] = []
    for row in rows:
        cells = [TableCell(row.label, heading=True)]
        for j in columns:
            own = row.trained_on >= 0 and j == (visits[row.trained_on] if visits else row.trained_on)
            cells.append(_r_cell(row, j, own, scale, group.evaluated_names[j]))
            values = rounded_or_none(float(row.mean[j])), rounded_or_none(float(row.deviation[j]))
            data.append((row.label, group.evaluated_names[j], *values, row.seeds))
        table_rows.append(tuple(cells))
    count = len(group.evaluated_names)
    complete = len(rows) == len(every) and len(columns) == count
    selection = "" if complete else f" {len(rows)} of {len(every)} rows, {len(columns)} of {count} columns."
    better = "" if shown_measure.better == "higher" else " A loss: lower is better."
    return Figure(
        title or f"{shown_measure.display_name.capitalize()} on each experience after training on each experience",
        f"{R_NOTE if not short else ''}{better} {mean_note(len(group.seeds))}{selection}".strip(),
        FigureData(
            f"R-{shown_measure.display_name}", ("trained on", "evaluated on", "mean", "deviation", "seeds"), tuple(data)
        ),
        table=PageTable(("", *(f"#{group.evaluated_names[j]}" for j in columns)), tuple(table_rows), "heatmap"),
    )


def _value_range(measure: Measure, values: Array) -> tuple[float, float]:
    """Return the range of a scale: the range of the measure if both bounds are known, else that of the values."""
    known = values[np.isfinite(values)]
    if all(map(math.isfinite, measure.range)) or not len(known):
        return measure.range if math.isfinite(measure.range[1]) else (0.0, 1.0)
    return float(known.min()), float(known.max())


def _r_cell(row: MatrixRow, column: int, own: bool, scale: LinearScale, name: str) -> TableCell:
    mean, deviation, tooltip = float(row.mean[column]), float(row.deviation[column]), f"{row.label}, on {name}"
    if math.isnan(mean):
        return TableCell("", tooltip=f"{tooltip}: not evaluated")
    spread = f" ± {number_text(deviation)} over {row.seeds} seeds" if math.isfinite(deviation) else ""
    text = f"{mean:.2f}" if abs(mean) < 10 else f"{mean:,.0f}"
    kind = "own" if own else ""
    return heat_cell(text, scale(mean), f"{tooltip}: {number_text(mean)}{spread}", kind)


def retention_figure(group: SeedGroup) -> Figure | None:
    """Draw the measure on each experience after its own training and at the end, one row per experience.

    The result is None with a single experience.
    """
    retained = retention(group)
    if retained is None:
        return None
    measure = group.primary_measure
    low, high = _value_range(measure, np.concatenate([retained.after_training, retained.at_end]))
    scale = LinearScale(low, high, PLOT_SCALE.start, PLOT_SCALE.end)
    rows, data = [], []
    values = zip(group.evaluated_names, retained.after_training.tolist(), retained.at_end.tolist(), strict=True)
    for name, after, end in values:
        color = 1 if measure.sign * (end - after) < 0 else 2
        plot = interval_plot(end, min(after, end), max(after, end), scale, (after,), color)
        texts = [TableCell(number_text(v)) for v in (after, end, end - after)]
        rows.append((TableCell(name, heading=True), TableCell(plot=plot), *texts))
        data.append((name, rounded_or_none(after), rounded_or_none(end), rounded_or_none(end - after)))
    return Figure(
        "Performance after training on each experience and at the end",
        f"Small dot: {measure.display_name} after training on the experience. Large dot: at the end of the stream. "
        f"{mean_note(len(group.seeds))}",
        FigureData("kept", ("experience", "after its own training", "at the end", "change"), tuple(data)),
        table=PageTable(
            ("", scale_heading(low, high), "#after its training", "#at the end", "#change"), tuple(rows), "plots"
        ),
    )
