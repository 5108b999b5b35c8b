"""Figures of a run's results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rlcl.evaluation.results import Array, measure_named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["r_figure"]


def r_figure(matrix: Array, names: Sequence[str], measure: str, title: str = "") -> Figure:
    """R as a heatmap: a row for what was trained on last, a column for what was evaluated.

    Args:
        matrix: (T, J), higher being better; NaN where absent.
        names: of the J experiences.
        measure: what R holds, for the caption; its losses are shown as such.
        title: above the picture.
    """
    from matplotlib.figure import Figure

    shown = matrix if measure_named(measure).higher_is_better else -matrix
    rows, columns = matrix.shape
    label = max(map(len, names))
    figure = Figure(figsize=(3 + 0.08 * label + 0.8 * columns, 1.7 + 0.05 * label + 0.55 * rows), layout="constrained")
    axes = figure.subplots()
    bounded = bool(np.nanmin(matrix) >= 0 and np.nanmax(matrix) <= 1)
    low, high = (0.0, 1.0) if bounded else (float(np.nanmin(matrix)), float(np.nanmax(matrix)))
    image = axes.imshow(matrix, cmap="viridis", aspect="auto", vmin=low, vmax=high)
    digits = 2 if np.nanmax(np.abs(shown)) < 10 else 0
    for (t, j), value in np.ndenumerate(matrix):
        if np.isnan(value):
            continue
        dark = value < low + 0.6 * (high - low)
        text = f"{shown[t, j]:.{digits}f}"
        axes.text(j, t, text, ha="center", va="center", color="white" if dark else "black", fontsize=9)
    axes.set_xticks(range(columns), names, rotation=30, ha="right", fontsize=9)
    axes.set_yticks(range(rows), [f"after {names[t]}" if rows > 1 else "joint" for t in range(rows)], fontsize=9)
    axes.set_xlabel("evaluated on")
    axes.set_title(title or measure.replace("_", " "), fontsize=11)
    figure.colorbar(image, ax=axes, shrink=0.9).ax.tick_params(labelsize=8)
    return figure
