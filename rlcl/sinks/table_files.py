"""Sinks that write the records and events of a run as tables: CSV and Parquet."""

from __future__ import annotations

import csv
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
from attrs import define, field, fields

from rlcl.errors import Problem
from rlcl.tracking.folder import disk_errors, read_events, read_records
from rlcl.types import Boundary, Event, Record, RunStart, Sink

__all__ = ["Csv", "Parquet"]

Row = Mapping[str, Any]


@define(kw_only=True, eq=False)
class TableFiles(Sink):
    """Tables of a run's records and events, written from its files when the run ends or is interrupted."""

    from_files: ClassVar[bool] = True
    suffix: ClassVar[str]
    _folder: Path = field(init=False)

    def open(self, run: RunStart) -> None:
        self._folder = run.folder

    def write(self, item: Event | Record | Boundary) -> None:
        pass

    def close(self) -> None:
        with disk_errors(self._folder):
            for name in TABLES:
                path = self._folder / f"{name}{self.suffix}"
                temporary = path.with_name(f".{path.name}")
                self._write_table(name, temporary)
                temporary.replace(path)

    @abstractmethod
    def _write_table(self, name: str, path: Path) -> None:
        """Write the table ``records`` or ``events`` to a file."""

    def look(self, folder: Path) -> str:
        inner = "" if (folder / "config.yaml").is_file() else "seed*/"
        return f"{folder}/{inner}records{self.suffix}"


@define(kw_only=True, eq=False)
class Csv(TableFiles):
    """Tables ``records.csv`` and ``events.csv`` in the run's folder; a value that an event lacks is an empty cell."""

    suffix: ClassVar[str] = ".csv"

    def _write_table(self, name: str, path: Path) -> None:
        columns = dict.fromkeys(key for row in TABLES[name](self._folder) for key in row)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(columns) or FIRST_COLUMNS[name], lineterminator="\n")
            writer.writeheader()
            writer.writerows(TABLES[name](self._folder))


@define(kw_only=True, eq=False)
class Parquet(TableFiles):
    """Tables ``records.parquet`` and ``events.parquet`` in the run's folder."""

    suffix: ClassVar[str] = ".parquet"

    def __attrs_post_init__(self) -> None:
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise Problem("Parquet needs pyarrow; install it with pip install 'rlcl[parquet]'") from None

    def _write_table(self, name: str, path: Path) -> None:
        import pyarrow
        from pyarrow.parquet import write_table

        rows = list(TABLES[name](self._folder))
        columns = list(dict.fromkeys(key for row in rows for key in row)) or FIRST_COLUMNS[name]
        write_table(pyarrow.table({column: [row.get(column) for row in rows] for column in columns}), path)


def _records(folder: Path) -> Iterator[Row]:
    return (attrs.asdict(record) for record in read_records(folder))


TABLES = {"records": _records, "events": read_events}
FIRST_COLUMNS = {"records": [column.name for column in fields(Record)], "events": ["step", "time"]}
