"""Figures of R and of streams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rlcl.evaluation.metrics import AVERAGE
from rlcl.evaluation.results import Array, measure_named
from rlcl.types import Stream

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NUMBERS = 240  # cells of a stream with numbers; more cells have only a color
MAX_R_NUMBERS = 400  # cells of R with numbers; more numbers take seconds to draw

__all__ = ["r_figure", "stream_figure"]


def r_figure(
    matrix: Array, names: Sequence[str], measure: str, title: str = "", trained: Sequence[str] | None = None
) -> Figure:
    """Draw R as a heatmap: one row per experience trained on last, one column per experience evaluated.

    Args:
        matrix: (T, J), where higher is better; NaN if absent. Absent columns at the end may be left out.
        names: names of the experiences evaluated, at least J.
        measure: name of the measure in R; losses are shown with their original sign.
        title: title above the figure; the name of the measure by default.
        trained: names of the experiences trained on, at least T; by default those of the experiences evaluated.
    """
    from matplotlib.figure import Figure

    matrix = np.pad(matrix, ((0, 0), (0, len(names) - matrix.shape[1])), constant_values=np.nan)
    trained = names if trained is None else trained
    labels = [f"after {trained[t]}" for t in range(len(matrix))]
    if not len(matrix):  # no value of the measure is defined
        matrix, labels = np.full((1, len(names)), np.nan), ["no value"]
    shown_measure = measure_named(measure)
    shown = shown_measure.sign * matrix
    rows, columns = matrix.shape
    label_length = max(map(len, names))
    size = (3 + 0.08 * label_length + 0.8 * columns, 1.7 + 0.05 * label_length + 0.55 * rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    ends = AVERAGE.span(shown_measure)
    known = all(map(math.isfinite, ends))
    values = matrix[~np.isnan(matrix)] if np.any(~np.isnan(matrix)) else np.zeros(1)
    low, high = ends if known else (float(values.min()), float(values.max()))
    image = axes.imshow(matrix, cmap="viridis", aspect="auto", vmin=low, vmax=high)
    digits = 2 if np.abs(values).max() < 10 else 0
    for (t, j), value in np.ndenumerate(matrix):
        if np.isnan(value) or matrix.size > MAX_R_NUMBERS:
            continue
        dark = value < low + 0.6 * (high - low)
        text = f"{shown[t, j]:.{digits}f}"
        axes.text(j, t, text, ha="center", va="center", color="white" if dark else "black", fontsize=9)
    axes.set_xticks(range(columns), names, rotation=30, ha="right", fontsize=9)
    axes.set_yticks(range(rows), labels, fontsize=9)
    axes.set_xlabel("evaluated on")
    axes.set_title(title or shown_measure.display_name, fontsize=11)
    figure.colorbar(image, ax=axes, shrink=0.9).ax.tick_params(labelsize=8)
    return figure


def stream_figure(stream: Stream, title: str = "") -> Figure:
    """Draw the training samples of a stream: one row per class, one column per experience.

    Without classes there is one row per source. A cell is its number of samples, or its env steps for an environment.

    Args:
        stream: the stream.
        title: title above the figure.
    """
    from matplotlib.figure import Figure

    counts, rows = _counts(stream)
    columns = [e.name for e in stream]
    label_length = max(map(len, columns))
    size = (
        2.5 + 0.12 * max(map(len, rows)) + max(0.45 * len(columns), 2),
        1.2 + 0.07 * label_length + max(0.28 * len(rows), 1),
    )
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    shown = np.where(counts > 0, counts, np.nan)
    image = axes.imshow(shown, cmap="Blues", aspect="auto", vmin=0, vmax=counts.max(initial=1))
    if counts.size <= MAX_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if count > 0.6 * counts.max() else "black"
                axes.text(column, row, f"{count:,.0f}", ha="center", va="center", color=color, fontsize=7)
    axes.set_ylabel("class" if stream.spec.classes else "source", fontsize=9)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_xticks(np.arange(-0.5, len(columns)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(rows)), minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    hidden = stream.visibility.boundaries == "hidden"
    axes.set_xlabel(f"experience in training order{', boundaries hidden' if hidden else ''}", fontsize=9)
    axes.set_title(f"{title}\ntask ids {stream.visibility.task_ids}".strip(), fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.9, label="training samples").ax.tick_params(labelsize=8)
    return figure


def _counts(stream: Stream) -> tuple[Array, list[str]]:
    """Return the training samples (rows, experiences), and the names of the rows."""
    if stream.spec.classes:
        counts = [
            np.bincount(np.asarray(e.train.targets), minlength=stream.spec.classes)  # type: ignore[union-attr]
            for e in stream
        ]
        return np.stack(counts, 1).astype(np.float64), list(stream.spec.class_names)
    names = list(dict.fromkeys(e.name.partition(", visit ")[0] for e in stream))
    table = np.zeros((len(names), len(stream)))
    for column, e in enumerate(stream):
        budget = e.budget.env_steps or 1
        size = budget if e.train.kind == "environment" else len(e.train)
        table[names.index(e.name.partition(", visit ")[0]), column] = size
    return table, names
