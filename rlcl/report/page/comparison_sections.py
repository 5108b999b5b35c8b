"""Sections of a page of several experiments: their ranking if they can be compared, and each experiment separately."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rlcl.comparison.costs import COSTS_AND_TIMES, costs
from rlcl.comparison.curves import average_band
from rlcl.comparison.groups import SeedGroup
from rlcl.comparison.ranking import rank_runs
from rlcl.evaluation.metrics import PERFORMANCE, TOPICS
from rlcl.report.page.figures import (
    common_span,
    inner_boundaries,
    negation_note,
    rounded_or_none,
    row_scale,
    scale_heading,
)
from rlcl.report.page.matrix import r_figure
from rlcl.report.page.parts import (
    CellValue,
    Figure,
    FigureData,
    PageTable,
    Panel,
    Section,
    TableCell,
    band_rows,
    interval_text,
    number_text,
)
from rlcl.report.page.ranking_figures import (
    ComparisonTables,
    aggregates_figure,
    curves_figure,
    learners_figure,
    left_out_figure,
    profiles_figure,
    rejection_figure,
    streams_figure,
    verdicts_figure,
)
from rlcl.report.page.run_details import badge
from rlcl.report.page.svg import ChartLine, interval_plot, line_chart
from rlcl.tracking.runs import StoredRun

__all__ = ["comparison_sections"]

MAX_PANELS = 24  # experiments with a separate panel
MAX_HEATMAPS = 24  # heatmaps of R
MAX_CELLS = 4000  # of all heatmaps together
MAX_METRICS = 12  # in addition to the main metric
R_NOTE = (
    "Rows: experience trained on last. Columns: experience evaluated. Stronger colors are better values. Means over "
    "seeds."
)


def comparison_sections(groups: Sequence[SeedGroup], runs: Sequence[StoredRun], points: int) -> list[Section]:
    """Return the sections of the page, some of which may have no figures.

    Args:
        groups: at least two experiments with records.
        runs: all runs of the page, including runs that are not shown.
        points: maximum number of points of a curve.
    """
    ranking = rank_runs(runs)
    comparison = None if ranking.report is None else ComparisonTables.of(ranking.report)
    if comparison is None:
        main_figures, over_time = _unranked_figures(groups, runs, ranking.error), _separate_curves(groups, points)
    else:
        groups = _best_first(groups, comparison)
        main_figures, over_time = _ranking_figures(comparison), curves_figure(comparison, points)
    caveat_texts = comparison.report.caveats if comparison else ()
    caveats = " ".join(f"{caveat[0].upper()}{caveat[1:]}." for caveat in caveat_texts)
    profiles = profiles_figure(comparison) if comparison else None
    heatmaps, selection = _heatmaps(groups)
    changes = [_metric_figure(name, groups, runs, ranking.error) for name in _change_metrics(groups)]
    others = [_metric_figure(name, groups, runs, ranking.error) for name in _requested_metrics(groups)]
    return [
        Section("objective", "Objectives", _without_none(_objectives(groups))),
        Section("aggregates", "Ranking of the learners", main_figures, caveats),
        Section("profiles", "Performance profiles", _without_none(profiles)),
        Section("over-time", "Performance over time", _without_none(over_time)),
        Section("forgetting", "Forgetting and transfer", tuple(changes)),
        Section("metrics", "Other metrics", tuple(others)),
        Section("R", "R of each experiment", tuple(heatmaps), f"{R_NOTE}{selection}", grid=True),
        Section("cost", "Cost", (_costs(groups),)),
    ]


def _without_none(*figures: Figure | None) -> tuple[Figure, ...]:
    return tuple(figure for figure in figures if figure is not None)


def _ranking_figures(comparison: ComparisonTables) -> tuple[Figure, ...]:
    scores = comparison.report.scores
    single = len(scores.streams) == 1
    table = learners_figure(comparison, scores.streams[0]) if single else streams_figure(comparison)
    left_out = left_out_figure(scores.left_out)
    return _without_none(aggregates_figure(comparison), table, verdicts_figure(comparison), left_out)


def _best_first(groups: Sequence[SeedGroup], comparison: ComparisonTables) -> list[SeedGroup]:
    """Return the experiments in the order of their learners; experiments that are not compared come last."""
    position = {name: i for i, name in enumerate(comparison.learners)}
    learners = {score.run.group: score.learner for score in comparison.report.scores.run_scores}
    return sorted(groups, key=lambda group: position.get(learners.get(group.path, ""), len(position)))


def _unranked_figures(groups: Sequence[SeedGroup], runs: Sequence[StoredRun], reason: str) -> tuple[Figure, ...]:
    """Return the reason why nothing is ranked, and the main metric of each experiment separately."""
    names = dict.fromkeys(name for group in groups if (name := group.main_metric))
    paths = [str(run.path) for run in runs]
    return (rejection_figure(paths, reason), *(_separate_metric(name, groups, "") for name in names))


def _separate_metric(metric: str, groups: Sequence[SeedGroup], reason: str) -> Figure:
    """Draw a metric of each experiment separately, in the order of the groups.

    Args:
        metric: name of the metric.
        groups: the experiments.
        reason: the reason why they are not ranked by the metric; empty if the page has given it before.
    """
    known = [(group, group.summaries[metric]) for group in groups if metric in group.summaries]
    seed_values = [[run.metrics[metric] for run in group.usable if metric in run.metrics] for group, _ in known]
    scale = row_scale([summary for _, summary in known], seed_values)
    rows = []
    for (group, summary), values in zip(known, seed_values, strict=True):
        plot = interval_plot(summary.mean, summary.low, summary.high, scale, values if len(values) > 1 else ())
        texts = (number_text(summary.mean), interval_text(summary.low, summary.high))
        rows.append((TableCell(group.label, heading=True), TableCell(plot=plot), *map(TableCell, texts)))
    why = f"Not ranked: {reason}." if reason else "Not ranked, for the reason above."
    meanings = [group.meanings[metric] for group, _ in known if metric in group.meanings]
    losses = negation_note(meaning for meaning in meanings if meaning.topic == PERFORMANCE)
    better = "".join(dict.fromkeys(f" {meaning.better.capitalize()} is better." for meaning in meanings))
    return Figure(
        f"{metric} of each experiment, not ranked",
        f"{why}{better}{losses} Mean with 95 % Student interval over seeds. Small dots: single seeds. The vertical "
        "line is 0.",
        FigureData(metric, ("experiment", "mean", "low", "high"),
             tuple((g.label, *map(rounded_or_none, (s.mean, s.low, s.high))) for g, s in known)),
        table=PageTable(
            ("experiment", scale_heading(scale.low, scale.high), "#mean", "#interval"), tuple(rows), "plots"
        ),
    )  # fmt: skip


def _change_metrics(groups: Sequence[SeedGroup]) -> list[str]:
    """Return one metric of forgetting and two of transfer, the first ones that any experiment has."""
    by_topic = {topic: dict.fromkeys(name for g in groups for name in g.metrics_about(topic)) for topic in TOPICS}
    return [name for topic, limit in zip(TOPICS, (1, 2), strict=True) for name in list(by_topic[topic])[:limit]]


def _requested_metrics(groups: Sequence[SeedGroup]) -> list[str]:
    """Return the other metrics that the config of an experiment requests by name."""
    requested = dict.fromkeys(name for group in groups if group.usable and group.usable[0].summary.get("names")
                              for name in group.summaries)  # fmt: skip
    shown = {*_change_metrics(groups), *(group.main_metric for group in groups)}
    return [name for name in requested if name not in shown][:MAX_METRICS]


def _metric_figure(name: str, groups: Sequence[SeedGroup], runs: Sequence[StoredRun], known_reason: str) -> Figure:
    """Draw the ranking by another metric; each experiment separately if they cannot be compared by it.

    Args:
        name: name of the metric.
        groups: the experiments.
        runs: all runs of the page.
        known_reason: the reason against a ranking by the main metric, which is not repeated; empty if there is none.
    """
    ranking = rank_runs(runs, name)
    if ranking.report is None:
        return _separate_metric(name, groups, "" if ranking.error == known_reason else ranking.error)
    comparison = ComparisonTables.of_learners(ranking.report)
    if len(ranking.report.scores.streams) == 1:
        return learners_figure(comparison, ranking.report.scores.streams[0], name)
    figure = streams_figure(comparison)
    return attrs.evolve(figure, data=attrs.evolve(figure.data, name=name))


def _separate_curves(groups: Sequence[SeedGroup], points: int) -> Figure | None:
    """Draw the primary measure of each experiment over time, one panel per experiment."""
    panels: list[Panel] = []
    rows: list[tuple[CellValue, ...]] = []
    for group in groups[:MAX_PANELS]:
        band = average_band(group.results(), len(group.evaluated_names), max(12, points // 4))
        if band is None:
            continue
        line = ChartLine("", band.steps, band.mean, band.low, band.high)
        description = f"mean {group.primary_measure.display_name} over experiences, by step, {group.label}"
        span = common_span([band], group.primary_measure)
        boundaries = inner_boundaries(group)
        drawing = line_chart([line], description, x_label="step", span=span, boundaries=boundaries)
        panels.append(Panel(f"{group.label} ({group.primary_measure.display_name})", drawing))
        rows += band_rows(group.label, band)
    return None if not panels else Figure(
        "Mean over all experiences, one panel per experiment",
        "By step, with 95 % Student intervals over seeds."
        + (f" The first {MAX_PANELS} of {len(groups)} experiments." if len(groups) > MAX_PANELS else ""),
        FigureData("over-time", ("experiment", "step", "mean", "low", "high"), tuple(rows)),
        tuple(panels),
    )  # fmt: skip


def _heatmaps(groups: Sequence[SeedGroup]) -> tuple[list[Figure], str]:
    """Return R of the first experiments, limited by the size of the page, and a note on the selection."""
    candidates = [group for group in groups if len(group.evaluated_names) > 1]
    largest = max((len(group.evaluated_names) ** 2 for group in candidates), default=1)
    limit = max(1, min(MAX_HEATMAPS, MAX_CELLS // largest))
    heatmaps = [r_figure(group, title=group.label, short=True) for group in candidates[:limit]]
    return heatmaps, f" The first {limit} of {len(candidates)} experiments." if len(candidates) > limit else ""


def _costs(groups: Sequence[SeedGroup]) -> Figure:
    """Return a table of parameters, memory, updates and time, one row per experiment."""
    rows, data = [], []
    for group in groups:
        group_costs = costs(group)
        means = [group_costs[name].mean if name in group_costs else None for name in COSTS_AND_TIMES]
        texts = ["" if m is None else f"{m:,.0f}" if m >= 100 or m == int(m) else f"{m:.3g}" for m in means]
        rows.append((TableCell(group.label, heading=True), *map(TableCell, texts)))
        data.append((group.label, *means))
    return Figure(
        "Cost per seed",
        "Mean over seeds. Memory includes methods and learner. Times are in seconds and include evaluation.",
        FigureData("cost", ("experiment", *COSTS_AND_TIMES), tuple(data)),
        table=PageTable(("experiment", *(f"#{name.replace('_', ' ')}" for name in COSTS_AND_TIMES)), tuple(rows)),
    )


def _objectives(groups: Sequence[SeedGroup]) -> Figure | None:
    """Return a table of the verdicts on the objectives; None if no experiment has conditions."""
    rows: list[tuple[TableCell, ...]] = []
    data: list[tuple[CellValue, ...]] = []
    for group in groups:
        if (verdict := group.verdict) is None:
            continue
        texts = [f"{c.condition} ({c.value_text})" if c.value_text else c.condition for c in verdict.conditions]
        conditions = TableCell("; ".join(texts), kind="wrap")
        rows.append((TableCell(group.label, heading=True), conditions, badge(verdict.status)))
        data.append((group.label, "; ".join(c.condition for c in verdict.conditions), verdict.status))
    return None if not rows else Figure(
        "Conditions of success",
        "With the mean over seeds in parentheses; for a constraint, the maximum over seeds.",
        FigureData("objectives", ("experiment", "conditions", "verdict"), tuple(data)),
        table=PageTable(("experiment", "conditions", "verdict"), tuple(rows)),
    )  # fmt: skip
