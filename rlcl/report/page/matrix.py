"""R, and what is left of what was learned: the figures that are made of a matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rlcl.evaluation.results import Array, Results, measure_named
from rlcl.report.page.figures import PLOT, called, ends_told, known_or_none, seeds_of_mean, spread
from rlcl.report.page.groups import Group
from rlcl.report.page.parts import Cell, Data, Figure, Table, heat, number
from rlcl.report.page.svg import Scale, interval_plot

__all__ = ["kept_figure", "r_figure"]

SIDE = 40  # rows and columns of R
R_TOLD = (
    "Rows: trained on last; columns: evaluated on; the stronger its colour, the better; outlined: the experience just "
    "trained on."
)


def r_figure(group: Group, measure: str | None = None, title: str = "", short: bool = False) -> Figure:
    """R as a heatmap that is a table: what was trained on last down, what was evaluated across."""
    measure = measure or group.measure
    sign = measure_named(measure).sign
    found = group.results(measure)
    every = _r_rows(group, found)
    kept = {-1, *spread(1 + max((t for _, t, _ in every), default=-1), SIDE)}
    rows = [row for row in every if row[1] in kept]
    columns = spread(len(group.names), SIDE)
    means = [_mean(values) for _, _, values in rows]
    known = np.concatenate([m[np.isfinite(m)] for m in means]) if means else np.array([])
    bounded = len(known) > 0 and known.min() >= 0 and known.max() <= 1
    scale = Scale(*((0.0, 1.0) if bounded or not len(known) else (float(known.min()), float(known.max()))), 0, 1)
    cells, data = [], []
    for (label, t, values), mean in zip(rows, means, strict=True):
        row = [Cell(label, heading=True)]
        for j in columns:
            name = group.names[j]
            row.append(_r_cell(sign, values[:, j], float(mean[j]), scale, f"{label}, on {name}", t == j))
            each = sign * values[:, j]
            data.append((label, name, known_or_none(sign * float(mean[j])), known_or_none(_deviation(each)), len(each)))
        cells.append(tuple(row))
    whole = len(rows) == len(every) and len(columns) == len(group.names)
    thinned = "" if whole else f" {len(rows)} of {len(every)} rows, {len(columns)} of {len(group.names)} columns."
    better = "" if sign > 0 else " A loss: lower is better."
    return Figure(
        title or f"{called(measure).capitalize()} on each experience after training on each",
        f"{R_TOLD if not short else ''}{better} {seeds_of_mean(len(found))}{thinned}".strip(),
        Data(f"R-{called(measure)}", ("trained on", "evaluated on", "mean", "deviation", "seeds"), tuple(data)),
        table=Table(("", *(f"#{group.names[j]}" for j in columns)), tuple(cells), "heatmap"),
    )


def _r_rows(group: Group, found: Sequence[Results]) -> list[tuple[str, int, Array]]:
    """(what was trained on, its index, (seeds, experiences) values) of each row that holds anything."""
    size, trained = len(group.names), max((len(r.R) for r in found), default=0)
    rows = [("before training", -1, _stacked([r.before for r in found], size))]
    for t in range(trained):
        name = group.names[t] if trained == size else "all" if trained == 1 else f"experience {t + 1}"
        rows.append((f"after {name}", t, _stacked([r.R[t] if t < len(r.R) else np.array([]) for r in found], size)))
    return [row for row in rows if not np.isnan(row[2]).all()]


def _r_cell(sign: int, values: Array, mean: float, scale: Scale, told: str, own: bool) -> Cell:
    if math.isnan(mean):
        return Cell("", told=f"{told}: not measured")
    deviation = _deviation(values)
    spread = f" ± {number(deviation)} over {len(values)} seeds" if math.isfinite(deviation) else ""
    shown = f"{sign * mean:.2f}" if abs(mean) < 10 else f"{sign * mean:,.0f}"
    return heat(shown, scale(mean), f"{told}: {number(sign * mean)}{spread}", "own" if own else "")


def kept_figure(group: Group) -> Figure | None:
    """What is left in the end of what was learned, an experience a row; None for a single experience."""
    found = group.results()
    size = len(group.names)
    if size < 2 or any(r.R.shape != (size, size) for r in found):
        return None
    learned = group.sign * np.array([np.diag(r.R) for r in found])
    last = group.sign * np.array([r.R[-1] for r in found])
    known = np.concatenate([learned.ravel(), last.ravel()])
    known = known[np.isfinite(known)]
    if not len(known):
        return None
    low, high = (0.0, 1.0) if known.min() >= 0 and known.max() <= 1 else (float(known.min()), float(known.max()))
    scale = Scale(low, high, PLOT.start, PLOT.end)
    rows, data = [], []
    for j, name in enumerate(group.names):
        a, b = float(np.mean(learned[:, j])), float(np.mean(last[:, j]))
        plot = interval_plot(b, min(a, b), max(a, b), scale, (a,), 1 if group.sign * (b - a) < 0 else 2)
        texts = [Cell(number(v)) for v in (a, b, b - a)]
        rows.append((Cell(name, heading=True), Cell(plot=plot), *texts))
        data.append((name, known_or_none(a), known_or_none(b), known_or_none(b - a)))
    return Figure(
        "What was learned, and what is left of it",
        f"Small dot: {called(group.measure)} after its own training; large dot: at the end. "
        f"{seeds_of_mean(len(found))}",
        Data("kept", ("experience", "after its own training", "at the end", "change"), tuple(data)),
        table=Table(("", ends_told(low, high), "#after its training", "#at the end", "#change"), tuple(rows), "plots"),
    )


def _stacked(rows: Sequence[Array], size: int) -> Array:
    return np.stack([np.pad(row, (0, size - len(row)), constant_values=np.nan) for row in rows])


def _mean(values: Array) -> Array:
    count = (~np.isnan(values)).sum(0)
    mean: Array = np.divide(np.nansum(values, 0), count, out=np.full(values.shape[1], np.nan), where=count > 0)
    return mean


def _deviation(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else float("nan")
