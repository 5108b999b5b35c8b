"""Tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rlcl.evaluation.results import Array, measure_named
from rlcl.report.tables import format_number

__all__ = ["metrics_markdown", "r_markdown", "table_markdown"]


def r_markdown(matrix: Array, names: Sequence[str], measure: str) -> str:
    """R: a row for what was trained on last, a column for what was evaluated.

    Args:
        matrix: (T, J), higher being better; NaN where absent.
        names: of the experiences, at least J.
        measure: what R holds; its losses are shown as such.
    """
    shown = measure_named(measure).sign * matrix
    columns = [_cell(name) for name in names[: matrix.shape[1]]]
    lines = [f"| after | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for t, row in enumerate(shown):
        name = _cell(names[t]) if len(matrix) > 1 else "joint"
        lines.append(f"| {name} | {' | '.join('' if math.isnan(v) else format_number(v) for v in row)} |")
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
