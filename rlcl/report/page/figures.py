"""The figures of one experiment: performance over time, forgetting and transfer, learning curves, probes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from rlcl.comparison.bands import Band, over_seeds
from rlcl.comparison.costs import COSTS
from rlcl.comparison.curves import average_band, record_band
from rlcl.comparison.groups import Group
from rlcl.evaluation.meaning import Meaning
from rlcl.evaluation.measures import Measure
from rlcl.evaluation.metrics import TOPICS
from rlcl.evaluation.results import measure_named, online_name
from rlcl.report.page.parts import Cell, Data, Figure, Panel, Table, band_rows, interval_text, number
from rlcl.report.page.svg import Line, Scale, interval_plot, line_chart, plain, span_of
from rlcl.statistics.intervals import Summary

__all__ = [
    "PLOT",
    "called",
    "common_span",
    "curves_figure",
    "ends_told",
    "inner_boundaries",
    "known_or_none",
    "metrics_figure",
    "negated",
    "performance_figure",
    "probes_figure",
    "row_scale",
    "seeds_of_mean",
    "spread",
    "transfer_figures",
]

BOUNDARIES = 30  # lines of a drawing
PANELS = 24  # drawings of one figure at most
POINTS = 6000  # of all curves of a figure: what keeps the page of a long stream small
FIRST = ("episode_return", "loss", "policy_loss", "value_loss", "entropy")
LAST = ("lr", "gradient_norm")
PLOT = Scale(0, 1, 8, 172)  # places of an interval within a row


def called(measure: str) -> str:
    """A measure's name for people."""
    return measure_named(measure).called


def seeds_told(count: int) -> str:
    """How the lines and intervals of a figure came about."""
    return f"Mean and 95 % Student interval over {count} seeds" if count > 1 else "A single seed, so without interval"


