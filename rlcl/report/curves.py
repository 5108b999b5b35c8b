"""Figure of learning curves with confidence bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from rlcl.evaluation.results import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Numbers = Sequence[float] | Array

__all__ = ["Curve", "curves_figure"]


@frozen(kw_only=True)
class Curve:
    """A mean over seeds during training, with its interval.

    Args:
        steps: (T,) steps of the measurements.
        mean: (T,) mean over seeds.
        low, high: (T,) ends of the interval; None with a single seed.
    """

    steps: Numbers
    mean: Numbers
    low: Numbers | None = None
    high: Numbers | None = None


def curves_figure(curves: Mapping[str, Curve], x: str, y: str, title: str = "", floor: float | None = None) -> Figure:
    """Draw curves with their bands.

    Args:
        curves: curves by their name in the legend, in the order of the legend.
        x: label of the steps, with their unit.
        y: label of the values.
        title: title above the figure.
        floor: value of a dashed horizontal line; None for no line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.0), layout="constrained")
    axes = figure.subplots()
    for i, (name, curve) in enumerate(curves.items()):
        axes.plot(curve.steps, curve.mean, color=f"C{i}", linewidth=1.6, label=name)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.steps, curve.low, curve.high, color=f"C{i}", alpha=0.2, linewidth=0)
    if floor is not None:
        axes.axhline(floor, color="grey", linestyle="--", linewidth=1, label=f"floor {floor:g}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.set_title(title, fontsize=10)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(fontsize=8, frameon=False)
    return figure
