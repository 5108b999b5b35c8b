"""Figures of one experiment: performance over time, forgetting and transfer, learning curves, probes."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attrs
import numpy as np
from markupsafe import Markup

from rlcl.comparison.bands import Band, band_over_seeds
from rlcl.comparison.costs import COSTS
from rlcl.comparison.curves import average_band, record_band
from rlcl.comparison.groups import SeedGroup
from rlcl.evaluation.measures import Measure
from rlcl.evaluation.metric_meaning import MetricMeaning
from rlcl.evaluation.metrics import TOPICS
from rlcl.evaluation.results import DRIFT, Array, baseline_name, is_reference, measure_named, online_name
from rlcl.report.page.parts import (
    Figure,
    FigureData,
    PageTable,
    Panel,
    TableCell,
    band_rows,
    interval_text,
    number_text,
)
from rlcl.report.page.svg import COLORS, ChartLine, LinearScale, interval_plot, line_chart, short_number, span_of
from rlcl.statistics.intervals import SeedSummary
from rlcl.types import Record

__all__ = [
    "PLOT_SCALE",
    "common_span",
    "drift_figure",
    "evenly_spaced",
    "inner_boundaries",
    "learning_curves_figure",
    "mean_note",
    "measure_title",
    "metrics_figure",
    "negation_note",
    "performance_figure",
    "probes_figure",
    "rounded_or_none",
    "row_scale",
    "scale_heading",
    "transfer_figures",
    "videos_figure",
]

MAX_VIDEO_BYTES = 4_000_000  # of all videos of a page
MAX_BOUNDARIES = 30  # of one drawing; more are not drawn
MAX_PANELS = 24  # of one figure
MAX_POINTS = 6000  # of all curves of a figure, which limits the size of the page of a long stream
FIRST_EVENTS = ("episode_return", "loss", "policy_loss", "value_loss", "entropy")
LAST_EVENTS = ("lr", "gradient_norm")
PLOT_SCALE = LinearScale(0, 1, 8, 172)  # positions of the ends of an interval plot


def measure_title(measure: str) -> str:
    """Return the display name of a measure."""
    return measure_named(measure).display_name


def interval_note(seeds: int) -> str:
    """Return a note on the lines and intervals of a figure."""
    return f"Mean over {seeds} seeds with 95 % Student interval" if seeds > 1 else "A single seed, without interval"


def performance_figure(group: SeedGroup, measure: str, points: int) -> Figure:
    """Draw a measure over time, one panel per experience with its own training shaded.

    A single-task run on the experience is drawn dashed, from the start of the experience's first training on; after its
    end, the line keeps the last value.
    """
    ends = dict(group.boundaries)
    drawn = evenly_spaced(len(group.evaluated_names), MAX_PANELS)
    points = min(points, max(12, MAX_POINTS // len(group.evaluated_names)))
    seeds = [seed.records for seed in group.seeds]
    every = {j: record_band(seeds, measure, j, points) for j in range(len(group.evaluated_names))}
    bands = {j: band for j, band in every.items() if band is not None}
    several = len(group.evaluated_names) > 1
    mean = average_band(group.results(measure), len(group.evaluated_names), points) if several else None
    visits = group.results(measure)[0].visits if group.seeds and several else ()
    starts = {task: ends.get(t - 1, 0.0) for t, task in reversed([*enumerate(visits)])}
    alone = {j: _single_task_band(seeds, measure, j, starts[j], ends, points) for j in bands if j in starts}
    every_band = [*bands.values(), *(band for band in (mean, *alone.values()) if band is not None)]
    span = common_span(every_band, measure_named(measure))
    boundaries = inner_boundaries(group)
    panels = []
    if mean is not None:
        description = f"mean {measure_title(measure)} over all experiences, by step"
        panels.append(Panel("mean over all experiences", _chart(mean, description, span, boundaries, color=5)))
    for j in drawn:
        if j in bands:
            own = [(ends.get(t - 1, 0.0), ends[t]) for t, task in enumerate(visits) if task == j and t in ends]
            description = f"{measure_title(measure)} on {group.evaluated_names[j]}, by step"
            chart = _chart(bands[j], description, span, boundaries, own, baseline=alone.get(j))
            panels.append(Panel(group.evaluated_names[j], chart))
    rows = [row for j, band in bands.items() for row in band_rows(group.evaluated_names[j], band)]
    rows += list(band_rows("mean", mean)) if mean else []
    rows += [
        row
        for j, band in alone.items()
        if band is not None
        for row in band_rows(f"{group.evaluated_names[j]} alone", band)
    ]
    left_out = (
        f" The figure shows {len(drawn)} of {len(group.evaluated_names)} experiences; the data contain all."
        if len(drawn) < len(group.evaluated_names)
        else ""
    )
    shading = "Shaded: training on this experience. Vertical lines: boundaries of experiences. " if visits else ""
    shading += "Dashed: single-task run on this experience. " if any(alone.values()) else ""
    return Figure(
        f"{measure_title(measure).capitalize()} over time",
        f"{shading}{interval_note(len(group.seeds))}.{left_out}",
        FigureData(f"{measure_title(measure)}-over-time", ("experience", "step", "mean", "low", "high"), tuple(rows)),
        tuple(panels),
    )


def _single_task_band(
    seeds: Sequence[Sequence[Record]],
    measure: str,
    task: int,
    start: float,
    ends: Mapping[int, float],
    points: int,
) -> Band | None:
    """Return the band of the single-task runs on a task, moved to ``start`` and prolonged to the end of the stream."""
    band = record_band(seeds, baseline_name("single_task", measure), task, points)
    if band is None:
        return None
    last = max(ends.values(), default=start)

    def prolonged(values: Array) -> Array:
        return np.append(values, values[-1])

    steps = np.append(band.steps + start, max(last, band.steps[-1] + start))
    return attrs.evolve(
        band, steps=steps, mean=prolonged(band.mean), low=prolonged(band.low), high=prolonged(band.high)
    )


def drift_figure(group: SeedGroup, points: int) -> Figure | None:
    """Draw the drifting parameters of the stream over time; None if it does not drift."""
    seeds = [seed.records for seed in group.seeds]
    names = dict.fromkeys(r.metric for records in seeds for r in records if r.metric.startswith(DRIFT))
    every = {name.removeprefix(DRIFT): record_band(seeds, name, None, points) for name in names}
    bands = {name: band for name, band in every.items() if band is not None}
    if not bands:
        return None
    boundaries = inner_boundaries(group)
    return Figure(
        "Drifting parameters",
        "Values at the evaluations. Vertical lines: boundaries of experiences.",
        FigureData("drift", ("parameter", "step", "mean", "low", "high"),
             tuple(row for name, band in bands.items() for row in band_rows(name, band))),
        tuple(Panel(name, _chart(band, f"{name}, by step", None, boundaries)) for name, band in bands.items()),
    )  # fmt: skip


def videos_figure(group: SeedGroup) -> Figure | None:
    """Show the last episodes that the sink ``tensorboard`` recorded, one per task; None if there are none."""
    for seed in group.seeds:
        folders = sorted((seed.run.path / "tensorboard" / "shown").glob("episode*"))
        files = [file for folder in folders if (file := max(folder.glob("*.gif"), default=None)) is not None]
        if files:
            return _videos(seed.run.seed, files)
    return None


def _videos(seed: int, files: Sequence[Path]) -> Figure | None:
    panels, rows, size = [], [], 0
    last = max(file.stem for file in files)
    for file in files:
        content = file.read_bytes()
        if file.stem != last or size + len(content) > MAX_VIDEO_BYTES:
            continue
        size += len(content)
        name = unquote(file.parent.name).partition("/")[2].partition(" ")[2]
        url = f"data:image/gif;base64,{base64.b64encode(content).decode()}"
        panels.append(Panel(name, Markup('<img class="video" src="{}" alt="episode on {}">').format(url, name)))
        rows.append((name, str(file.name)))
    if not panels:
        return None
    return Figure(
        "Episodes at the end",
        f"First episode of the evaluation on each task, seed {seed}. The command rlcl watch shows others.",
        FigureData("videos", ("task", "file"), tuple(rows)),
        tuple(panels),
    )


def transfer_figures(group: SeedGroup) -> list[Figure]:
    """Return the figures of forgetting and transfer, one for each range of the metrics, so that scales are shared."""
    names = [name for topic in TOPICS for name in group.metrics_about(topic)]
    by_range: dict[Any, list[str]] = {}
    for name in names:
        by_range.setdefault(group.meanings[name].range, []).append(name)
    figures = []
    for span, metrics in by_range.items():
        with_range = len(by_range) > 1 and all(map(math.isfinite, span))
        title = f"Forgetting and transfer{f', between {span[0]:g} and {span[1]:g}' if with_range else ''}"
        figures.append(metrics_figure(group, metrics, title))
    return figures


def metrics_figure(group: SeedGroup, names: Sequence[str], title: str) -> Figure:
    """Draw metrics with their intervals and the values of single seeds, one row per metric."""
    summaries = {name: group.summaries[name] for name in names}
    # A pooled metric has no values of single seeds.
    by_seed = {name: [run.metrics.get(name) for run in group.usable] for name in names}
    seed_values = {name: [v for v in values if v is not None] for name, values in by_seed.items()}
    scale = row_scale(summaries.values(), seed_values.values())
    rows, data = [], []
    for name, summary in summaries.items():
        points = seed_values[name] if len(seed_values[name]) > 1 else ()
        plot = interval_plot(summary.mean, summary.low, summary.high, scale, points)
        better = group.meanings[name].better if name in group.meanings else ""
        texts = (number_text(summary.mean), interval_text(summary.low, summary.high), better)
        rows.append((TableCell(name, heading=True), TableCell(plot=plot), *map(TableCell, texts)))
        ends = map(rounded_or_none, (summary.mean, summary.low, summary.high))
        data.append((name, better, *ends, *by_seed[name]))
    columns = ("metric", "better", "mean", "low", "high", *(f"seed {run.seed}" for run in group.usable))
    return Figure(
        title,
        f"{interval_note(len(group.usable))}"
        f"{'; small dots are single seeds' if len(group.usable) > 1 else ''}. The vertical line is 0."
        f"{negation_note(group.meanings[name] for name in names if name in group.meanings)}",
        FigureData(title.lower().replace(" ", "-").replace(",", ""), columns, tuple(data)),
        table=PageTable(
            ("metric", scale_heading(scale.low, scale.high), "#mean", "#interval", "better"), tuple(rows), "plots"
        ),
    )


def learning_curves_figure(group: SeedGroup, points: int) -> Figure | None:
    """Draw the values that the learner logged during training, one panel per name; None if it logged none."""
    names = dict.fromkeys(name for seed in group.seeds for name in seed.events)
    order = sorted(
        names,
        key=lambda n: (
            FIRST_EVENTS.index(n) if n in FIRST_EVENTS else 9,
            n.endswith("_per_second"),
            n in LAST_EVENTS,
            n,
        ),
    )
    bands = {}
    for name in order[:MAX_PANELS]:
        band = band_over_seeds([seed.events[name] for seed in group.seeds if name in seed.events], points)
        if band is not None:
            bands[name] = band
    if not bands:
        return None
    boundaries = inner_boundaries(group)
    panels = [
        Panel(f"{name.replace('_', ' ')} ({band.seeds} seed{'s' * (band.seeds > 1)})",
              _chart(band, f"{name.replace('_', ' ')}, by step", None, boundaries))
        for name, band in bands.items()
    ]  # fmt: skip
    section_size = max(band.section_size for band in bands.values())
    without_events = ", ".join(str(seed.run.seed) for seed in group.seeds if not seed.events)
    notes = f" Each point is the mean of up to {section_size:,} values of a seed." if section_size > 1 else ""
    notes += f" Without seed {without_events}, whose events are absent or damaged." if without_events else ""
    return Figure(
        "Values logged by the learner during training",
        f"{interval_note(len(group.seeds))}. Vertical lines: boundaries of experiences.{notes}",
        FigureData("learning-curves", ("value", "step", "mean", "low", "high"),
             tuple(row for name, band in bands.items() for row in band_rows(name, band))),
        tuple(panels),
    )  # fmt: skip


def probes_figure(group: SeedGroup, points: int) -> Figure | None:
    """Draw the probes of lost plasticity over time; None without probes."""
    names = dict.fromkeys(r.metric for seed in group.seeds for r in seed.records)
    no_probes = (*filter(is_reference, names), *group.measures, *COSTS, *map(online_name, group.measures))
    seeds = [seed.records for seed in group.seeds]
    every = {name: record_band(seeds, name, None, points) for name in names if name not in no_probes}
    bands = {name: band for name, band in every.items() if band is not None}
    if not bands:
        return None
    boundaries = inner_boundaries(group)
    return Figure(
        "Probes of the network",
        f"Signs of lost plasticity, by step. {interval_note(len(group.seeds))}.",
        FigureData("probes", ("probe", "step", "mean", "low", "high"),
             tuple(row for name, band in bands.items() for row in band_rows(name, band))),
        tuple(Panel(name, _chart(band, f"{name}, by step", None, boundaries)) for name, band in bands.items()),
    )  # fmt: skip


def inner_boundaries(group: SeedGroup) -> list[float]:
    """Return the steps between consecutive experiences; empty if there are more than MAX_BOUNDARIES."""
    steps = [step for _, step in group.boundaries[:-1]]
    return steps if len(steps) <= MAX_BOUNDARIES else []


def _chart(
    band: Band,
    description: str,
    span: tuple[float, float] | None,
    boundaries: Sequence[float],
    own: Sequence[tuple[float, float]] = (),
    color: int = 0,
    baseline: Band | None = None,
) -> Markup:
    known = band.mean[np.isfinite(band.mean)]
    if len(known):
        description = f"{description}: from {short_number(float(known[0]))} to {short_number(float(known[-1]))}"
    lines = [ChartLine("", band.steps, band.mean, band.low, band.high, color)]
    if baseline is not None:
        lines.append(ChartLine("alone", baseline.steps, baseline.mean, color=color + COLORS))
    return line_chart(lines, description, x_label="step", span=span, boundaries=boundaries, shaded=own)


def common_span(bands: Sequence[Band], measure: Measure) -> tuple[float, float] | None:
    """Return the common range of all panels of a figure: the range of the measure if both bounds are known."""
    if not bands:
        return None
    if all(map(math.isfinite, measure.range)):
        return measure.range
    return span_of([ChartLine("", band.steps, band.mean, band.low, band.high) for band in bands])


def row_scale(summaries: Iterable[SeedSummary], seed_values: Iterable[Sequence[float]]) -> LinearScale:
    """Return the scale of a column of intervals, which contains all ends, all values of seeds, and 0."""
    values = [v for s in summaries for v in (s.mean, s.low, s.high)] + [v for points in seed_values for v in points]
    known = [v for v in values if math.isfinite(v)] + [0.0]
    low, high = min(known), max(known)
    return LinearScale(low, high if high > low else low + 1, PLOT_SCALE.start, PLOT_SCALE.end)


def scale_heading(low: float, high: float) -> str:
    """Return the heading of a column of drawings: the ends of its scale."""
    return f"{short_number(low)} … {short_number(high)}"


def evenly_spaced(count: int, limit: int) -> list[int]:
    """Return at most ``limit`` evenly spaced indices below ``count``, including the first and the last one."""
    return [int(i) for i in np.linspace(0, count - 1, min(count, limit))]


def rounded_or_none(value: float) -> float | None:
    """Round a number of the data for download to six digits; None if it is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def mean_note(seeds: int) -> str:
    """Return a note on the number of seeds of a mean without interval."""
    return f"Mean over {seeds} seeds." if seeds > 1 else "A single seed."


def negation_note(meanings: Iterable[MetricMeaning]) -> str:
    """Return a note on the metrics that are computed from losses; empty if there are none."""
    measures = [measure_named(name) for name in dict.fromkeys(meaning.measure for meaning in meanings)]
    losses = [measure.display_name for measure in measures if measure.better == "lower"]
    return f" Negated losses, higher is better: {', '.join(losses)}." if losses else ""