def performance_figure(group: Group, points: int) -> Figure:
    """The decisive measure on each experience over time, each in a panel in which its own training is shaded."""
    measure, ends = group.measure, dict(group.boundaries)
    chosen = spread(len(group.names), PANELS)
    points = min(points, max(12, POINTS // len(group.names)))
    seeds = [seed.records for seed in group.seeds]
    every = {j: record_band(seeds, measure, j, points) for j in range(len(group.names))}
    bands = {j: found for j, found in every.items() if found is not None}
    mean = average_band(group.results(), len(group.names), points) if len(group.names) > 1 else None
    span = common_span([*bands.values(), *([mean] if mean else [])], group.measured)
    boundaries = inner_boundaries(group)
    single = len(group.boundaries) == len(group.names) > 1
    panels = []
    if mean is not None:
        told = f"mean {called(measure)} over all experiences, by step"
        panels.append(Panel("mean over all experiences", _chart(mean, told, span, boundaries, number=5)))
    for j in chosen:
        if j in bands:
            own = (ends.get(j - 1, 0.0), ends[j]) if single and j in ends else None
            told = f"{called(measure)} on {group.names[j]}, by step"
            panels.append(Panel(group.names[j], _chart(bands[j], told, span, boundaries, own)))
    rows = [row for j, found in bands.items() for row in band_rows(group.names[j], found)]
    rows += list(band_rows("mean", mean)) if mean else []
    left_out = f" {len(chosen)} of {len(group.names)} experiences are drawn; the data hold all." if len(chosen) < len(
        group.names) else ""  # fmt: skip
    shaded = "Shaded: its own training. Vertical lines: boundaries. " if single else ""
    return Figure(
        f"{called(measure).capitalize()} over time",
        f"{shaded}{seeds_told(len(group.seeds))}.{left_out}",
        Data(f"{called(measure)}-over-time", ("experience", "step", "mean", "low", "high"), tuple(rows)),
        tuple(panels),
    )


def transfer_figures(group: Group) -> list[Figure]:
    """Forgetting and transfer of all kinds; those of one range share a scale."""
    names = [name for topic in TOPICS for name in group.about(topic)]
    made: dict[Any, list[str]] = {}
    for name in names:
        made.setdefault(group.meanings[name].range, []).append(name)
    figures = []
    for span, chosen in made.items():
        bounded = len(made) > 1 and all(map(math.isfinite, span))
        title = f"Forgetting and transfer{f', between {span[0]:g} and {span[1]:g}' if bounded else ''}"
        figures.append(metrics_figure(group, chosen, title))
    return figures


def metrics_figure(group: Group, names: Sequence[str], title: str) -> Figure:
    """Metrics with intervals and the single seeds, a row each."""
    found = {name: group.summaries[name] for name in names}
    each = {name: [run.metrics[name] for run in group.usable] for name in names}
    scale = row_scale(found.values(), each.values())
    rows, data = [], []
    for name, summary in found.items():
        points = each[name] if len(each[name]) > 1 else ()
        plot = interval_plot(summary.mean, summary.low, summary.high, scale, points)
        better = group.meanings[name].better if name in group.meanings else ""
        texts = (number(summary.mean), interval_text(summary.low, summary.high), better)
        rows.append((Cell(name, heading=True), Cell(plot=plot), *map(Cell, texts)))
        data.append((name, better, *map(known_or_none, (summary.mean, summary.low, summary.high)), *each[name]))
    columns = ("metric", "better", "mean", "low", "high", *(f"seed {run.seed}" for run in group.usable))
    return Figure(
        title,
        f"{seeds_told(len(group.usable))}"
        f"{'; small dots are the seeds' if len(group.usable) > 1 else ''}. The vertical line is 0."
        f"{negated(group.meanings[name] for name in names if name in group.meanings)}",
        Data(title.lower().replace(" ", "-").replace(",", ""), columns, tuple(data)),
        table=Table(("metric", ends_told(scale.low, scale.high), "#mean", "#interval", "better"), tuple(rows), "plots"),
    )


def curves_figure(group: Group, points: int) -> Figure | None:
    """What the learner said while it learned, a panel each; None where it said nothing."""
    names = dict.fromkeys(name for seed in group.seeds for name in seed.events)
    order = sorted(names, key=lambda n: (FIRST.index(n) if n in FIRST else 9, n.endswith("_per_second"), n in LAST, n))
    bands = {}
    for name in order[:PANELS]:
        found = over_seeds([seed.events[name] for seed in group.seeds if name in seed.events], points)
        if found is not None:
            bands[name] = found
    if not bands:
        return None
    boundaries = inner_boundaries(group)
    panels = [
        Panel(f"{name.replace('_', ' ')} ({band.seeds} seed{'s' * (band.seeds > 1)})",
              _chart(band, f"{name.replace('_', ' ')}, by step", None, boundaries))
        for name, band in bands.items()
    ]  # fmt: skip
    bucket = max(band.bucket for band in bands.values())
    silent = ", ".join(str(seed.run.seed) for seed in group.seeds if not seed.events)
    told = f" Each point is the mean of up to {bucket:,} values of a seed." if bucket > 1 else ""
    told += f" Without seed {silent}, whose events are absent or damaged." if silent else ""
    return Figure(
        "What the learner said while it learned",
        f"{seeds_told(len(group.seeds))}. Vertical lines: boundaries.{told}",
        Data("learning-curves", ("value", "step", "mean", "low", "high"),
             tuple(row for name, band in bands.items() for row in band_rows(name, band))),
        tuple(panels),
    )  # fmt: skip


def probes_figure(group: Group, points: int) -> Figure | None:
    """Signs of lost plasticity over time; None where nothing was probed."""
    told = dict.fromkeys(r.metric for seed in group.seeds for r in seed.records)
    others = (*group.measures, *COSTS, *map(online_name, group.measures))
    seeds = [seed.records for seed in group.seeds]
    every = {name: record_band(seeds, name, None, points) for name in told if name not in others}
    bands = {name: found for name, found in every.items() if found is not None}
    if not bands:
        return None
    boundaries = inner_boundaries(group)
    return Figure(
        "Probes of the network",
        f"Signs of lost plasticity, by step. {seeds_told(len(group.seeds))}.",
        Data("probes", ("probe", "step", "mean", "low", "high"),
             tuple(row for name, band in bands.items() for row in band_rows(name, band))),
        tuple(Panel(name, _chart(band, f"{name}, by step", None, boundaries)) for name, band in bands.items()),
    )  # fmt: skip


def inner_boundaries(group: Group) -> list[float]:
    """The steps at which an experience follows another; none where they are too many to be told apart."""
    steps = [step for _, step in group.boundaries[:-1]]
    return steps if len(steps) <= BOUNDARIES else []


def _chart(
    band: Band,
    told: str,
    span: tuple[float, float] | None,
    boundaries: Sequence[float],
    own: tuple[float, float] | None = None,
    number: int = 0,
) -> Markup:
    last = band.mean[np.isfinite(band.mean)]
    summary = f"{told}: from {plain(float(last[0]))} to {plain(float(last[-1]))}" if len(last) else told
    line = Line("", band.steps, band.mean, band.low, band.high, number)
    return line_chart([line], summary, across="step", span=span, boundaries=boundaries, shaded=own)


def common_span(bands: Sequence[Band], measure: Measure) -> tuple[float, float] | None:
    """Of all panels of a figure, so that they can be compared: the measure's range where both ends are known."""
    if not bands:
        return None
    if all(map(math.isfinite, measure.range)):
        return measure.range
    return span_of([Line("", band.steps, band.mean, band.low, band.high) for band in bands])


def row_scale(found: Iterable[Summary], each: Iterable[Sequence[float]]) -> Scale:
    """Of a column of intervals: from the least to the greatest of all ends, seeds and 0."""
    values = [v for s in found for v in (s.mean, s.low, s.high)] + [v for points in each for v in points]
    known = [v for v in values if math.isfinite(v)] + [0.0]
    low, high = min(known), max(known)
    return Scale(low, high if high > low else low + 1, PLOT.start, PLOT.end)


def ends_told(low: float, high: float) -> str:
    """The heading of a column of drawings: the ends of its scale."""
    return f"{plain(low)} … {plain(high)}"


def spread(count: int, most: int) -> list[int]:
    """At most so many of the numbers up to ``count``, evenly spread, the first and the last among them."""
    return [int(i) for i in np.linspace(0, count - 1, min(count, most))]


def known_or_none(value: float) -> float | None:
    """A number to download: six digits, None for an absent one."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def seeds_of_mean(count: int) -> str:
    """How many seeds a mean without interval is of."""
    return f"Mean over {count} seeds." if count > 1 else "A single seed."


def negated(meanings: Iterable[Meaning]) -> str:
    """Says which of the metrics are of losses."""
    measures = [measure_named(name) for name in dict.fromkeys(meaning.measure for meaning in meanings)]
    losses = [measure.called for measure in measures if measure.better == "lower"]
    return f" {', '.join(losses).capitalize()} enters negated: higher is better." if losses else ""
