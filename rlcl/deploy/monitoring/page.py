"""HTML page of a deployment's drift over time, in one self-contained file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlcl.deploy.deployment import Deployment
from rlcl.deploy.monitoring.feature_drift import distributions, feature_drift_table
from rlcl.deploy.monitoring.log_monitor import read_lines
from rlcl.deploy.monitoring.monitor import DriftLine
from rlcl.deploy.monitoring.reference import KINDS
from rlcl.report.page.build import Tile, render_page
from rlcl.report.page.parts import Figure, FigureData, PageTable, Panel, Section, TableCell, number_text
from rlcl.report.page.svg import ChartLine as Curve
from rlcl.report.page.svg import line_chart

__all__ = ["make_page"]

Array = np.ndarray[Any, Any]

MAX_STRENGTH = 40.0  # -log10 of the smallest p that is drawn
TITLES = {"inputs": "Inputs, one by one", "encoded": "Encoded inputs, jointly", "predictions": "Predictions"}


def make_page(deployment: Deployment) -> str:
    """Return the page of all lines of a deployment's monitor.

    Raises:
        BundleError: ``drift.jsonl``, the log or a bundle is damaged.
    """
    lines = read_lines(deployment)
    windows_by_log = [line for line in lines if line["line"] == "window"]
    counted = _renumbered(lines)
    windows, feedback, alarms = (
        [line for line in counted if line["line"] == kind] for kind in ("window", "feedback", "alarm")
    )
    feedback = [line for line in feedback if line["answers"]]
    sections = [
        _section("alarms", "Alarms", _alarms(alarms)),
        _section("timeline", "Drift over time", _timeline(windows, alarms)),
        _section("performance", "Performance from feedback", _performance(feedback, alarms)),
        _section("moved", "Features in drift", feature_drift_table(windows), distributions(deployment, windows_by_log)),
    ]
    requests = windows[-1]["requests"][1] if windows else 0
    return render_page(
        verb="rlcl monitor",
        origin="drift.jsonl and the log",
        title=deployment.bundle.name,
        subtitle=f"{requests:,} requests in {len(windows)} windows, feedback for {_answers(feedback):,} answers",
        statement="Requests, predictions and losses of the deployed model, compared with its held-out sample.",
        objective_notes={},
        verdict="",
        notices=[] if windows else ["No window is full yet, so nothing has been compared."],
        tiles=_tiles(windows, feedback, alarms),
        sections=[section for section in sections if section.figures],
        configs=[],
    )


def _renumbered(lines: Sequence[DriftLine]) -> list[DriftLine]:
    """Return the lines about requests, with request numbers that continue from one log to the next."""
    renumbered: list[DriftLine] = []
    offset = maximum = 0
    for line in lines:
        if line["line"] == "log":
            offset = maximum
            continue
        first, last = (number + offset for number in line["requests"])
        maximum = max(maximum, last)
        renumbered.append({**line, "requests": [first, last]})
    return renumbered


def _section(key: str, title: str, *figures: Figure | None) -> Section:
    return Section(key, title, tuple(figure for figure in figures if figure is not None))


def _answers(feedback: Sequence[DriftLine]) -> int:
    return sum(line["answers"] for line in feedback)


def _tiles(windows: Sequence[DriftLine], feedback: Sequence[DriftLine], alarms: Sequence[DriftLine]) -> list[Tile]:
    tiles = []
    if windows:
        drifting = [kind for kind in KINDS if windows[-1].get(kind, {}).get("count")]
        tiles.append(Tile(", ".join(drifting) or "none", "drift in the last window"))
    tiles.append(Tile(str(len(alarms)), "alarms", f"since request {windows[0]['requests'][0]}" if windows else ""))
    if feedback:
        held_out = feedback[-1]["held_out"]
        note = f"held out {number_text(held_out)}" if held_out is not None else ""
        tiles.append(Tile(number_text(feedback[-1]["loss"]), "loss in the last feedback", note))
    return tiles


def _alarms(alarms: Sequence[DriftLine]) -> Figure | None:
    if not alarms:
        return None
    columns = ("kind", "first request", "last request", "what", "statistic", "p", "threshold", "moved")
    rows = tuple(
        (a["kind"], *a["requests"], a["what"], a["statistic"], a["p"], a["threshold"], a["count"]) for a in alarms
    )
    cells = tuple(
        (
            TableCell(a["kind"], heading=True),
            TableCell("{} to {}".format(*a["requests"]), kind="number"),
            TableCell(a["what"], kind="wrap"),
            TableCell(f"{a['statistic']:+.3g}"),
            TableCell("" if a["p"] is None else f"{a['p']:.1e}"),
            TableCell(f"{a['threshold']:.1e}" if a["p"] is not None else ""),
            TableCell(str(a["count"])),
        )
        for a in alarms
    )
    table = PageTable(("kind", "#requests", "most significant", "#statistic", "#p", "#threshold", "#in drift"), cells)
    note = (
        "One row for each start of drift. A kind that stays in drift has no second row before a window without drift."
    )
    return Figure("Start of drift", note, FigureData("alarms", columns, rows), table=table)


def _timeline(windows: Sequence[DriftLine], alarms: Sequence[DriftLine]) -> Figure | None:
    compared = [line for line in windows if KINDS[0] in line]
    if not compared:
        return None
    requests = np.array([line["requests"][1] for line in compared], np.float64)
    panels, rows = [], []
    for kind in KINDS:
        p = np.array([line[kind]["p"] for line in compared])
        thresholds = np.array([line[kind]["threshold"] for line in compared])
        strength, threshold_strength = _strength(p), _strength(thresholds)
        curves = [Curve("observed", requests, strength), Curve("threshold", requests, threshold_strength, color=1)]
        starts = [a["requests"][1] for a in alarms if a["kind"] == kind]
        description = (
            f"{TITLES[kind]}: evidence of drift by window, with the threshold of an alarm; {len(starts)} alarms"
        )
        span = (0.0, max(float(strength.max()), float(threshold_strength.max())) * 1.05)
        drawing = line_chart(curves, description, x_label="requests", span=span, boundaries=starts, width=420)
        panels.append(Panel(TITLES[kind], drawing))
        rows += [(kind, int(a), float(x), float(y)) for a, x, y in zip(requests, p, thresholds, strict=True)]
    note = (
        "The improbability of each window if nothing has changed: -log10 of its smallest p, at most 40. The threshold "
        "is -log10 of the p of an alarm. It becomes stricter with each window, so that all windows together stay "
        "within the rate of false alarms in the settings. A broken line marks an alarm."
    )
    return Figure(
        "Evidence of drift",
        note,
        FigureData("timeline", ("what", "request", "p", "needed"), tuple(rows)),
        tuple(panels),
    )


def _strength(p: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(-np.log10(p), MAX_STRENGTH))


def _performance(feedback: Sequence[DriftLine], alarms: Sequence[DriftLine]) -> Figure | None:
    if not feedback:
        return None
    ordered = sorted(feedback, key=lambda line: line["requests"][1])
    requests = np.array([line["requests"][1] for line in ordered], np.float64)
    loss = np.array([line["loss"] for line in ordered])
    held_out = np.array([np.nan if line["held_out"] is None else line["held_out"] for line in ordered])
    as_accuracy = bool(np.all((loss >= 0) & (loss <= 1))) and ordered[0].get("unit", False)
    what, values, before = ("accuracy", 1 - loss, 1 - held_out) if as_accuracy else ("loss", loss, held_out)
    curves = [Curve(what, requests, values)]
    if np.isfinite(before).any():
        curves.append(Curve("held out", requests, before, color=1))
    starts = [a["requests"][1] for a in alarms if a["kind"] == "performance"]
    description = f"{what} of answers with feedback, over requests; {len(starts)} alarms"
    drawing = line_chart(curves, description, x_label="requests", boundaries=starts, width=560, height=200)
    rows = tuple((*line["requests"], line["answers"], float(v)) for line, v in zip(ordered, values, strict=True))
    note = (
        "One point for each block of 100 answers in the order of their feedback, at the last request of the block. A "
        "broken line marks an increase of the loss that ADWIN has detected."
    )
    data = FigureData("performance", ("first request", "last request", "answers", what), rows)
    return Figure(f"{what.capitalize()} over time", note, data, (Panel(what, drawing),), wide=True)
