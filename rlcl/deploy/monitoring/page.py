"""A deployment's timeline as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlcl.deploy.deployment import Deployment
from rlcl.deploy.monitoring.monitor import Line
from rlcl.deploy.monitoring.moved import distributions, moved_table
from rlcl.deploy.monitoring.reading import read_lines
from rlcl.deploy.monitoring.reference import KINDS
from rlcl.report.page.build import Tile, rendered
from rlcl.report.page.parts import Cell, Data, Figure, Panel, Section, Table, number
from rlcl.report.page.svg import Line as Curve
from rlcl.report.page.svg import line_chart

__all__ = ["make_page"]

Array = np.ndarray[Any, Any]

MOST = 40.0  # decimal places of a p that are drawn
TITLES = {"inputs": "Inputs, one by one", "encoded": "Encoded inputs, together", "predictions": "Predictions"}


def make_page(deployment: Deployment) -> str:
    """The page of all that the monitor has seen of a deployment.

    Raises:
        BundleError: ``drift.jsonl``, the log or a bundle is damaged.
    """
    lines = read_lines(deployment)
    compared = [line for line in lines if line["line"] == "window"]
    counted = _counted(lines)
    windows, feedback, alarms = ([e for e in counted if e["line"] == k] for k in ("window", "feedback", "alarm"))
    judged = [each for each in feedback if each["answers"]]
    sections = [
        _section("alarms", "Alarms", _alarms(alarms)),
        _section("timeline", "What was measured", _timeline(windows, alarms)),
        _section("performance", "Performance from feedback", _performance(judged, alarms)),
        _section("moved", "What moved", moved_table(windows), distributions(deployment, compared)),
    ]
    requests = windows[-1]["requests"][1] if windows else 0
    return rendered(
        verb="rlcl monitor",
        origin="drift.jsonl and the log",
        title=deployment.bundle.name,
        subtitle=f"{requests:,} requests in {len(windows)} windows, feedback of {_answers(judged):,} answers",
        statement="Whether requests, answers and losses are still those that the model was tested with.",
        told={},
        verdict="",
        notices=[] if windows else ["No window is full yet, so nothing has been compared."],
        tiles=_tiles(windows, judged, alarms),
        sections=[section for section in sections if section.figures],
        configs=[],
    )


def _counted(lines: Sequence[Line]) -> list[Line]:
    """Lines about requests, whose numbers go on where another log began again from 1."""
    counted: list[Line] = []
    before = most = 0
    for line in lines:
        if line["line"] == "log":
            before = most
            continue
        first, last = (number + before for number in line["requests"])
        most = max(most, last)
        counted.append({**line, "requests": [first, last]})
    return counted


def _section(key: str, title: str, *figures: Figure | None) -> Section:
    return Section(key, title, tuple(figure for figure in figures if figure is not None))


def _answers(judged: Sequence[Line]) -> int:
    return sum(line["answers"] for line in judged)


def _tiles(windows: Sequence[Line], judged: Sequence[Line], alarms: Sequence[Line]) -> list[Tile]:
    tiles = []
    if windows:
        drifting = [kind for kind in KINDS if windows[-1].get(kind, {}).get("count")]
        tiles.append(Tile(", ".join(drifting) or "none", "drift in the last window"))
    tiles.append(Tile(str(len(alarms)), "alarms", f"since request {windows[0]['requests'][0]}" if windows else ""))
    if judged:
        held_out = judged[-1]["held_out"]
        note = f"held out {number(held_out)}" if held_out is not None else ""
        tiles.append(Tile(number(judged[-1]["loss"]), "loss of the last feedback", note))
    return tiles


def _alarms(alarms: Sequence[Line]) -> Figure | None:
    if not alarms:
        return None
    columns = ("kind", "first request", "last request", "what", "statistic", "p", "threshold", "moved")
    rows = tuple(
        (a["kind"], *a["requests"], a["what"], a["statistic"], a["p"], a["threshold"], a["count"]) for a in alarms
    )
    shown = tuple(
        (
            Cell(a["kind"], heading=True),
            Cell("{} to {}".format(*a["requests"]), kind="number"),
            Cell(a["what"], kind="wrap"),
            Cell(f"{a['statistic']:+.3g}"),
            Cell("" if a["p"] is None else f"{a['p']:.1e}"),
            Cell(f"{a['threshold']:.1e}" if a["p"] is not None else ""),
            Cell(str(a["count"])),
        )
        for a in alarms
    )
    table = Table(("what", "#requests", "most", "#statistic", "#p", "#needed", "#moved"), shown)
    note = "One line where drift begins: of a kind that goes on there is no second one until it has ended."
    return Figure("Where drift began", note, Data("alarms", columns, rows), table=table)


def _timeline(windows: Sequence[Line], alarms: Sequence[Line]) -> Figure | None:
    seen = [line for line in windows if KINDS[0] in line]
    if not seen:
        return None
    at = np.array([line["requests"][1] for line in seen], np.float64)
    panels, rows = [], []
    for kind in KINDS:
        p = np.array([line[kind]["p"] for line in seen])
        needed = np.array([line[kind]["threshold"] for line in seen])
        strength, wanted = _strength(p), _strength(needed)
        curves = [Curve("found", at, strength), Curve("needed", at, wanted, number=1)]
        begun = [a["requests"][1] for a in alarms if a["kind"] == kind]
        told = f"{TITLES[kind]}: evidence of drift by window, beside what an alarm needs; {len(begun)} alarms"
        span = (0.0, max(float(strength.max()), float(wanted.max())) * 1.05)
        drawing = line_chart(curves, told, across="requests", span=span, boundaries=begun, width=420)
        panels.append(Panel(TITLES[kind], drawing))
        rows += [(kind, int(a), float(x), float(y)) for a, x, y in zip(at, p, needed, strict=True)]
    note = (
        "How unlikely the window would be without any change: -log10 of the smallest p, at most 40, and of the p that "
        "an alarm needs, which grows stricter with each window so that all of them together stay within the promised "
        "rate of false alarms. A broken line marks an alarm."
    )
    return Figure(
        "Evidence of drift", note, Data("timeline", ("what", "request", "p", "needed"), tuple(rows)), tuple(panels)
    )


def _strength(p: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(-np.log10(p), MOST))


def _performance(judged: Sequence[Line], alarms: Sequence[Line]) -> Figure | None:
    if not judged:
        return None
    ordered = sorted(judged, key=lambda line: line["requests"][1])
    at = np.array([line["requests"][1] for line in ordered], np.float64)
    loss = np.array([line["loss"] for line in ordered])
    held_out = np.array([np.nan if line["held_out"] is None else line["held_out"] for line in ordered])
    shares = bool(np.all((loss >= 0) & (loss <= 1))) and ordered[0].get("unit", False)
    what, values, before = ("accuracy", 1 - loss, 1 - held_out) if shares else ("loss", loss, held_out)
    curves = [Curve(what, at, values)]
    if np.isfinite(before).any():
        curves.append(Curve("held out", at, before, number=1))
    begun = [a["requests"][1] for a in alarms if a["kind"] == "performance"]
    told = f"{what} of answers whose feedback came, over requests; {len(begun)} alarms"
    drawing = line_chart(curves, told, across="requests", boundaries=begun, width=560, height=200)
    rows = tuple((*line["requests"], line["answers"], float(v)) for line, v in zip(ordered, values, strict=True))
    note = (
        "Of each hundred answers whose feedback came together, by their last request. A broken line marks where ADWIN "
        "found that the loss has grown."
    )
    data = Data("performance", ("first request", "last request", "answers", what), rows)
    return Figure(f"{what.capitalize()} over time", note, data, (Panel(what, drawing),), wide=True)
