"""Tables on the terminal: R, the metrics with their intervals, the verdict on the objective."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rich.markup import escape
from rich.table import Table

from rlcl.comparison.costs import COSTS
from rlcl.comparison.matrices import mean_rows
from rlcl.evaluation.meaning import Meaning
from rlcl.evaluation.outcome import Outcome
from rlcl.evaluation.results import Results, measure_named, online_name
from rlcl.objective import Verdict
from rlcl.statistics.intervals import Summary, summarize
from rlcl.types import Record

__all__ = [
    "costs_line",
    "format_number",
    "metrics_table",
    "probes_table",
    "r_table",
    "summaries",
    "verdict_table",
]


def format_number(value: float) -> str:
    """Four significant digits or three decimals, whichever is shorter."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def r_table(outcomes: Sequence[Outcome], names: Sequence[str], trained: Sequence[str]) -> Table:
    """R, mean over seeds: rows are what was trained on last, columns what was evaluated.

    Args:
        outcomes: of the seeds.
        names: of the experiences evaluated.
        trained: names of the experiences trained on.
    """
    measure = outcomes[0].measures[0]
    seeds = f"mean of {len(outcomes)} seeds" if len(outcomes) > 1 else "1 seed"
    table = Table(title=f"{measure_named(measure).called} ({seeds})", title_justify="left", title_style="bold")
    table.add_column("trained on \\ evaluated on", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    for row in mean_rows([Results(o.records, measure) for o in outcomes], len(names), trained):
        table.add_row(row.name, *("" if np.isnan(v) else format_number(float(v)) for v in row.mean))
    return table


def summaries(outcomes: Sequence[Outcome]) -> Mapping[str, Summary]:
    """Each metric with its interval over seeds."""
    each = [o.metrics for o in outcomes]
    names = [name for name in each[0] if all(name in m for m in each)]
    return {name: summarize([m[name] for m in each]) for name in names}


def metrics_table(found: Mapping[str, Summary], meanings: Mapping[str, Meaning]) -> Table:
    """The metrics, a line each.

    Args:
        found: by name.
        meanings: what they mean, by name.
    """
    seeds = max((s.seeds for s in found.values()), default=0)
    title = f"metrics (mean and 95 % Student interval over {seeds} seeds)" if seeds > 1 else "metrics (1 seed)"
    captioned = "\n".join(_directions([meanings[name] for name in found if name in meanings])) or None
    table = Table(title=title, title_justify="left", title_style="bold", caption=captioned, caption_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    if seeds > 1:
        table.add_column("interval", justify="right")
    for name, summary in found.items():
        interval = f"{format_number(summary.low)} to {format_number(summary.high)}"
        table.add_row(name, format_number(summary.mean), *([interval] if seeds > 1 else []))
    return table


def _directions(meanings: Sequence[Meaning]) -> Iterator[str]:
    """Yields which measures are losses, and which metrics are better the lower they are."""
    losses = {m: measure_named(m) for m in dict.fromkeys(meaning.measure for meaning in meanings)}
    negated = [measure.name for measure in losses.values() if measure.better == "lower"]
    if negated:
        yield f"{', '.join(negated)} enters negated: higher is better"
    lower = [meaning.metric for meaning in meanings if meaning.better == "lower"]
    if lower:
        yield f"lower is better: {', '.join(dict.fromkeys(lower))}"


def probes_table(outcomes: Sequence[Outcome], names: Sequence[str]) -> Table | None:
    """What probes told last of each experience, mean over seeds; None where there were none.

    Args:
        outcomes: one a seed.
        names: of the experiences trained on.
    """
    told = [_last(outcome.records) for outcome in outcomes]
    measures = outcomes[0].measures
    probes = sorted({m for m, _ in told[0]} - {*measures, *COSTS, *map(online_name, measures)})
    if not probes:
        return None
    table = Table(title="probes, after training on", title_justify="left", title_style="bold")
    table.add_column("probe", no_wrap=True)
    experiences = sorted({t for m, t in told[0] if m in probes})
    single = max(experiences) + 1 == len(names)
    for t in experiences:
        table.add_column("nothing" if t < 0 else names[t] if single else "joint", justify="right")
    for probe in probes:
        cells = [[each[probe, t] for each in told if (probe, t) in each] for t in experiences]
        table.add_row(probe, *(format_number(float(np.mean(cell))) if cell else "" for cell in cells))
    return table


def costs_line(outcomes: Sequence[Outcome], spent: Sequence[Mapping[str, float]]) -> str:
    """What a run has cost, mean over seeds: what is held at the end, and all updates, samples and time.

    Args:
        outcomes: one a seed.
        spent: seconds and cpu_seconds of each.
    """
    told = [_last(outcome.records) for outcome in outcomes]

    def mean(name: str) -> float:
        cells = [[v for (m, _), v in sorted(each.items()) if m == name] for each in told]
        return float(np.mean([c[-1] if name in ("parameters", "memory_bytes") else sum(c) for c in cells]))

    words = {"parameters": "parameters", "memory_bytes": "bytes of memory", "updates": "updates", "samples": "samples"}
    known = [name for name in words if all(any(m == name for m, _ in each) for each in told)]
    parts = [f"{mean(name):,.0f} {words[name]}" for name in known]
    seconds, cpu = (float(np.mean([s.get(key, np.nan) for s in spent])) for key in ("seconds", "cpu_seconds"))
    return ", ".join([*parts, f"{seconds:,.1f} s ({cpu:,.1f} s of CPU)"])


def _last(records: Sequence[Record]) -> dict[tuple[str, int], float]:
    """The last value of each metric after training on each experience."""
    return {(r.metric, r.trained_on): r.value for r in sorted(records, key=lambda r: r.step)}


def verdict_table(verdict: Verdict) -> Table:
    """Each condition and constraint of the objective: met, not met, or undecided, with the reason."""
    colours = {"met": "green", "not met": "red", "undecided": "yellow"}
    said = f"[{colours[verdict.said]}]{verdict.said}[/]"
    table = Table(title=f"objective: {said}", title_justify="left", title_style="bold")
    table.add_column("condition")
    table.add_column("value", justify="right")
    table.add_column("verdict")
    reasons = any(judgement.reason for judgement in verdict.judgements)
    if reasons:
        table.add_column("reason")
    for each in verdict.judgements:
        cells = [escape(each.condition), each.shown, f"[{colours[each.said]}]{each.said}[/]"]
        table.add_row(*cells, *([escape(each.reason)] if reasons else []))
    return table
