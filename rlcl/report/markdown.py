"""Tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rlcl.evaluation.results import Array, measure_named
from rlcl.report.tables import format_number

__all__ = ["metrics_markdown", "r_markdown", "table_markdown"]


def r_markdown(matrix: Array, names: Sequence[str], measure: str, trained: Sequence[str] | None = None) -> str:
    """R: a row for what was trained on last, a column for what was evaluated.

    Args:
        matrix: (T, J), higher being better; NaN where absent.
        names: of the experiences evaluated, at least J.
        measure: what R holds; its losses are shown as such.
        trained: names of the experiences trained on, at least T; those evaluated by default.
    """
    shown = measure_named(measure).sign * matrix
    columns = [_cell(name) for name in names[: matrix.shape[1]]]
    lines = [f"| after | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for name, row in zip(names if trained is None else trained, shown, strict=False):
        lines.append(f"| {_cell(name)} | {' | '.join('' if math.isnan(v) else format_number(v) for v in row)} |")
    return "\n".join(lines)


def metrics_markdown(metrics: Mapping[str, float]) -> str:
    """A row a metric."""
    return "\n".join(
        ["| metric | value |", "|---|---:|", *(f"| {k} | {format_number(v)} |" for k, v in metrics.items())]
    )


def table_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts.

    Args:
        head: names of the columns.
        rows: of as many cells each.
    """
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
