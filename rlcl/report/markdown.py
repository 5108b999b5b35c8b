"""Tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rlcl.evaluation.results import Array, measure_named
from rlcl.report.tables import format_number

__all__ = ["metrics_markdown", "r_markdown", "table_markdown"]


def r_markdown(matrix: Array, names: Sequence[str], measure: str, trained: Sequence[str] | None = None) -> str:
    """Return R as a table: one row per experience trained on last, one column per experience evaluated.

    Args:
        matrix: (T, J), where higher is better; NaN if absent.
        names: names of the experiences evaluated, at least J.
        measure: name of the measure in R; losses are shown with their original sign.
        trained: names of the experiences trained on, at least T; by default those of the experiences evaluated.
    """
    shown = measure_named(measure).sign * matrix
    columns = [_escaped(name) for name in names[: matrix.shape[1]]]
    lines = [f"| after | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for name, row in zip(names if trained is None else trained, shown, strict=False):
        lines.append(f"| {_escaped(name)} | {' | '.join('' if math.isnan(v) else format_number(v) for v in row)} |")
    return "\n".join(lines)


def metrics_markdown(metrics: Mapping[str, float]) -> str:
    """Return a table with one metric per row."""
    return "\n".join(
        ["| metric | value |", "|---|---:|", *(f"| {k} | {format_number(v)} |" for k, v in metrics.items())]
    )


def table_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts.

    Args:
        head: names of the columns.
        rows: cells of each row, one per column.
    """
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
