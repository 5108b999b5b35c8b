"""Tables for the terminal: R, metrics with intervals, probes, costs, and the verdict on the objective."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from attrs import frozen
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from rlcl.comparison.costs import COSTS
from rlcl.comparison.matrices import mean_rows
from rlcl.evaluation.metric_meaning import MetricMeaning
from rlcl.evaluation.outcome import Outcome
from rlcl.evaluation.results import Results, is_reference, measure_named, online_name, pooled_metrics
from rlcl.objective import Verdict
from rlcl.statistics.intervals import SeedSummary, summarize
from rlcl.types import Record

__all__ = [
    "costs_line",
    "format_number",
    "metrics_table",
    "probes_table",
    "r_table",
    "summarize_metrics",
    "undefined_lines",
    "verdict_table",
]

PADDING = 3  # characters around a cell: two blanks and a line


def format_number(value: float) -> str:
    """Return a number with three decimals, or with one decimal from 10."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


@frozen
class WideTable:
    """A table whose columns are continued in further tables below, if they do not fit into the width of the console.

    Args:
        title: title of the first table.
        columns: headings, of which the first one belongs to the names of the rows.
        rows: the name of each row and its other cells.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the tables; rich calls this method."""
        first, *widths = [
            max([self._heading_width(name), *(len(row[index]) for row in self.rows)]) + PADDING
            for index, name in enumerate(self.columns)
        ]
        start = 0
        while start < len(widths):
            end, used = start + 1, first + widths[start]
            while end < len(widths) and used + widths[end] < options.max_width:
                used += widths[end]
                end += 1
            yield self._part(start + 1, end + 1)
            start = end

    def _heading_width(self, name: str) -> int:
        return max(map(len, name.split()), default=0) if name != self.columns[0] else len(name)

    def _part(self, start: int, end: int) -> Table:
        title = self.title if start == 1 else None
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column(self.columns[0], no_wrap=True)
        for index, name in enumerate(self.columns[start:end], start):
            longest = max((len(row[index]) for row in self.rows), default=0)
            table.add_column(name, justify="right", min_width=longest)
        for name, *cells in self.rows:
            table.add_row(name, *cells[start - 1 : end - 1])
        return table


def r_table(outcomes: Sequence[Outcome], names: Sequence[str], trained: Sequence[str]) -> WideTable:
    """Return R, mean over seeds: one row per experience trained on last, one column per experience evaluated.

    Args:
        outcomes: outcome of each seed.
        names: names of the experiences evaluated.
        trained: names of the experiences trained on.
    """
    measure = outcomes[0].measures[0]
    seeds = f"mean of {len(outcomes)} seeds" if len(outcomes) > 1 else "1 seed"
    rows = mean_rows([Results(o.records, measure) for o in outcomes], len(names), trained)
    return WideTable(
        f"{measure_named(measure).display_name} ({seeds})",
        ["trained on \\ evaluated on", *names],
        [[row.name, *("" if np.isnan(v) else format_number(float(v)) for v in row.mean)] for row in rows],
    )


def summarize_metrics(outcomes: Sequence[Outcome]) -> Mapping[str, SeedSummary]:
    """Return the mean and the interval over seeds of each metric that all seeds have, and the pooled metrics."""
    by_seed = [o.metrics for o in outcomes]
    names = [name for name in by_seed[0] if all(name in metrics for metrics in by_seed)]
    pooled = pooled_metrics([o.records for o in outcomes], outcomes[0].measures, outcomes[0].names)
    return {name: summarize([metrics[name] for metrics in by_seed]) for name in names} | dict(pooled)


