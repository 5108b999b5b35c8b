"""Parquet files, through pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlcl.errors import DataError, UnsupportedError, did_you_mean

__all__ = ["read_parquet"]


def read_parquet(place: Path, drop: Sequence[str]) -> dict[str, list[Any]]:
    """Cells by column: numbers, texts, or None where one is missing; truth values as 0 and 1.

    Args:
        place: of the file.
        drop: columns that are not read.

    Raises:
        UnsupportedError: pyarrow is not installed.
        DataError: no Parquet file, or a column of what is neither number nor text.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise UnsupportedError(
            f"data {place}: Parquet needs pyarrow: pip install 'rlcl[parquet]', or save the table as CSV"
        ) from None
    try:
        file = parquet.ParquetFile(place)
        names = file.schema_arrow.names
        table = file.read(columns=[name for name in names if name not in drop])
        cells = {name: table.column(name).to_pylist() for name in table.column_names}
    except Exception as error:  # whatever a damaged file makes of its reader
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"data {place} is no Parquet file that can be read: {said}") from error
    unknown = [name for name in drop if name not in names]
    if unknown:
        raise DataError(f"data {place}: drop: no column {unknown[0]!r}{did_you_mean(unknown[0], names)}")
    kinds = {name: table.column(name).type for name in cells}
    return {name: _plain(cells[name], kinds[name], f"data {place}: column {name}") for name in cells}


def _plain(cells: list[Any], kind: Any, where: str) -> list[Any]:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return [None if cell is None else float(cell) for cell in cells]
    if types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind):
        return cells
    raise DataError(f"{where}: expected numbers or texts, got {kind}; convert it, or name it under drop")
