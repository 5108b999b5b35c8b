"""Figures of a page other than results: objective, costs, runs, configs and their origin."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from rlcl.comparison.costs import costs, experience_seconds
from rlcl.comparison.groups import SeedGroup
from rlcl.report.page.figures import PLOT_SCALE
from rlcl.report.page.parts import (
    CellValue,
    Figure,
    FigureData,
    PageTable,
    TableCell,
    as_value,
    interval_text,
    number_text,
)
from rlcl.report.page.svg import LinearScale, interval_plot
from rlcl.tracking.runs import dotted_keys

__all__ = [
    "badge",
    "config_text",
    "costs_figure",
    "differences_figure",
    "manifest_figure",
    "objective_figure",
    "runs_figure",
    "times_figure",
]

COST_NAMES = {
    "parameters": "trainable parameters",
    "memory_bytes": "memory of methods and learner, bytes",
    "updates": "updates",
    "samples": "samples",
    "seconds": "wall time, seconds",
    "cpu_seconds": "CPU time, seconds",
}


def objective_figure(group: SeedGroup) -> Figure | None:
    """Return a table of the conditions of success and the constraints with their verdicts; None without conditions."""
    if group.verdict is None:
        return None
    rows, data = [], []
    for result in group.verdict.conditions:
        interval = "" if result.low is None or result.high is None else interval_text(result.low, result.high)
        reason = TableCell(result.reason, kind="wrap")
        texts = (TableCell(result.value_text), TableCell(interval), badge(result.status), reason)
        rows.append((TableCell(result.condition, heading=True), *texts))
        data.append((result.condition, result.value, result.low, result.high, result.status, result.reason))
    return Figure(
        "Conditions of success",
        "A condition is decided by the mean over seeds, or by the worse end of its interval if the condition requires "
        "it. A constraint is decided by the maximum over seeds.",
        FigureData("objective", ("condition", "value", "low", "high", "verdict", "reason"), tuple(data)),
        table=PageTable(("condition", "#value", "#interval", "verdict", "reason"), tuple(rows)),
    )


def badge(status: str) -> TableCell:
    """Return a cell with a verdict or a state; a sign distinguishes it in addition to the color."""
    good, bad = ("met", "finished"), ("not met", "failed", "crashed", "corrupt")
    sign, kind = ("✓", "good") if status in good else ("✗", "bad") if status in bad else ("·", "open")
    return TableCell(f"{sign} {status}", kind=f"badge {kind}")


def costs_figure(group: SeedGroup) -> Figure | None:
    """Return a table of parameters, memory, updates, samples and time; None if no cost is known."""
    rows: list[tuple[TableCell, ...]] = []
    data: list[tuple[CellValue, ...]] = []
    for name, cost in costs(group).items():
        low, high = min(cost.values), max(cost.values)
        value_range = "" if low == high else f"{_amount(low)} to {_amount(high)}"
        rows.append((TableCell(COST_NAMES[name], heading=True), TableCell(_amount(cost.mean)), TableCell(value_range)))
        data.append((COST_NAMES[name], cost.mean, *cost.values))
    if not rows:
        return None
    columns = ("cost", "mean", *(f"seed {s.run.seed}" for s in group.seeds))
    return Figure(
        "Cost per seed",
        "Mean over seeds, with minimum and maximum if they differ. Time includes evaluation.",
        FigureData("cost", columns, tuple(data)),
        table=PageTable(("", "#mean", "#minimum to maximum"), tuple(rows)),
    )


def times_figure(group: SeedGroup) -> Figure | None:
    """Draw the wall time of each experience; None if fewer than two times are known."""
    known = experience_seconds(group)
    if len(known) < 2:
        return None
    means = list(known.values())
    scale = LinearScale(0, max(means) or 1, PLOT_SCALE.start, PLOT_SCALE.end)
    trained = group.trained_names
    names = trained if len(trained) == len(known) else tuple(f"experience {t + 1}" for t in known)
    rows = []
    for name, mean in zip(names, means, strict=True):
        plot = TableCell(plot=interval_plot(mean, 0, mean, scale))
        rows.append((TableCell(name, heading=True), plot, TableCell(number_text(mean))))
    return Figure(
        "Time per experience",
        "Wall time in seconds, including evaluation. Mean over seeds.",
        FigureData("time", ("experience", "seconds"), tuple(zip(names, means, strict=True))),
        table=PageTable(("", f"0 … {max(means):.3g} s", "#seconds"), tuple(rows), "plots"),
    )


def runs_figure(groups: Sequence[SeedGroup]) -> Figure:
    """Return a table of all runs of the page with their states, and the reasons for excluded runs."""
    rows: list[tuple[TableCell, ...]] = []
    data: list[tuple[CellValue, ...]] = []
    for group in groups:
        reasons = {id(excluded.run): excluded.reason for excluded in group.excluded}
        for run in sorted(group.runs, key=lambda run: run.seed):
            reason = reasons.get(id(run), "; ".join(map(str, run.values("error"))))
            seconds = next(iter(run.values("seconds")), None)
            updated = str(next(iter(run.values("updated")), "")).replace("T", " ").removesuffix("+00:00")
            step = run.status.get("step", 0)
            texts = (f"{step:,}" if isinstance(step, int) else "", updated, number_text(seconds))
            rows.append((TableCell(group.label, heading=True), TableCell(str(run.seed)), badge(run.state),
                         *map(TableCell, texts), TableCell(reason, kind="wrap")))  # fmt: skip
            data.append((str(run.path), group.label, run.seed, run.state, run.status.get("step"), seconds, reason))
    return Figure(
        "All runs",
        "The figures exclude damaged runs. They also exclude unfinished runs of an experiment with finished runs.",
        FigureData("runs", ("folder", "experiment", "seed", "state", "step", "seconds", "reason"), tuple(data)),
        table=PageTable(("experiment", "#seed", "state", "#step", "updated", "#seconds", "caveat"), tuple(rows)),
    )


def manifest_figure(groups: Sequence[SeedGroup]) -> Figure:
    """Return a table of code, versions, hardware and data of all runs, one row per distinct value."""
    runs_by_value: dict[str, dict[str, list[str]]] = {}
    for group in groups:
        for run in group.runs:
            for key, value in dotted_keys({k: v for k, v in run.manifest.items() if k != "sessions"}).items():
                if key != "seed":
                    name = f"{group.label} seed {run.seed}"
                    runs_by_value.setdefault(key, {}).setdefault(str(value), []).append(name)
    rows, data = [], []
    for key, values in runs_by_value.items():
        for value, runs in list(values.items())[:8]:
            listing = (
                "all" if len(values) == 1 else ", ".join(runs[:4]) + (f" and {len(runs) - 4} more" * (len(runs) > 4))
            )
            rows.append((TableCell(key, heading=True), TableCell(value, kind="code"), TableCell(listing)))
        data += [(key, value, "; ".join(runs[:20])) for value, runs in values.items()]
    return Figure(
        "Code, versions, hardware and data",
        "Recorded at the start of each run. The table shows at most eight values per key; the data contain all.",
        FigureData("manifest", ("key", "value", "runs"), tuple(data)),
        table=PageTable(("", "value", "runs"), tuple(rows)),
    )


def differences_figure(groups: Sequence[SeedGroup], limit: int = 40) -> Figure | None:
    """Return a table of the settings in which experiments differ; None for a single experiment or equal settings."""
    flat = [dotted_keys({k: v for k, v in g.config.items() if k not in ("name", "objective", "seeds")}) for g in groups]
    keys = dict.fromkeys(key for config in flat for key in config)
    differing = [key for key in keys if len({str(config.get(key)) for config in flat}) > 1]
    if len(groups) < 2 or not differing:
        return None
    shown = differing[:limit]
    rows = [
        (TableCell(g.label, heading=True), *(TableCell(_setting_text(c.get(key)), kind="code") for key in shown))
        for g, c in zip(groups, flat, strict=True)
    ]
    data = [(g.label, *(as_value(c.get(k)) for k in differing)) for g, c in zip(groups, flat, strict=True)]
    return Figure(
        "Settings that differ between the experiments",
        "All other settings are equal."
        if len(shown) == len(differing)
        else f"The first {limit} of {len(differing)} settings.",
        FigureData("differences", ("experiment", *differing), tuple(data)),
        table=PageTable(("experiment", *shown), tuple(rows)),
    )


def config_text(config: Mapping[str, Any]) -> str:
    """Return the config as YAML."""
    yaml, text = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(dict(config), text)
    return text.getvalue()


def _setting_text(value: Any) -> str:
    return "" if value is None else str(value)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.3g}"