def metrics_table(summaries: Mapping[str, SeedSummary], meanings: Mapping[str, MetricMeaning]) -> Table:
    """Return a table with one metric per row.

    Args:
        summaries: mean and interval of each metric, by name.
        meanings: meaning of each metric, by name.
    """
    seeds = max((s.seeds for s in summaries.values()), default=0)
    title = f"metrics (mean and 95 % Student interval over {seeds} seeds)" if seeds > 1 else "metrics (1 seed)"
    caption = "\n".join(_direction_notes([meanings[name] for name in summaries if name in meanings])) or None
    table = Table(title=title, title_justify="left", title_style="bold", caption=caption, caption_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    if seeds > 1:
        table.add_column("interval", justify="right")
    for name, summary in summaries.items():
        interval = f"{format_number(summary.low)} to {format_number(summary.high)}"
        table.add_row(name, format_number(summary.mean), *([interval] if seeds > 1 else []))
    return table


def _direction_notes(meanings: Sequence[MetricMeaning]) -> Iterator[str]:
    """Yield notes on the measures that are losses, and on the metrics of which lower values are better."""
    measures = {m: measure_named(m) for m in dict.fromkeys(meaning.measure for meaning in meanings)}
    losses = [measure.name for measure in measures.values() if measure.better == "lower"]
    if losses:
        yield f"negated losses, higher is better: {', '.join(losses)}"
    lower = [meaning.metric for meaning in meanings if meaning.better == "lower"]
    if lower:
        yield f"lower is better: {', '.join(dict.fromkeys(lower))}"


def undefined_lines(outcome: Outcome) -> Iterator[str]:
    """Yield one line for each requested metric that is not defined, with the reason."""
    for name, reason in outcome.undefined.items():
        yield f"{name} is not defined: {reason}"


def probes_table(outcomes: Sequence[Outcome], names: Sequence[str]) -> WideTable | None:
    """Return the last value of each probe in each experience, mean over seeds; None without probes.

    Args:
        outcomes: outcome of each seed.
        names: names of the experiences trained on.
    """
    by_seed = [_last_values(outcome.records) for outcome in outcomes]
    measures = outcomes[0].measures
    recorded = {m for m, _ in by_seed[0] if not is_reference(m)}
    probes = sorted(recorded - {*measures, *COSTS, *map(online_name, measures)})
    if not probes:
        return None
    experiences = sorted({t for m, t in by_seed[0] if m in probes})
    rows = []
    for probe in probes:
        cells = [[values[probe, t] for values in by_seed if (probe, t) in values] for t in experiences]
        rows.append([probe, *(format_number(float(np.mean(cell))) if cell else "" for cell in cells)])
    return WideTable(
        "probes, after training on", ["probe", *("nothing" if t < 0 else names[t] for t in experiences)], rows
    )


def costs_line(outcomes: Sequence[Outcome], spent: Sequence[Mapping[str, float]]) -> str:
    """Return the costs of a run, mean over seeds: parameters and memory at the end, total updates, samples and time.

    Args:
        outcomes: outcome of each seed.
        spent: seconds and cpu_seconds of each seed.
    """
    by_seed = [_last_values(outcome.records) for outcome in outcomes]

    def mean(name: str) -> float:
        values = [[v for (m, _), v in sorted(recorded.items()) if m == name] for recorded in by_seed]
        return float(np.mean([v[-1] if name in ("parameters", "memory_bytes") else sum(v) for v in values]))

    words = {"parameters": "parameters", "memory_bytes": "bytes of memory", "updates": "updates", "samples": "samples"}
    known = [name for name in words if all(any(m == name for m, _ in recorded) for recorded in by_seed)]
    parts = [f"{mean(name):,.0f} {words[name]}" for name in known]
    seconds, cpu = (float(np.mean([s.get(key, np.nan) for s in spent])) for key in ("seconds", "cpu_seconds"))
    return ", ".join([*parts, f"{seconds:,.1f} s ({cpu:,.1f} s of CPU)"])


def _last_values(records: Sequence[Record]) -> dict[tuple[str, int], float]:
    """Return the last value of each metric after training on each experience."""
    return {(r.metric, r.trained_on): r.value for r in sorted(records, key=lambda r: r.step)}


def verdict_table(verdict: Verdict) -> Table:
    """Return a table of the conditions and constraints of an objective: met, not met or undecided, with the reasons."""
    colors = {"met": "green", "not met": "red", "undecided": "yellow"}
    title = Text.assemble("objective: ", (verdict.status, colors[verdict.status]))
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("condition")
    table.add_column("value", justify="right")
    table.add_column("verdict")
    reasons = any(condition.reason for condition in verdict.conditions)
    if reasons:
        table.add_column("reason")
    for condition in verdict.conditions:
        status = Text(condition.status, colors[condition.status])
        table.add_row(condition.condition, condition.value_text, status, *([condition.reason] if reasons else []))
    return table
