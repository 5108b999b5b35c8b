"""The sections of a page of several experiments: their ranking, or why there is none, and each by itself."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rlcl.comparison.costs import SPENT, costs
from rlcl.comparison.curves import average_band
from rlcl.comparison.groups import Group
from rlcl.comparison.ranking import ranking
from rlcl.evaluation.metrics import PERFORMANCE, TOPICS
from rlcl.report.page.about import badge
from rlcl.report.page.figures import (
    common_span,
    ends_told,
    inner_boundaries,
    known_or_none,
    negated,
    row_scale,
)
from rlcl.report.page.matrix import r_figure
from rlcl.report.page.parts import Cell, Data, Figure, Panel, Section, Table, Value, band_rows, interval_text, number
from rlcl.report.page.ranked import (
    Ranked,
    aggregates_figure,
    curves_figure,
    learners_figure,
    left_out_figure,
    profiles_figure,
    refused_figure,
    streams_figure,
    verdicts_figure,
)
from rlcl.report.page.svg import Line, interval_plot, line_chart
from rlcl.tracking.runs import Run

__all__ = ["sections"]

PANELS = 24  # experiments that are drawn by themselves
MAPS = 24  # heatmaps of R
CELLS = 4000  # of all of them
OTHERS = 12  # metrics beside the decisive one
R_NOTE = "Rows: trained on last; columns: evaluated on; the stronger its colour, the better. Means over seeds."


def sections(groups: Sequence[Group], runs: Sequence[Run], points: int) -> list[Section]:
    """
    Args:
        groups: at least two, with records.
        runs: all that the page is of, those that are not shown among them.
        points: of a curve.
    """
    found = ranking(runs)
    ranked = None if found.report is None else Ranked.of(found.report)
    if ranked is None:
        first, over_time = _alone(groups, runs, found.refusal), _curves_alone(groups, points)
    else:
        groups = _best_first(groups, ranked)
        first, over_time = _ranked(ranked), curves_figure(ranked, points)
    remarks = " ".join(f"{remark[0].upper()}{remark[1:]}." for remark in (ranked.report.remarks if ranked else ()))
    profiles = profiles_figure(ranked) if ranked else None
    maps, left_out = _maps(groups)
    changes = [_by_metric(name, groups, runs, found.refusal) for name in _changes(groups)]
    others = [_by_metric(name, groups, runs, found.refusal) for name in _asked(groups)]
    return [
        Section("objective", "Objectives", _present(_objectives(groups))),
        Section("aggregates", "Which learner is best", first, remarks),
        Section("profiles", "Performance profiles", _present(profiles)),
        Section("over-time", "Performance over time", _present(over_time)),
        Section("forgetting", "Forgetting and transfer", tuple(changes)),
        Section("metrics", "By other metrics", tuple(others)),
        Section("R", "R of each experiment", tuple(maps), f"{R_NOTE}{left_out}", grid=True),
        Section("cost", "Cost", (_costs(groups),)),
    ]


def _present(*figures: Figure | None) -> tuple[Figure, ...]:
    return tuple(figure for figure in figures if figure is not None)


def _ranked(found: Ranked) -> tuple[Figure, ...]:
    scores = found.report.scores
    single = len(scores.streams) == 1
    table = learners_figure(found, scores.streams[0]) if single else streams_figure(found)
    left_out = left_out_figure(scores.left_out)
    return _present(aggregates_figure(found), table, verdicts_figure(found), left_out)


def _best_first(groups: Sequence[Group], found: Ranked) -> list[Group]:
    """Experiments in the order of their learners, those that are not compared last."""
    place = {name: number for number, name in enumerate(found.learners)}
    learners = {cell.run.group: cell.learner for cell in found.report.scores.cells}
    return sorted(groups, key=lambda group: place.get(learners.get(group.path, ""), len(place)))


def _alone(groups: Sequence[Group], runs: Sequence[Run], refusal: str) -> tuple[Figure, ...]:
    """Why nothing is ranked, and the decisive metric of each experiment by itself."""
    names = dict.fromkeys(name for group in groups if (name := group.decisive))
    paths = [str(run.path) for run in runs]
    return (refused_figure(paths, refusal), *(_each(name, groups, "") for name in names))


def _each(metric: str, groups: Sequence[Group], refusal: str) -> Figure:
    """A metric of each experiment by itself, as they were given, where they cannot be ranked by it."""
    known = [(group, group.summaries[metric]) for group in groups if metric in group.summaries]
    each = [[run.metrics[metric] for run in group.usable] for group, _ in known]
    scale = row_scale([summary for _, summary in known], each)
    rows = []
    for (group, summary), values in zip(known, each, strict=True):
        plot = interval_plot(summary.mean, summary.low, summary.high, scale, values if len(values) > 1 else ())
        texts = (number(summary.mean), interval_text(summary.low, summary.high))
        rows.append((Cell(group.label, heading=True), Cell(plot=plot), *map(Cell, texts)))
    why = f"Not ranked: {refusal}." if refusal else "Not ranked, for the reason above."
    meanings = [group.meanings[metric] for group, _ in known if metric in group.meanings]
    losses = negated(meaning for meaning in meanings if meaning.topic == PERFORMANCE)
    better = "".join(dict.fromkeys(f" {meaning.better.capitalize()} is better." for meaning in meanings))
    return Figure(
        f"{metric} of each experiment by itself",
        f"{why}{better}{losses} Mean and 95 % Student interval over seeds; small dots are the seeds, the vertical line "
        "is 0.",
        Data(metric, ("experiment", "mean", "low", "high"),
             tuple((g.label, *map(known_or_none, (s.mean, s.low, s.high))) for g, s in known)),
        table=Table(("experiment", ends_told(scale.low, scale.high), "#mean", "#interval"), tuple(rows), "plots"),
    )  # fmt: skip


def _changes(groups: Sequence[Group]) -> list[str]:
    """A metric of forgetting and two of transfer, the first that any experiment has."""
    every = {topic: dict.fromkeys(name for g in groups for name in g.about(topic)) for topic in TOPICS}
    return [name for topic, most in zip(TOPICS, (1, 2), strict=True) for name in list(every[topic])[:most]]


def _asked(groups: Sequence[Group]) -> list[str]:
    """The other metrics that an experiment asked for by name."""
    told = dict.fromkeys(name for group in groups if group.usable and group.usable[0].summary.get("names")
                         for name in group.summaries)  # fmt: skip
    shown = {*_changes(groups), *(group.decisive for group in groups)}
    return [name for name in told if name not in shown][:OTHERS]


def _by_metric(name: str, groups: Sequence[Group], runs: Sequence[Run], told: str) -> Figure:
    """The learners by another metric; each experiment by itself where they cannot be compared by it."""
    found = ranking(runs, name)
    if found.report is None:
        return _each(name, groups, "" if found.refusal == told else found.refusal)
    ranked = Ranked.of_learners(found.report)
    if len(found.report.scores.streams) == 1:
        return learners_figure(ranked, found.report.scores.streams[0], name)
    return attrs.evolve(made := streams_figure(ranked), data=attrs.evolve(made.data, name=name))


def _curves_alone(groups: Sequence[Group], points: int) -> Figure | None:
    """The decisive measure of each experiment over time, a panel each."""
    panels: list[Panel] = []
    rows: list[tuple[Value, ...]] = []
    for group in groups[:PANELS]:
        band = average_band(group.results(), len(group.names), max(12, points // 4))
        if band is None:
            continue
        line = Line("", band.steps, band.mean, band.low, band.high)
        told = f"mean {group.measured.called} over experiences, by step, {group.label}"
        span = common_span([band], group.measured)
        drawing = line_chart([line], told, across="step", span=span, boundaries=inner_boundaries(group))
        panels.append(Panel(f"{group.label} ({group.measured.called})", drawing))
        rows += band_rows(group.label, band)
    return None if not panels else Figure(
        "Mean over all experiences, each experiment by itself",
        "By step, with 95 % Student intervals over seeds."
        + (f" The first {PANELS} of {len(groups)}." if len(groups) > PANELS else ""),
        Data("over-time", ("experiment", "step", "mean", "low", "high"), tuple(rows)),
        tuple(panels),
    )  # fmt: skip


def _maps(groups: Sequence[Group]) -> tuple[list[Figure], str]:
    """R of as many experiments as a page can hold, and how many these are."""
    mapped = [group for group in groups if len(group.names) > 1]
    most = max(1, min(MAPS, CELLS // max((len(group.names) ** 2 for group in mapped), default=1)))
    maps = [r_figure(group, title=group.label, short=True) for group in mapped[:most]]
    return maps, f" The first {most} of {len(mapped)} experiments." if len(mapped) > most else ""


def _costs(groups: Sequence[Group]) -> Figure:
    """A row an experiment: parameters, memory, updates, time."""
    rows, data = [], []
    for group in groups:
        found = costs(group)
        means = [found[name].mean if name in found else None for name in SPENT]
        texts = ["" if m is None else f"{m:,.0f}" if m >= 100 or m == int(m) else f"{m:.3g}" for m in means]
        rows.append((Cell(group.label, heading=True), *map(Cell, texts)))
        data.append((group.label, *means))
    return Figure(
        "What a seed has cost",
        "Mean over seeds. Memory is of methods and learners, in bytes; time includes evaluation.",
        Data("cost", ("experiment", *SPENT), tuple(data)),
        table=Table(("experiment", *(f"#{name.replace('_', ' ')}" for name in SPENT)), tuple(rows)),
    )


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
