"""Parquet files, through pyarrow."""

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


def is_parquet(place: Path) -> bool:
    """Whether a file is one, by its name or its first bytes."""
    if place.suffix in SUFFIXES or not place.is_file():
        return place.suffix in SUFFIXES
    with place.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_parquet(
    place: Path, drop: Sequence[str] = (), kept: Collection[str] = ()
) -> tuple[dict[str, list[Any]], set[str]]:
    """Cells by column: numbers, texts, or None where one is missing; truth values as 0 and 1.

    The index of a pandas table is no column of it.

    Args:
        place: of the file.
        drop: columns that are not read.
        kept: columns that are read though they are an index.

    Returns:
        The cells, and the names of the columns that hold texts or categories, whatever these look like.

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
        schema = file.schema_arrow
        index, categorical = _pandas(schema.metadata)
        categorical |= _dictionaries(file.metadata.metadata)
        left_out = {*drop, *(index - set(kept))}
        table = file.read(columns=[name for name in schema.names if name not in left_out])
        cells = {name: table.column(name).to_pylist() for name in table.column_names}
        kinds = {name: table.column(name).type for name in table.column_names}
    except Exception as error:  # whatever a damaged file makes of its reader
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"data {place} is no Parquet file that can be read: {said}") from error
    unknown = [name for name in drop if name not in schema.names]
    if unknown:
        raise DataError(f"data {place}: drop: no column {unknown[0]!r}{did_you_mean(unknown[0], schema.names)}")
    texts = {name for name, kind in kinds.items() if name in categorical or _is_text(kind)}
    return {name: _plain(cells[name], kinds[name], f"data {place}: column {name}") for name in cells}, texts


def _pandas(metadata: Mapping[bytes, bytes] | None) -> tuple[set[str], set[str]]:
    """Names of index columns and of categories, as pandas notes them beside its tables; none where it did not."""
    try:
        noted = json.loads((metadata or {})[b"pandas"])
        index = {name for name in noted["index_columns"] if isinstance(name, str)}
        return index, {each["field_name"] for each in noted["columns"] if each["pandas_type"] == "categorical"}
    except (KeyError, TypeError, ValueError):
        return set(), set()


def _dictionaries(metadata: Mapping[bytes, bytes] | None) -> set[str]:
    """Names of the columns that were dictionaries when the file was written: of numbers, pyarrow gives the numbers."""
    from pyarrow import BufferReader, ipc, types

    noted = (metadata or {}).get(b"ARROW:schema")
    if noted is None:
        return set()
    return {field.name for field in ipc.read_schema(BufferReader(b64decode(noted))) if types.is_dictionary(field.type)}


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_dictionary(kind) or types.is_string(kind) or types.is_large_string(kind))


def _plain(cells: list[Any], kind: Any, where: str) -> list[Any]:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        numbers = (None if cell is None else float(cell) for cell in cells)
        return [None if cell is None or math.isnan(cell) else cell for cell in numbers]
    if types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind):
        return cells
    raise DataError(f"{where}: expected numbers or texts, got {kind}; convert it, or name it under drop")
