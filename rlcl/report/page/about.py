"""What a page says beside its results: the objective, costs, the runs, their configs and where they come from."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from rlcl.comparison.costs import costs, experience_seconds
from rlcl.comparison.groups import Group
from rlcl.report.page.parts import Cell, Data, Figure, Table, Value, as_value, interval_text, number
from rlcl.report.page.svg import Scale, interval_plot
from rlcl.tracking.runs import dotted

__all__ = [
    "config_text",
    "costs_figure",
    "manifest_figure",
    "objective_figure",
    "runs_figure",
    "times_figure",
]

WORDS = {
    "parameters": "trainable parameters",
    "memory_bytes": "memory of methods and learner, bytes",
    "updates": "updates",
    "samples": "samples",
    "seconds": "seconds on the wall",
    "cpu_seconds": "seconds of CPU",
}


def objective_figure(group: Group) -> Figure | None:
    """Conditions of success and constraints, each judged; None where there are none."""
    if group.verdict is None:
        return None
    rows, data = [], []
    for each in group.verdict.judgements:
        interval = "" if each.low is None or each.high is None else interval_text(each.low, each.high)
        texts = (Cell(each.shown), Cell(interval), badge(each.said), Cell(each.reason, kind="wrap"))
        rows.append((Cell(each.condition, heading=True), *texts))
        data.append((each.condition, each.value, each.low, each.high, each.said, each.reason))
    return Figure(
        "Conditions of success",
        "Judged by the mean over seeds, or the worse end of the interval where a condition asks for it; "
        "constraints by the seed that needs most.",
        Data("objective", ("condition", "value", "low", "high", "verdict", "reason"), tuple(data)),
        table=Table(("condition", "#value", "#interval", "verdict", "reason"), tuple(rows)),
    )


def badge(said: str) -> Cell:
    """A verdict or a state, told by a word and a sign, not by colour alone."""
    good, bad = ("met", "finished"), ("not met", "failed", "crashed", "corrupt")
    sign, kind = ("✓", "good") if said in good else ("✗", "bad") if said in bad else ("·", "open")
    return Cell(f"{sign} {said}", kind=f"badge {kind}")


def costs_figure(group: Group) -> Figure | None:
    """Parameters, memory, updates, samples and time; None where nothing is known."""
    rows: list[tuple[Cell, ...]] = []
    data: list[tuple[Value, ...]] = []
    for name, cost in costs(group).items():
        least, most = min(cost.values), max(cost.values)
        spread = "" if least == most else f"{_amount(least)} to {_amount(most)}"
        rows.append((Cell(WORDS[name], heading=True), Cell(_amount(cost.mean)), Cell(spread)))
        data.append((WORDS[name], cost.mean, *cost.values))
    if not rows:
        return None
    columns = ("cost", "mean", *(f"seed {s.run.seed}" for s in group.seeds))
    return Figure(
        "What a seed has cost",
        "Mean over seeds, and the least and the most where they differ. Time includes evaluation.",
        Data("cost", columns, tuple(data)),
        table=Table(("", "#mean", "#from, to"), tuple(rows)),
    )


def times_figure(group: Group) -> Figure | None:
    """Time of each experience; None where it was not taken, or there is one experience alone."""
    known = experience_seconds(group)
    if len(known) < 2:
        return None
    means = list(known.values())
    scale = Scale(0, max(means) or 1, 8, 172)
    names = group.names if len(group.names) == len(known) else tuple(f"experience {t + 1}" for t in known)
    rows = []
    for name, mean in zip(names, means, strict=True):
        rows.append((Cell(name, heading=True), Cell(plot=interval_plot(mean, 0, mean, scale)), Cell(number(mean))))
    return Figure(
        "Time of each experience",
        "Seconds on the wall, its evaluations included; mean over seeds.",
        Data("time", ("experience", "seconds"), tuple(zip(names, means, strict=True))),
        table=Table(("", f"0 … {max(means):.3g} s", "#seconds"), tuple(rows), "plots"),
    )


def runs_figure(groups: Sequence[Group]) -> Figure:
    """Every run of the page with its state, those that could not be shown with the reason."""
    rows: list[tuple[Cell, ...]] = []
    data: list[tuple[Value, ...]] = []
    for group in groups:
        reasons = {id(other.run): other.reason for other in group.others}
        for run in sorted(group.runs, key=lambda run: run.seed):
            reason = reasons.get(id(run), "; ".join(map(str, run.values("error"))))
            seconds = next(iter(run.values("seconds")), None)
            updated = str(next(iter(run.values("updated")), "")).replace("T", " ").removesuffix("+00:00")
            step = run.status.get("step", 0)
            texts = (f"{step:,}" if isinstance(step, int) else "", updated, number(seconds))
            rows.append((Cell(group.label, heading=True), Cell(str(run.seed)), badge(run.state), *map(Cell, texts),
                         Cell(reason, kind="wrap")))  # fmt: skip
            data.append((str(run.path), group.label, run.seed, run.state, run.status.get("step"), seconds, reason))
    return Figure(
        "All runs",
        "Where seeds have finished, those that have not are left out of the figures, as is what cannot be read.",
        Data("runs", ("folder", "experiment", "seed", "state", "step", "seconds", "reason"), tuple(data)),
        table=Table(("experiment", "#seed", "state", "#step", "updated", "#seconds", "remark"), tuple(rows)),
    )


def manifest_figure(groups: Sequence[Group]) -> Figure:
    """Where the numbers come from: code, versions, hardware and data; a row a distinct value."""
    told: dict[str, dict[str, list[str]]] = {}
    for group in groups:
        for run in group.runs:
            for key, value in dotted({k: v for k, v in run.manifest.items() if k != "sessions"}).items():
                if key != "seed":
                    told.setdefault(key, {}).setdefault(str(value), []).append(f"{group.label} seed {run.seed}")
    rows, data = [], []
    for key, values in told.items():
        for value, runs in list(values.items())[:8]:
            where = (
                "all" if len(values) == 1 else ", ".join(runs[:4]) + (f" and {len(runs) - 4} more" * (len(runs) > 4))
            )
            rows.append((Cell(key, heading=True), Cell(value, kind="code"), Cell(where)))
        data += [(key, value, "; ".join(runs[:20])) for value, runs in values.items()]
    return Figure(
        "Where the numbers come from",
        "What each run wrote down as it began; at most eight values of a kind are shown, and the data hold all.",
        Data("manifest", ("key", "value", "runs"), tuple(data)),
        table=Table(("", "value", "of"), tuple(rows)),
    )


def differences_figure(groups: Sequence[Group], most: int = 40) -> Figure | None:
    """The settings in which experiments differ; None where there is one alone."""
    flat = [dotted({k: v for k, v in g.config.items() if k not in ("name", "objective", "seeds")}) for g in groups]
    keys = dict.fromkeys(key for config in flat for key in config)
    differing = [key for key in keys if len({str(config.get(key)) for config in flat}) > 1]
    if len(groups) < 2 or not differing:
        return None
    shown = differing[:most]
    rows = [
        (Cell(g.label, heading=True), *(Cell(_setting(c.get(key)), kind="code") for key in shown))
        for g, c in zip(groups, flat, strict=True)
    ]
    data = [(g.label, *(as_value(c.get(k)) for k in differing)) for g, c in zip(groups, flat, strict=True)]
    return Figure(
        "What the experiments differ in",
        "All other settings are the same."
        if len(shown) == len(differing)
        else f"The first {most} of {len(differing)}.",
        Data("differences", ("experiment", *differing), tuple(data)),
        table=Table(("experiment", *shown), tuple(rows)),
    )


def config_text(config: Mapping[str, Any]) -> str:
    """The config as YAML."""
    yaml, text = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(dict(config), text)
    return text.getvalue()


def _setting(value: Any) -> str:
    return "" if value is None else str(value)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.3g}"
