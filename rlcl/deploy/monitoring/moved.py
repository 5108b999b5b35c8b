"""Which features moved most, with what they were and what they have become."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
from markupsafe import Markup

from rlcl.deploy.deployment import Deployment
from rlcl.deploy.log import Log, Page
from rlcl.deploy.monitoring.comparisons import ascending, columns, names
from rlcl.deploy.monitoring.monitor import Line
from rlcl.deploy.monitoring.reading import reference_of
from rlcl.deploy.monitoring.reference import decided, is_discrete
from rlcl.deploy.monitoring.statistics import ks_distances
from rlcl.report.page.parts import Cell, Data, Figure, Panel, Table
from rlcl.report.page.svg import Line as Curve
from rlcl.report.page.svg import line_chart

__all__ = ["distributions", "moved_table"]

Array = np.ndarray[Any, Any]

SHOWN, BINS = 6, 20


def moved_table(windows: Sequence[Line]) -> Figure | None:
    """How often each feature or class was the one that had moved most; directions tell a reader nothing."""
    found: dict[tuple[str, str], list[Line]] = {}
    for line in windows:
        for kind in ("inputs", "predictions"):
            if line.get(kind, {}).get("count"):
                found.setdefault((kind, line[kind]["what"]), []).append(line)
    if not found:
        return None
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))[: 4 * SHOWN]
    rows = tuple(
        (kind, what, len(lines), lines[-1]["requests"][1], lines[-1][kind]["statistic"])
        for (kind, what), lines in ordered
    )
    shown = tuple(
        (Cell(what, heading=True), Cell(kind), Cell(str(count)), Cell(f"{last:,}"), Cell(f"{statistic:+.3g}"))
        for kind, what, count, last, statistic in rows
    )
    table = Table(("most", "of", "#windows", "#last seen", "#statistic then"), shown)
    note = "Of the windows in drift, what differed most from the held-out sample."
    data = Data("moved", ("kind", "what", "windows", "last request", "statistic"), rows)
    return Figure("What moved most, window by window", note, data, table=table)


def distributions(deployment: Deployment, windows: Sequence[Line]) -> Figure | None:
    """The features that differ most in the last window in drift (else in the last one), before and now."""
    drifting = [line for line in windows if any(line.get(kind, {}).get("count") for kind in ("inputs", "predictions"))]
    chosen = (drifting or list(windows))[-1:]
    if not chosen:
        return None
    (line,) = chosen
    reference, page = reference_of(deployment, line["bundle"]), _page(deployment, line)
    if reference is None or page is None:
        return None
    signature = reference.signature
    before, now = columns(signature.inputs, reference.inputs), columns(signature.inputs, page.inputs)
    (old, was_missing), (new, is_missing) = ascending(before), ascending(now)
    distances = ks_distances(old, new)
    called = names(signature.inputs)
    panels, rows = list[Panel](), list[tuple[Any, ...]]()
    for i in (i for i in np.argsort(-distances, kind="stable")[:SHOWN] if distances[i] > 0):
        made, title = _histogram(before[:, i], now[:, i]), f"{called[i]}: {distances[i]:.2f}"
        shares = (float(was_missing[i]), float(is_missing[i]))
        if any(shares):
            title += ", missing {:.0%}, now {:.0%}".format(*shares)
            rows.append((called[i], None, *shares))
        panels.append(Panel(title, _drawn(called[i], *made)))
        rows += [(called[i], *map(float, each)) for each in zip(*made, strict=True)]
    decisive = decided(signature)
    if is_discrete(decisive):
        made = _shares(reference.outputs[decisive.name], page.outputs[decisive.name])
        panels.append(Panel(decisive.name, _drawn(decisive.name, *made)))
        rows += [(decisive.name, *map(float, each)) for each in zip(*made, strict=True)]
    note = (
        "Shares of rows by value, held out and in requests {} to {}, with the largest distance between the two "
        "distribution functions; without a value in the data those that are missing.".format(*line["requests"])
    )
    return Figure(
        "Old and new distributions",
        note,
        Data("distributions", ("what", "value", "old", "new"), tuple(rows)),
        tuple(panels),
    )


def _page(deployment: Deployment, line: Line) -> Page | None:
    """The requests of a window; None where the log was moved away, or another has taken its place."""
    first, last = line["requests"]
    if not deployment.log.is_file():
        return None
    with closing(Log.open(deployment.log)) as log:
        page = next(log.pages(after=first - 1, rows=last - first + 1), None)
    there = page is not None and [page.numbers[0], page.times.min(), page.times.max()] == [first, *line["times"]]
    return page if there else None


def _histogram(before: Array, now: Array) -> tuple[Array, Array, Array]:
    """Of the values that are there, in shares of all."""
    values = _known(before, now)
    if len(values) <= BINS:
        return _shares(before, now)
    edges = np.linspace(values[0], values[-1], BINS + 1)
    old, new = (np.histogram(part[~np.isnan(part)], edges)[0] / len(part) for part in (before, now))
    return (edges[1:] + edges[:-1]) / 2, old, new


def _shares(before: Array, now: Array) -> tuple[Array, Array, Array]:
    values = _known(before, now)
    return values.astype(np.float64), (before[:, None] == values).mean(0), (now[:, None] == values).mean(0)


def _known(before: Array, now: Array) -> Array:
    """All values that are there, in ascending order, each once."""
    values = np.union1d(before, now)
    return values[~np.isnan(values)] if values.dtype.kind == "f" else values


def _drawn(what: str, values: Array, old: Array, new: Array) -> Markup:
    curves = [Curve("held out", values, old, number=1), Curve("now", values, new)]
    told = f"{what}: share of rows by value, held out and now"
    return line_chart(curves, told, across="value", span=(0.0, 1.05 * float(max(old.max(), new.max()))))
