"""Export of tables: CSV and Parquet with all digits, Markdown and LaTeX with rounded numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlcl.comparison.verdicts import format_numbers
from rlcl.errors import RlclError, UnsupportedError

__all__ = ["FORMATS", "check_export", "export"]

Rows = Sequence[Mapping[str, Any]]
LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
ENDS = ("_low", "_high")
WIDE_COLUMNS = ("verdict", "path")  # left out of Markdown and LaTeX
HEADINGS = {"least": "minimum", "greatest": "maximum"}  # in Markdown and LaTeX, if different from the key


def check_export(path: Path) -> None:
    """Check that a file can be exported, before the tables are computed.

    Raises:
        UnsupportedError: FORMATS does not contain the suffix, or the format needs a package that is not installed.
    """
    if path.suffix not in FORMATS:
        raise UnsupportedError(f"--export {path}: expected a file that ends in {', '.join(FORMATS)}")
    if path.suffix == ".parquet":
        _pyarrow()


def export(path: Path, rows: Rows, caption: str) -> None:
    """Write rows in the format of the file's suffix.

    Args:
        path: the file; an existing file is replaced.
        rows: rows of the table, all with the same keys.
        caption: caption of the table in Markdown and LaTeX.

    Raises:
        UnsupportedError: there are no rows, or see :func:`check_export`.
        RlclError: the file cannot be written.
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
    header, *body = [[cell.replace("|", r"\|") for cell in line] for line in _text_rows(rows)]
    rule = ["---:" if numeric else "---" for numeric in _numeric_columns(rows)]
    lines = [f"| {' | '.join(line)} |" for line in (header, rule, *body)]
    path.write_text("\n".join([caption, "", *lines, ""]), encoding="utf-8")


def _latex(path: Path, rows: Rows, caption: str) -> None:
    header, *body = [[_latex_escaped(cell) for cell in line] for line in _text_rows(rows)]
    columns = "".join("r" if numeric else "l" for numeric in _numeric_columns(rows))
    lines = [" & ".join(line) + r" \\" for line in (header, *body)]
    text = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        f"\\caption{{{_latex_escaped(caption)}}}",
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


def _text_rows(rows: Rows) -> list[list[str]]:
    """Return a header and one line per row; a value and its interval share one cell."""
    keys = _shown_keys(rows)
    return [
        [HEADINGS.get(key, key.replace("_", " ")) for key in keys],
        *([_cell_text(row, key) for key in keys] for row in rows),
    ]


def _shown_keys(rows: Rows) -> list[str]:
    ends = {f"{key}{end}" for key in rows[0] for end in ENDS}
    return [key for key in rows[0] if key not in ends and key not in WIDE_COLUMNS]


def _cell_text(row: Mapping[str, Any], key: str) -> str:
    value, ends = row[key], [row.get(f"{key}{end}") for end in ENDS]
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | str):
        return f"{value:,}" if isinstance(value, int) else value
    if None in ends:
        return format_numbers(value)[0]
    text, low, high = format_numbers(value, *(float(end) for end in ends if end is not None))
    return f"{text} ({low} to {high})"


def _numeric_columns(rows: Rows) -> list[bool]:
    return [isinstance(rows[0][key], int | float) and not isinstance(rows[0][key], bool) for key in _shown_keys(rows)]


def _latex_escaped(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


FORMATS: Mapping[str, Callable[[Path, Rows, str], None]] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".tex": _latex,
    ".md": _markdown,
}
