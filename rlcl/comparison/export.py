"""Tables as files: CSV and Parquet with every digit, Markdown and LaTeX for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlcl.comparison.verdicts import numbers
from rlcl.errors import RlclError, UnsupportedError

__all__ = ["FORMATS", "check_export", "export"]

Rows = Sequence[Mapping[str, Any]]
LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
ENDS = ("_low", "_high")
LONG = ("verdict", "path")  # too wide for a table that is read


def check_export(path: Path) -> None:
    """Refuses a file that cannot be written in the end, before the work.

    Raises:
        UnsupportedError: its suffix is none of FORMATS, or its format needs what is not installed.
    """
    if path.suffix not in FORMATS:
        raise UnsupportedError(f"--export {path}: expected a file that ends in {', '.join(FORMATS)}")
    if path.suffix == ".parquet":
        _pyarrow()


def export(path: Path, rows: Rows, caption: str) -> None:
    """Writes rows in the format that the file's suffix names.

    Args:
        path: of the file, which is replaced.
        rows: with the same keys each.
        caption: a line for people, in Markdown and LaTeX.

    Raises:
        UnsupportedError: there are no rows, or see :func:`check_export`.
        RlclError: it cannot be written.
    """
    check_export(path)
    if not rows:
        raise UnsupportedError(f"--export {path}: this table has no rows; choose another with --table")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        FORMATS[path.suffix](path, rows, caption)
    except OSError as error:
        raise RlclError(f"cannot write {path}: {error.strerror or error}") from error


def _csv(path: Path, rows: Rows, caption: str) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def _parquet(path: Path, rows: Rows, caption: str) -> None:
    pyarrow = _pyarrow()
    from pyarrow.parquet import write_table

    write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), path)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise UnsupportedError("Parquet needs pyarrow: pip install 'rlcl[parquet]', or export to .csv") from None
    return pyarrow


def _markdown(path: Path, rows: Rows, caption: str) -> None:
    header, *body = [[cell.replace("|", r"\|") for cell in line] for line in _for_people(rows)]
    rule = ["---:" if numeric else "---" for numeric in _numeric(rows)]
    lines = [f"| {' | '.join(line)} |" for line in (header, rule, *body)]
    path.write_text("\n".join([caption, "", *lines, ""]), encoding="utf-8")


def _latex(path: Path, rows: Rows, caption: str) -> None:
    header, *body = [[_escaped(cell) for cell in line] for line in _for_people(rows)]
    columns = "".join("r" if numeric else "l" for numeric in _numeric(rows))
    lines = [" & ".join(line) + r" \\" for line in (header, *body)]
    text = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        f"\\caption{{{_escaped(caption)}}}",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        lines[0],
        "\\midrule",
        *lines[1:],
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
        "",
    ]
    path.write_text("\n".join(text), encoding="utf-8")


def _for_people(rows: Rows) -> list[list[str]]:
    """A header and a line a row; a value and its interval make one cell."""
    keys = _keys(rows)
    return [[key.replace("_", " ") for key in keys], *([_cell(row, key) for key in keys] for row in rows)]


def _keys(rows: Rows) -> list[str]:
    ends = {f"{key}{end}" for key in rows[0] for end in ENDS}
    return [key for key in rows[0] if key not in ends and key not in LONG]


def _cell(row: Mapping[str, Any], key: str) -> str:
    value, ends = row[key], [row.get(f"{key}{end}") for end in ENDS]
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | str):
        return f"{value:,}" if isinstance(value, int) else value
    if None in ends:
        return numbers(value)[0]
    shown, low, high = numbers(value, *(float(end) for end in ends if end is not None))
    return f"{shown} ({low} to {high})"


def _numeric(rows: Rows) -> list[bool]:
    return [isinstance(rows[0][key], int | float) and not isinstance(rows[0][key], bool) for key in _keys(rows)]


def _escaped(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


FORMATS: Mapping[str, Callable[[Path, Rows, str], None]] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".tex": _latex,
    ".md": _markdown,
}
