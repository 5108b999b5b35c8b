"""Figures of the features in drift: a table over all windows, and distributions before and now."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
from markupsafe import Markup

from rlcl.deploy.deployment import Deployment
from rlcl.deploy.log import AnswerPage, RequestLog
from rlcl.deploy.monitoring.comparisons import column_names, feature_matrix, sorted_features
from rlcl.deploy.monitoring.log_monitor import find_reference
from rlcl.deploy.monitoring.monitor import DriftLine
from rlcl.deploy.monitoring.reference import is_discrete, watched_output
from rlcl.deploy.monitoring.statistics import ks_distances
from rlcl.report.page.parts import Figure, FigureData, PageTable, Panel, TableCell
from rlcl.report.page.svg import ChartLine as Curve
from rlcl.report.page.svg import line_chart

__all__ = ["distributions", "feature_drift_table"]

Array = np.ndarray[Any, Any]

MAX_PANELS, BINS = 6, 20


def feature_drift_table(windows: Sequence[DriftLine]) -> Figure | None:
    """Return a table of the features and classes with the smallest p in a window in drift, most frequent first.

    Encoded inputs are left out: their directions have no meaning for a reader.
    """
    drifting: dict[tuple[str, str], list[DriftLine]] = {}
    for line in windows:
        for kind in ("inputs", "predictions"):
            if line.get(kind, {}).get("count"):
                drifting.setdefault((kind, line[kind]["what"]), []).append(line)
    if not drifting:
        return None
    ordered = sorted(drifting.items(), key=lambda item: -len(item[1]))[: 4 * MAX_PANELS]
    rows = tuple(
        (kind, what, len(lines), lines[-1]["requests"][1], lines[-1][kind]["statistic"])
        for (kind, what), lines in ordered
    )
    cells = tuple(
        (
            TableCell(what, heading=True),
            TableCell(kind),
            TableCell(str(count)),
            TableCell(f"{last:,}"),
            TableCell(f"{statistic:+.3g}"),
        )
        for kind, what, count, last, statistic in rows
    )
    table = PageTable(("feature or class", "kind", "#windows", "#last request", "#last statistic"), cells)
    note = "The feature or class that differs most from the held-out sample, by the number of windows in drift."
    data = FigureData("moved", ("kind", "what", "windows", "last request", "statistic"), rows)
    return Figure("Most significant features by window", note, data, table=table)


def distributions(deployment: Deployment, windows: Sequence[DriftLine]) -> Figure | None:
    """Return the old and new distributions of the features that differ most in the last window in drift.

    Without drift, the last window is used.
    """
    drifting = [line for line in windows if any(line.get(kind, {}).get("count") for kind in ("inputs", "predictions"))]
    last = (drifting or list(windows))[-1:]
    if not last:
        return None
    (line,) = last
    reference, page = find_reference(deployment, line["bundle"]), _window_page(deployment, line)
    if reference is None or page is None:
        return None
    signature = reference.signature
    before, now = feature_matrix(signature.inputs, reference.inputs), feature_matrix(signature.inputs, page.inputs)
    (old, was_missing), (new, is_missing) = sorted_features(before), sorted_features(now)
    distances = ks_distances(old, new)
    names = column_names(signature.inputs)
    panels, rows = list[Panel](), list[tuple[Any, ...]]()
    for i in (i for i in np.argsort(-distances, kind="stable")[:MAX_PANELS] if distances[i] > 0):
        histogram, title = _histogram(before[:, i], now[:, i]), f"{names[i]}: {distances[i]:.2f}"
        shares = (float(was_missing[i]), float(is_missing[i]))
        if any(shares):
            title += ", missing {:.0%}, now {:.0%}".format(*shares)
            rows.append((names[i], None, *shares))
        panels.append(Panel(title, _draw_shares(names[i], *histogram)))
        rows += [(names[i], *map(float, point)) for point in zip(*histogram, strict=True)]
    watched = watched_output(signature)
    if is_discrete(watched):
        histogram = _value_shares(reference.outputs[watched.name], page.outputs[watched.name])
        panels.append(Panel(watched.name, _draw_shares(watched.name, *histogram)))
        rows += [(watched.name, *map(float, point)) for point in zip(*histogram, strict=True)]
    note = (
        "Shares of rows by value, in the held-out sample and in requests {} to {}. The number in a title is the "
        "maximum distance between the two distribution functions. In the data, rows without a value are the shares of "
        "missing values.".format(*line["requests"])
    )
    return Figure(
        "Old and new distributions",
        note,
        FigureData("distributions", ("what", "value", "old", "new"), tuple(rows)),
        tuple(panels),
    )


def _window_page(deployment: Deployment, line: DriftLine) -> AnswerPage | None:
    """Return the requests of a window, or None if the log was moved away or replaced by another one."""
    first, last = line["requests"]
    if not deployment.log.is_file():
        return None
    with closing(RequestLog.open(deployment.log)) as log:
        page = next(log.pages(after=first - 1, rows=last - first + 1), None)
    same = page is not None and [page.numbers[0], page.times.min(), page.times.max()] == [first, *line["times"]]
    return page if same else None


def _histogram(before: Array, now: Array) -> tuple[Array, Array, Array]:
    """Return the present values, or the centers of bins, with their shares of all rows before and now."""
    values = _present_values(before, now)
    if len(values) <= BINS:
        return _value_shares(before, now)
    edges = np.linspace(values[0], values[-1], BINS + 1)
    old, new = (np.histogram(part[~np.isnan(part)], edges)[0] / len(part) for part in (before, now))
    return (edges[1:] + edges[:-1]) / 2, old, new


def _value_shares(before: Array, now: Array) -> tuple[Array, Array, Array]:
    values = _present_values(before, now)
    return values.astype(np.float64), (before[:, None] == values).mean(0), (now[:, None] == values).mean(0)


def _present_values(before: Array, now: Array) -> Array:
    """Return the distinct values that are not missing, in ascending order."""
    values = np.union1d(before, now)
    return values[~np.isnan(values)] if values.dtype.kind == "f" else values


def _draw_shares(what: str, values: Array, old: Array, new: Array) -> Markup:
    curves = [Curve("held out", values, old, color=1), Curve("now", values, new)]
    description = f"{what}: share of rows by value, held out and now"
    return line_chart(curves, description, x_label="value", span=(0.0, 1.05 * float(max(old.max(), new.max()))))
