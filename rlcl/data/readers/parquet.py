"""Parquet files, read with pyarrow."""

from __future__ import annotations

import json
import math
from base64 import b64decode
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlcl.errors import DataError, UnsupportedError, did_you_mean

__all__ = ["is_parquet", "read_parquet"]

SUFFIXES, MAGIC = (".parquet", ".pq"), b"PAR1"


def is_parquet(path: Path) -> bool:
    """Return whether a file is a Parquet file, by its suffix or its first bytes."""
    if path.suffix in SUFFIXES or not path.is_file():
        return path.suffix in SUFFIXES
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_parquet(
    path: Path, drop: Sequence[str] = (), keep: Collection[str] = ()
) -> tuple[dict[str, list[Any]], set[str]]:
    """Read the columns of a Parquet file, without the index of a pandas table.

    Args:
        path: path of the file.
        drop: names of columns that are not read.
        keep: names of index columns that are read.

    Returns:
        The cells of each column, by name, and the names of the columns that hold texts or categories, even if these
        look like numbers. A cell is a number, a text, or None if it is missing; truth values are 0 and 1.

    Raises:
        UnsupportedError: pyarrow is not installed.
        DataError: the file is no Parquet file, or a column holds neither numbers nor texts.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise UnsupportedError(
            f"data {path}: Parquet needs pyarrow: pip install 'rlcl[parquet]', or save the table as CSV"
        ) from None
    try:
        file = parquet.ParquetFile(path)
        schema = file.schema_arrow
        index, categorical = _pandas_columns(schema.metadata)
        categorical |= _dictionary_columns(file.metadata.metadata)
        excluded = {*drop, *(index - set(keep))}
        table = file.read(columns=[name for name in schema.names if name not in excluded])
        cells = {name: table.column(name).to_pylist() for name in table.column_names}
        types = {name: table.column(name).type for name in table.column_names}
    except Exception as error:  # a damaged file can raise any error in the reader
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"data {path} cannot be read as a Parquet file: {reason}") from error
    unknown = [name for name in drop if name not in schema.names]
    if unknown:
        raise DataError(f"data {path}: drop: no column {unknown[0]!r}{did_you_mean(unknown[0], schema.names)}")
    texts = {name for name, cell_type in types.items() if name in categorical or _is_text(cell_type)}
    return {name: _plain_cells(cells[name], types[name], f"data {path}: column {name}") for name in cells}, texts


def _pandas_columns(metadata: Mapping[bytes, bytes] | None) -> tuple[set[str], set[str]]:
    """Return the names of the index columns and of the categorical columns in the metadata that pandas writes."""
    try:
        description = json.loads((metadata or {})[b"pandas"])
        index = {name for name in description["index_columns"] if isinstance(name, str)}
        columns = description["columns"]
        return index, {column["field_name"] for column in columns if column["pandas_type"] == "categorical"}
    except (KeyError, TypeError, ValueError):
        return set(), set()


def _dictionary_columns(metadata: Mapping[bytes, bytes] | None) -> set[str]:
    """Return the names of the columns that were dictionaries on writing; pyarrow reads those of numbers as numbers."""
    from pyarrow import BufferReader, ipc, types

    schema = (metadata or {}).get(b"ARROW:schema")
    if schema is None:
        return set()
    return {field.name for field in ipc.read_schema(BufferReader(b64decode(schema))) if types.is_dictionary(field.type)}


def _is_text(cell_type: Any) -> bool:
    from pyarrow import types

    return bool(types.is_dictionary(cell_type) or types.is_string(cell_type) or types.is_large_string(cell_type))


def _plain_cells(cells: list[Any], cell_type: Any, where: str) -> list[Any]:
    from pyarrow import types

    if types.is_dictionary(cell_type):
        cell_type = cell_type.value_type
    numeric = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
    if any(is_kind(cell_type) for is_kind in numeric):
        numbers = (None if cell is None else float(cell) for cell in cells)
        return [None if cell is None or math.isnan(cell) else cell for cell in numbers]
    if types.is_string(cell_type) or types.is_large_string(cell_type) or types.is_null(cell_type):
        return cells
    raise DataError(f"{where}: expected numbers or texts, got {cell_type}; convert it, or name it under drop")
