"""R, and what is left of what was learned: the figures that are made of a matrix."""

from __future__ import annotations

import math

import numpy as np

from rlcl.comparison.groups import Group
from rlcl.comparison.matrices import Row, kept, r_rows
from rlcl.evaluation.measures import Measure
from rlcl.evaluation.results import Array, measure_named
from rlcl.report.page.figures import PLOT, ends_told, known_or_none, seeds_of_mean, spread
from rlcl.report.page.parts import Cell, Data, Figure, Table, Value, heat, number
from rlcl.report.page.svg import Scale, interval_plot

__all__ = ["kept_figure", "r_figure"]

SIDE = 40  # rows and columns of R
R_TOLD = (
    "Rows: trained on last; columns: evaluated on; the stronger its colour, the better; outlined: the experience just "
    "trained on."
)


def r_figure(group: Group, measure: str | None = None, title: str = "", short: bool = False) -> Figure:
    """R as a heatmap that is a table: what was trained on last down, what was evaluated across."""
    of = measure_named(measure or group.measure)
    every = r_rows(group, measure or group.measure)
    chosen = {-1, *spread(1 + max((row.trained_on for row in every), default=-1), SIDE)}
    rows = [row for row in every if row.trained_on in chosen]
    columns = spread(len(group.names), SIDE)
    low, high = _ends(of, np.concatenate([row.mean for row in rows]) if rows else np.array([]))
    scale = Scale(low, high, 0, 1) if of.better == "higher" else Scale(high, low, 0, 1)
    cells: list[tuple[Cell, ...]] = []
    data: list[tuple[Value, ...]] = []
    for row in rows:
        told = [Cell(row.label, heading=True)]
        for j in columns:
            told.append(_r_cell(row, j, scale, group.names[j]))
            ends = known_or_none(float(row.mean[j])), known_or_none(float(row.deviation[j]))
            data.append((row.label, group.names[j], *ends, row.seeds))
        cells.append(tuple(told))
    whole = len(rows) == len(every) and len(columns) == len(group.names)
    thinned = "" if whole else f" {len(rows)} of {len(every)} rows, {len(columns)} of {len(group.names)} columns."
    better = "" if of.better == "higher" else " A loss: lower is better."
    return Figure(
        title or f"{of.called.capitalize()} on each experience after training on each",
        f"{R_TOLD if not short else ''}{better} {seeds_of_mean(len(group.seeds))}{thinned}".strip(),
        Data(f"R-{of.called}", ("trained on", "evaluated on", "mean", "deviation", "seeds"), tuple(data)),
        table=Table(("", *(f"#{group.names[j]}" for j in columns)), tuple(cells), "heatmap"),
    )


def _ends(measure: Measure, values: Array) -> tuple[float, float]:
    """The ends of a scale: of the measure's range where both are known, else of the values."""
    known = values[np.isfinite(values)]
    if all(map(math.isfinite, measure.range)) or not len(known):
        return measure.range if math.isfinite(measure.range[1]) else (0.0, 1.0)
    return float(known.min()), float(known.max())


def _r_cell(row: Row, column: int, scale: Scale, name: str) -> Cell:
    mean, deviation, told = float(row.mean[column]), float(row.deviation[column]), f"{row.label}, on {name}"
    if math.isnan(mean):
        return Cell("", told=f"{told}: not measured")
    spread = f" ± {number(deviation)} over {row.seeds} seeds" if math.isfinite(deviation) else ""
    shown = f"{mean:.2f}" if abs(mean) < 10 else f"{mean:,.0f}"
    return heat(shown, scale(mean), f"{told}: {number(mean)}{spread}", "own" if row.trained_on == column else "")


def kept_figure(group: Group) -> Figure | None:
    """What is left in the end of what was learned, an experience a row; None for a single experience."""
    found = kept(group)
    if found is None:
        return None
    measure = group.measured
    low, high = _ends(measure, np.concatenate([found.learned, found.last]))
    scale = Scale(low, high, PLOT.start, PLOT.end)
    rows, data = [], []
    for name, a, b in zip(group.names, found.learned.tolist(), found.last.tolist(), strict=True):
        plot = interval_plot(b, min(a, b), max(a, b), scale, (a,), 1 if measure.sign * (b - a) < 0 else 2)
        texts = [Cell(number(v)) for v in (a, b, b - a)]
        rows.append((Cell(name, heading=True), Cell(plot=plot), *texts))
        data.append((name, known_or_none(a), known_or_none(b), known_or_none(b - a)))
    return Figure(
        "What was learned, and what is left of it",
        f"Small dot: {measure.called} after its own training; large dot: at the end. {seeds_of_mean(len(group.seeds))}",
        Data("kept", ("experience", "after its own training", "at the end", "change"), tuple(data)),
        table=Table(("", ends_told(low, high), "#after its training", "#at the end", "#change"), tuple(rows), "plots"),
    )
