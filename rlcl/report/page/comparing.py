"""The sections of a page of several experiments: aggregates, profiles, curves, forgetting, R and cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from rlcl.report.page.about import badge, spent
from rlcl.report.page.curves import Band
from rlcl.report.page.figures import average_curve, called, ends_told, inner_boundaries, known_or_none, row_scale
from rlcl.report.page.groups import Group
from rlcl.report.page.matrix import r_figure
from rlcl.report.page.parts import Cell, Data, Figure, Panel, Section, Table, Value, band_rows, interval_text, number
from rlcl.report.page.scores import Comparison, comparisons
from rlcl.report.page.svg import Line, Scale, interval_plot, line_chart
from rlcl.statistics.aggregates import bootstrap, interquartile_mean, mean, median, optimality_gap, profile_bands
from rlcl.statistics.intervals import summarize

__all__ = ["sections"]

LINES = 8  # of one chart: more cannot be told apart
MAPS = 24  # heatmaps of R
CELLS = 4000  # of all of them
REPLICATIONS = 2_000
THRESHOLDS = 61
R_NOTE = "Rows: trained on last; columns: evaluated on; the stronger its colour, the better. Means over seeds."


def sections(groups: Sequence[Group], points: int) -> list[Section]:
    """
    Args:
        groups: at least two, with records.
        points: of a curve.
    """
    found = comparisons(groups)
    groups = [c.groups[n, s] for c in found for n in c.learners for s in c.streams if (n, s) in c.groups]  # best first
    mapped = [g for g in groups if len(g.names) > 1]
    mapped = mapped[: max(1, min(MAPS, CELLS // max((len(g.names) ** 2 for g in mapped), default=1)))]
    maps = [r_figure(g, title=g.label, short=True) for g in mapped]
    tables = [figure for c in found for figure in (_aggregates(c), _by_stream(c))]
    left_out = f" The best {len(maps)} of {len(groups)} experiments." if len(groups) > len(maps) else ""
    return [
        Section("objective", "Objectives", tuple(f for f in [_objectives(groups)] if f)),
        Section("aggregates", "Which learner is best", tuple(f for f in tables if f)),
        Section("profiles", "Performance profiles", tuple(f for c in found if (f := _profiles(c)))),
        Section("over-time", "Performance over time", tuple(f for c in found if (f := _curves(c, points)))),
        Section("forgetting", "Forgetting and transfer", tuple(f for c in found for f in _transfer(c))),
        Section("R", "R of each experiment", tuple(maps), f"{R_NOTE}{left_out}", grid=True),
        Section("cost", "Cost", (_costs(groups),)),
    ]


def _aggregates(found: Comparison) -> Figure | None:
    """IQM, mean, median and optimality gap of each learner, with intervals."""
    if not found.scores:
        return None
    rows, data = [], []
    single = len(found.streams) == 1
    rng = np.random.default_rng(0)  # the page of the same runs is the same
    bounds = {}
    for name in found.learners:
        if name in found.scores:
            scores = found.scores[name]
            student = summarize(scores[:, 0].tolist())
            boot = bootstrap(scores, interquartile_mean, rng, replications=REPLICATIONS)
            bounds[name] = (student.mean, student.low, student.high) if single else (
                float(boot.value), float(boot.low), float(boot.high))  # fmt: skip
    known = [v for triple in bounds.values() for v in triple if math.isfinite(v)]
    scale = Scale(min(known), max(known) if max(known) > min(known) else min(known) + 1, 8, 172)
    within = all(s.min() >= 0 and s.max() <= 1 for s in found.scores.values())
    for name, (value, low, high) in bounds.items():
        scores = found.scores[name]
        points = scores[:, 0].tolist() if single and len(scores) > 1 else ()
        told = [float(interquartile_mean(scores)), float(mean(scores)), float(median(scores))]
        told += [float(optimality_gap(scores))] if within else []
        plot = Cell(plot=interval_plot(value, low, high, scale, points))
        texts = [interval_text(low, high), *map(number, told), str(len(scores))]
        rows.append((Cell(name, heading=True), plot, *map(Cell, texts)))
        data.append((name, value, known_or_none(low), known_or_none(high), *told, len(scores)))
    decisive = "mean" if single else "IQM"
    interval = "95 % Student interval over seeds" if single else "95 % interval by the stratified bootstrap"
    scaled = " Scores are brought to [0, 1] between the worst and the best run of each stream." if found.scaled else ""
    gap = "; optimality gap: how far runs stay below 1" if within else ""
    missing = [name for name in found.learners if name not in found.scores]
    left_out = f" Not finished on all streams: {', '.join(missing)}." if missing else ""
    columns = ("#IQM", "#mean", "#median", *(["#optimality gap"] if within else []), "#seeds")
    return Figure(
        f"{found.metric} of each learner" + ("" if single else f" over {len(found.streams)} streams"),
        f"Best first, by the mean. Dot and bar: the {decisive} with its {interval}. IQM: mean of the middle half of "
        f"all runs{gap} (Agarwal et al. 2021).{scaled}{left_out}",
        Data(f"aggregates-{called(found.measure)}", ("learner", decisive, "low", "high",
             *(c.removeprefix("#") for c in columns)), tuple(data)),
        table=Table(("learner", ends_told(scale.low, scale.high), "#interval", *columns), tuple(rows), "plots"),
    )  # fmt: skip


def _by_stream(found: Comparison) -> Figure | None:
    """The mean of each learner on each stream; None for a single stream."""
    if len(found.streams) < 2:
        return None
    rows, data = [], []
    for name in found.learners:
        cells = [Cell(name, heading=True)]
        for stream in found.streams:
            group = found.groups.get((name, stream))
            summary = group.summaries.get(found.metric) if group else None
            text = "" if summary is None else number(summary.mean)
            if summary is not None and math.isfinite(summary.half_width):
                text += f" ± {number(summary.half_width)}"
            cells.append(Cell(text))
            told = () if summary is None else (summary.mean, summary.low, summary.high)
            data.append((name, stream, *(map(known_or_none, told) if told else (None, None, None))))
        rows.append(tuple(cells))
    return Figure(
        f"{found.metric} on each stream",
        "Mean and half of the 95 % Student interval over seeds.",
        Data("streams", ("learner", "stream", "mean", "low", "high"), tuple(data)),
        table=Table(("learner", *(f"#{stream}" for stream in found.streams)), tuple(rows)),
    )


def _profiles(found: Comparison) -> Figure | None:
    """The share of runs above each score; None with a single learner, or runs too few to draw a line."""
    chosen = [name for name in found.learners if name in found.scores][:LINES]
    if len(chosen) < 2 or max(found.scores[name].size for name in chosen) < 3:
        return None
    every = np.concatenate([found.scores[name].ravel() for name in chosen])
    thresholds = np.linspace(float(every.min()), float(every.max()), THRESHOLDS)
    rng = np.random.default_rng(0)
    bands = {}
    for name in chosen:
        told = profile_bands(found.scores[name], thresholds, rng, replications=REPLICATIONS)
        bands[name] = Band(thresholds, told.value, told.low, told.high, len(found.scores[name]))
    of = f" The best {LINES} of {len(found.learners)}." if len(found.learners) > LINES else ""
    return Figure(
        f"Performance profiles: {found.metric}",
        f"The share of runs above each score; higher is better everywhere. 95 % bands by the bootstrap.{of}",
        Data("profiles", ("learner", "score", "share", "low", "high"),
             tuple(row for name, band in bands.items() for row in band_rows(name, band))),
        (Panel(found.metric, _lines(bands, "share of runs above a score", found.metric, (0.0, 1.0))),),
        wide=True,
    )  # fmt: skip


def _curves(found: Comparison, points: int) -> Figure | None:
    """The mean over experiences by step, a panel a stream and a line a learner."""
    panels, rows = [], []
    for stream in found.streams:
        bands, drawn = {}, []
        for name in found.learners[:LINES]:
            group = found.groups.get((name, stream))
            band = average_curve(group, max(12, points // max(4, len(found.streams)))) if group else None
            if band is not None and group is not None:
                bands[name] = band
                drawn.append(group)
                rows += [(stream, *row) for row in band_rows(name, band)]
        if bands:
            boundaries = inner_boundaries(drawn[0])
            told = f"mean {called(found.measure)} over experiences, by step, {stream}"
            panels.append(
                Panel(stream, _lines(bands, told, "step", None, boundaries if len(found.streams) == 1 else ()))
            )
    if not panels:
        return None
    of = f" The best {LINES} of {len(found.learners)} learners." if len(found.learners) > LINES else ""
    return Figure(
        f"Mean {called(found.measure)} over all experiences",
        f"By step, with 95 % Student intervals over seeds.{of}",
        Data("over-time", ("stream", "learner", "step", "mean", "low", "high"), tuple(rows)),
        tuple(panels),
        wide=True,
    )


def _lines(
    bands: dict[str, Band],
    told: str,
    across: str,
    span: tuple[float, float] | None,
    boundaries: Sequence[float] = (),
) -> Markup:
    lines = [Line(name, b.steps, b.mean, b.low, b.high, i) for i, (name, b) in enumerate(bands.items())]
    return line_chart(lines, told, across=across, span=span, boundaries=boundaries, width=440, height=230)


def _transfer(found: Comparison) -> list[Figure]:
    """A figure a metric: a row an experiment."""
    groups = [found.groups[n, s] for n in found.learners for s in found.streams if (n, s) in found.groups]
    names = [n for n in dict.fromkeys(n for g in groups for n in g.summaries) if "transfer" in n or "forgetting" in n]
    first = [n for n in ("forgetting.chaudhry", "backward_transfer", "forward_transfer.gem") if n in names]
    made = []
    for name in first or names[:3]:
        known = [(g, g.summaries[name]) for g in groups if name in g.summaries]
        each = [[s.run.metrics[name] for s in g.seeds if name in s.run.metrics] for g, _ in known]
        scale = row_scale([s for _, s in known], each)
        rows = [
            (Cell(g.label, heading=True),
             Cell(plot=interval_plot(s.mean, s.low, s.high, scale, e if len(e) > 1 else ())),
             Cell(number(s.mean)), Cell(interval_text(s.low, s.high)))
            for (g, s), e in zip(known, each, strict=True)
        ]  # fmt: skip
        better = "Lower is better." if "forgetting" in name else "Higher is better."
        made.append(Figure(
            f"{name} ({called(found.measure)})",
            f"{better} Mean and 95 % Student interval over seeds; small dots are the seeds, the vertical line is 0.",
            Data(name, ("experiment", "mean", "low", "high"),
                 tuple((g.label, *map(known_or_none, (s.mean, s.low, s.high))) for g, s in known)),
            table=Table(("experiment", ends_told(scale.low, scale.high), "#mean", "#interval"), tuple(rows),
                        "plots"),
        ))  # fmt: skip
    return made


def _costs(groups: Sequence[Group]) -> Figure:
    """A row an experiment: parameters, memory, updates, time."""
    names = ("parameters", "memory_bytes", "updates", "samples", "seconds", "cpu_seconds")
    rows, data = [], []
    for group in groups:
        each = [spent(seed) for seed in group.seeds]
        means = [float(np.mean([e[n] for e in each])) if all(n in e for e in each) else None for n in names]
        texts = ["" if m is None else f"{m:,.0f}" if m >= 100 or m == int(m) else f"{m:.3g}" for m in means]
        rows.append((Cell(group.label, heading=True), *map(Cell, texts)))
        data.append((group.label, *means))
    return Figure(
        "What a seed has cost",
        "Mean over seeds. Memory is of methods and learners, in bytes; time includes evaluation.",
        Data("cost", ("experiment", *names), tuple(data)),
        table=Table(("experiment", "#parameters", "#memory", "#updates", "#samples", "#seconds", "#CPU seconds"),
                    tuple(rows)),
    )  # fmt: skip


def _objectives(groups: Sequence[Group]) -> Figure | None:
    """Which experiment met the conditions of success; None where none has any."""
    rows: list[tuple[Cell, ...]] = []
    data: list[tuple[Value, ...]] = []
    for group in groups:
        if (found := group.verdict) is None:
            continue
        told = [f"{j.condition} ({j.shown})" if j.shown else j.condition for j in found.judgements]
        rows.append((Cell(group.label, heading=True), Cell("; ".join(told), kind="wrap"), badge(found.said)))
        data.append((group.label, "; ".join(j.condition for j in found.judgements), found.said))
    return None if not rows else Figure(
        "Conditions of success",
        "With the mean over seeds; of a constraint with the most of all seeds.",
        Data("objectives", ("experiment", "conditions", "verdict"), tuple(data)),
        table=Table(("experiment", "conditions", "verdict"), tuple(rows)),
    )  # fmt: skip
