"""Section of the page that shows a hyper-parameter search: history, parallel coordinates, importance, effects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from rlcl.comparison.search import SearchParameter, SearchResults, SearchTrial
from rlcl.report.page.parts import (
    Figure,
    FigureData,
    PageTable,
    Panel,
    Section,
    TableCell,
    as_value,
    interval_text,
    number_text,
)
from rlcl.report.page.svg import LinearScale, draw_axes, interval_plot, short_number, svg_element, ticks

__all__ = ["search_section"]

PLOT = (8.0, 172.0)  # positions of the ends of a plot in a table
HISTORY_WIDTH, HISTORY_HEIGHT = 560, 220
AXIS_DISTANCE, COORDINATES_HEIGHT = 130, 260
BEST = 0.1  # share of the trials that are highlighted


def search_section(search: SearchResults) -> Section:
    """Return the section of a search, whose winner the page shows."""
    figures = [_history(search), _coordinates(search), _importance(search), _effects(search)]
    return Section("search", "Search", tuple(figure for figure in figures if figure is not None), _note(search))


def _note(search: SearchResults) -> str:
    states = [trial.state for trial in search.trials]
    names = {"fail": "failed"}  # Optuna's state
    counts = ", ".join(f"{states.count(state)} {names.get(state, state)}" for state in dict.fromkeys(states))
    winner = next((trial for trial in search.trials if trial.number == search.winner), None)
    values = "" if winner is None else "; ".join(_setting(search, winner))
    seeds = ", ".join(map(str, search.protocol.get("tuning_seeds", ())))
    plural = "s" * ("," in seeds)
    held_out = search.protocol.get("trials_evaluated_on") == "validation"
    trials_data, winner_data = (" on validation data", " on test data") if held_out else ("", "")
    return (
        f"{len(search.trials)} trials by {search.sampler} ({counts}), evaluated{trials_data} with the tuning "
        f"seed{plural} {seeds}. The winner is trial {search.winner}: {values}. The other sections show its runs with "
        f"fresh seeds{winner_data}."
    )


def _setting(search: SearchResults, trial: SearchTrial) -> list[str]:
    return [f"{p.label} {_value_text(trial.parameters[p.name])}" for p in search.parameters]


def _value_text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _history(search: SearchResults) -> Figure | None:
    complete = search.complete
    if not complete:
        return None
    values = [trial.values[0] for trial in complete]
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.1 * (abs(high) or 1)
    y_ticks = ticks(low - margin, high + margin)
    left = max(26.0, 6.0 * max(len(short_number(v)) for v in y_ticks) + 9)
    x = LinearScale(0, max(trial.number for trial in search.trials) or 1, left, HISTORY_WIDTH - 10)
    y = LinearScale(low - margin, high + margin, HISTORY_HEIGHT - 30.0, 10)
    steps, best = [], search.best_so_far
    for index, trial in enumerate(complete):
        if index:
            steps.append(f"{x(trial.number):.1f} {y(best[index - 1]):.1f}")
        steps.append(f"{x(trial.number):.1f} {y(best[index]):.1f}")
    parts = [draw_axes(x, y, y_ticks, "trial", HISTORY_WIDTH), f'<path class="line c1" d="M{"L".join(steps)}"/>']
    for trial in complete:
        tooltip = escape(f"trial {trial.number}: {short_number(trial.values[0])}; {'; '.join(_setting(search, trial))}")
        radius = 5 if trial.number == search.winner else 3
        parts.append(
            f'<circle class="dot c0" cx="{x(trial.number):.1f}" cy="{y(trial.values[0]):.1f}" r="{radius}">'
            f"<title>{tooltip}</title></circle>"
        )
    drawing = svg_element("".join(parts), f"{search.names[0]} by trial", HISTORY_WIDTH, HISTORY_HEIGHT)
    rows = tuple(
        (
            trial.number,
            trial.state,
            *(trial.values or (None,) * len(search.names)),
            *(as_value(trial.parameters[parameter.name]) for parameter in search.parameters),
        )
        for trial in search.trials
    )
    columns = ("trial", "state", *search.names, *(parameter.name for parameter in search.parameters))
    return Figure(
        "History",
        f"{search.names[0]} of each complete trial; {search.better()} is better. Line: best value so far. Large dot: "
        "the winner.",
        FigureData("search-history", columns, rows),
        (Panel("", drawing),),
        wide=True,
    )


def _coordinates(search: SearchResults) -> Figure | None:
    complete = search.complete
    if len(complete) < 2:
        return None
    sign = -1 if search.better() == "lower" else 1
    ranked = sorted(complete, key=lambda trial: sign * trial.values[0])
    best = {trial.number for trial in ranked[-max(1, round(BEST * len(ranked))) :]}
    scales = [_objective_scale(complete, index) for index in range(len(search.names))]
    axes = len(search.parameters) + len(scales)
    width, top, bottom = 80 + AXIS_DISTANCE * (axes - 1) + 80, 34, COORDINATES_HEIGHT - 12
    y = LinearScale(0, 1, bottom, top)
    places = [80 + AXIS_DISTANCE * index for index in range(axes)]
    parts = []
    for trial in ranked:
        heights = [parameter.place(trial.parameters[parameter.name]) for parameter in search.parameters]
        heights += [scale(value) for scale, value in zip(scales, trial.values, strict=True)]
        points = "L".join(f"{place} {y(height):.1f}" for place, height in zip(places, heights, strict=True))
        kind = (
            "trial winner c1"
            if trial.number == search.winner
            else "trial best c1"
            if trial.number in best
            else "trial c0"
        )
        tooltip = escape(f"trial {trial.number}: {short_number(trial.values[0])}; {'; '.join(_setting(search, trial))}")
        parts.append(f'<path class="{kind}" d="M{points}"><title>{tooltip}</title></path>')
    labels = [(parameter.label, _axis_ticks(parameter)) for parameter in search.parameters]
    labels += [
        (name, [(0.0, short_number(scale.low)), (1.0, short_number(scale.high))])
        for name, scale in zip(search.names, scales, strict=True)
    ]
    for place, (name, marks) in zip(places, labels, strict=True):
        parts.append(f'<line class="zero" x1="{place}" x2="{place}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{place}" y="{top - 18}" text-anchor="middle">{escape(name)}</text>')
        parts += [
            f'<text class="tick halo" x="{place + 6}" y="{y(height) + 3.5:.1f}">{escape(text)}</text>'
            for height, text in marks
        ]
    return Figure(
        "Parallel coordinates",
        f"One line per complete trial. Highlighted: the best {BEST:.0%}; thick: the winner.",
        FigureData(
            "search-trials",
            ("trial", *(parameter.name for parameter in search.parameters), *search.names),
            tuple(
                (t.number, *(as_value(t.parameters[p.name]) for p in search.parameters), *t.values) for t in complete
            ),
        ),
        (Panel("", svg_element("".join(parts), "parameters and objectives of each trial", width, COORDINATES_HEIGHT)),),
        wide=True,
    )


def _objective_scale(trials: Sequence[SearchTrial], index: int) -> LinearScale:
    values = [trial.values[index] for trial in trials]
    return LinearScale(min(values), max(values), 0, 1)


def _axis_ticks(parameter: SearchParameter) -> list[tuple[float, str]]:
    if parameter.labels:
        return [(parameter.place(label), label) for label in parameter.labels]
    return [(0.0, short_number(parameter.low)), (1.0, short_number(parameter.high))]


def _importance(search: SearchResults) -> Figure | None:
    importance = search.importance()
    if importance is None:
        return None
    scale = LinearScale(0, 1, *PLOT)
    rows = []
    for name, share in importance.items():
        width = (PLOT[1] - PLOT[0]) * share
        bar = Markup(
            '<svg class="inline" viewBox="0 0 180 20" aria-hidden="true">'
            f'<rect class="bar c0" x="{scale(0):.1f}" y="5" width="{width:.1f}" height="10"/></svg>'
        )
        rows.append((TableCell(name, heading=True), TableCell(plot=bar), TableCell(f"{share:.2f}")))
    return Figure(
        "Importance of the parameters",
        f"Share of the variance of {search.names[0]} that a parameter explains, estimated by fANOVA from "
        f"{len(search.complete)} complete trials (Hutter et al. 2014). With few trials, it is uncertain.",
        FigureData("search-importance", ("parameter", "importance"), tuple(importance.items())),
        table=PageTable(("parameter", "0 to 1", "#importance"), tuple(rows), "plots"),
    )


def _effects(search: SearchResults) -> Figure | None:
    rows = list(search.effects())
    if not rows:
        return None
    points = [point for row in rows for point in row.points]
    low, high = min(points), max(points)
    margin = 0.05 * (high - low) or 0.1 * (abs(high) or 1)
    scale = LinearScale(low - margin, high + margin, *PLOT)
    cells, data = [], []
    for index, row in enumerate(rows):
        first = not index or rows[index - 1].parameter is not row.parameter
        summary = row.summary
        plot = interval_plot(summary.mean, summary.low, summary.high, scale, row.points)
        texts = [number_text(summary.mean), interval_text(summary.low, summary.high), number_text(row.best)]
        cells.append(
            (
                TableCell(row.parameter.name if first else "", heading=True),
                TableCell(plot=plot),
                TableCell(row.values),
                *map(TableCell, [*texts, str(summary.seeds)]),
            )
        )
        ends = [None if math.isnan(end) else end for end in (summary.low, summary.high)]
        data.append((row.parameter.name, row.values, summary.mean, *ends, row.best, summary.seeds))
    return Figure(
        "Sensitivity",
        f"{search.names[0]} of the trials with each value of a parameter, or in each part of its range; "
        f"{search.better()} is better. Large dot and bar: mean with 95 % Student interval. Small dots: trials. The "
        "sampler chose the other parameters, mostly near good values, so a mean is no effect of this parameter alone.",
        FigureData("search-effects", ("parameter", "values", "mean", "low", "high", "best", "trials"), tuple(data)),
        table=PageTable(
            (
                "parameter",
                f"{short_number(low)} to {short_number(high)}",
                "values",
                "#mean",
                "#interval",
                "#best",
                "#trials",
            ),
            tuple(cells),
            "plots",
        ),
    )
