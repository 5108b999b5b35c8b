"""Data sets in the user's tables, with columns of numbers and of texts, and with missing values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen

from rlcl.config import option
from rlcl.data.cells import cell_text, detect_notation, missing_numbers, natural_key, parse_number
from rlcl.data.column_warnings import warn_about_classes, warn_about_index, warn_about_merging, warn_about_texts
from rlcl.data.expect import Expectation
from rlcl.data.readers.files import check_test_rows, held_out_mask
from rlcl.data.readers.parquet import is_parquet, read_parquet
from rlcl.data.readers.text_tables import check_header, check_labels, encode_classes, read_csv
from rlcl.data.root import find_data
from rlcl.data.sources import Data
from rlcl.data.unknown_categories import UnknownCategory
from rlcl.data.validation import warn_once
from rlcl.errors import DataError, did_you_mean
from rlcl.types import MISSING, DataSet, TableColumn, TableFormat

__all__ = ["Table"]

Array = np.ndarray[Any, Any]


@frozen(kw_only=True)
class Table(DataSet):
    """CSV or Parquet file whose columns hold numbers or texts, and whose cells may be missing.

    A text is encoded as its index in the natural order of the texts in the training rows. A missing cell, and a text
    that occurs in no training row, are encoded as NaN. The encoders ``impute``, ``ordinal`` and ``one_hot`` accept NaN.

    Args:
        path: path of the file, ``.parquet`` or a table with a header line, relative to the working directory or the
            data root.
        target: name of the column to predict; null for unlabelled data.
        regression: whether the target is a number to predict, not a class.
        test_path: path of another file with the test rows; by default some rows of ``path`` are held out.
        test_fraction: share of the rows held out as test set, the same share of each class, without ``test_path``.
        categorical: names of columns whose cells look like numbers but are texts, for example postcodes. Texts and
            categories of a Parquet file are always texts.
        drop: names of columns that are not used.
        missing: cells of a text file that mean a missing value; in a numeric column, all cells with the same number.
        delimiter: character between two cells.
        expect: expected properties of the data, checked on loading.
    """

    path: str = option()
    target: str | None = option(None)
    regression: bool = option(False)
    test_path: str | None = option(None)
    test_fraction: float = option(0.2, gt=0, lt=1)
    categorical: tuple[str, ...] = option(())
    drop: tuple[str, ...] = option(())
    missing: tuple[str, ...] = option(MISSING)
    delimiter: str = option(",", pattern=(r"[\s\S]", "one character"))
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        whole = self._read(self.path)
        if self.test_path is None:
            split = held_out_mask(self._strata(whole), self.test_fraction)
            train, test = whole.rows(~split), whole.rows(split)
        else:
            train, test = whole, self._read(self.test_path, whole)
        features = [name for name in whole.columns if name != self.target]
        y, y_test, names = self._targets(train, test)
        x, x_test, columns = _encode(train, test, features)
        self._warn(whole, train, test, columns)
        if self.test_path is None:
            check_test_rows(whole.path, split, self._strata(whole), self.test_fraction)
        return Data(
            x,
            y,
            x_test,
            y_test,
            name=Path(self.path).stem,
            class_names=names,
            regression=self.regression and y is not None,
            columns=columns,
            lines=(train.lines, test.lines),
            missing=bool(np.isnan(x).any() or np.isnan(x_test).any()),
            unknown=tuple(_unknown_categories(test, columns)),
            reading=self._format,
        )

    @property
    def _format(self) -> TableFormat:
        return TableFormat(self.delimiter, self.missing)

    def _warn(self, whole: _TableRows, train: _TableRows, test: _TableRows, columns: Sequence[TableColumn]) -> None:
        """Warn about suspicious columns."""
        numeric = [column for column in columns if whole.is_numeric[column.name]]
        if numeric:
            values = np.stack([np.array(whole.columns[column.name], np.float64) for column in numeric], 1)
            warn_about_index(whole.path, numeric, values)
            warn_about_merging(whole.path, values, numeric)
        for column in columns:
            if not whole.is_numeric[column.name]:
                name, is_categorical = column.name, column.name in self.categorical
                texts, test_texts = train.columns[name], test.columns[name]
                warn_about_texts(whole.path, name, texts, test_texts, is_categorical=is_categorical)
        if self.target is not None and not self.regression:
            warn_about_classes(whole.path, self.target, whole.columns[self.target])

    def _read(self, path: str, reference: _TableRows | None = None) -> _TableRows:
        """Read all rows of a file; with a reference, its columns have the same types as those of the reference."""
        file = find_data(path)
        lines, cells, texts = self._cells(file)
        for name in (*self.categorical, *([self.target] if self.target is not None else [])):
            if name not in cells:
                raise DataError(f"data {file}: no column {name!r}{did_you_mean(name, cells)}")
        if reference is not None and list(reference.columns) != list(cells):
            differences = sorted(set(reference.columns) ^ set(cells)) or ["their order"]
            raise DataError(f"data {file}: its columns differ from those of {reference.path}: {', '.join(differences)}")
        if not lines:
            raise DataError(f"data {file}: expected at least one row, got none")
        target = [] if self.target is None else [self.target]
        texts = {*self.categorical, *texts, *([] if self.regression else target)} - set(target * self.regression)
        if reference is None:
            is_numeric = {name: name not in texts and _should_be_numeric(column) for name, column in cells.items()}
        else:
            is_numeric = dict(reference.is_numeric)
        if self.regression:
            is_numeric |= dict.fromkeys(target, True)
        missing = missing_numbers(None if is_parquet(file) else self._format)
        columns = {}
        for name, values in cells.items():
            try:
                columns[name] = _convert(file, lines, name, values, is_numeric[name], missing)
            except DataError:
                if reference is not None or name in target or not _is_mostly_texts(file, name, values):
                    raise
                is_numeric[name], columns[name] = False, _convert(file, lines, name, values, False, missing)
        return _TableRows(file, lines, columns, is_numeric)

    def _cells(self, path: Path) -> tuple[Sequence[int], Mapping[str, Sequence[Any]], Collection[str]]:
        """Return the line of each row, the cells (numbers, texts, or None) of each column, and the columns of texts."""
        required = (*self.categorical, *([] if self.target is None else [self.target]))
        if is_parquet(path):
            columns, texts = read_parquet(path, self.drop, set(required))
            return range(1, len(next(iter(columns.values()), ())) + 1), columns, texts
        header, lines, rows = read_csv(path, self.delimiter)
        check_header(path, header, required, rows)
        unknown = [name for name in self.drop if name not in header]
        if unknown:
            raise DataError(f"data {path}: drop: no column {unknown[0]!r}{did_you_mean(unknown[0], header)}")
        missing, names = frozenset(self.missing), [name for name in header if name not in self.drop]
        cells = {name: [row[header.index(name)] for row in rows] for name in names}
        return lines, {n: [None if cell in missing else cell for cell in column] for n, column in cells.items()}, ()

    def _strata(self, rows: _TableRows) -> Array:
        if self.target is None or self.regression:
            return np.zeros(len(rows.lines))
        return encode_classes([str(text) for text in rows.columns[self.target]])[0]

    def _targets(self, train: _TableRows, test: _TableRows) -> tuple[Array | None, Array | None, tuple[str, ...]]:
        if self.target is None:
            return None, None, ()
        for rows in (train, test):
            check_labels(rows.path, rows.lines, rows.columns[self.target], self.target)
        if self.regression:
            return np.array(train.columns[self.target]), np.array(test.columns[self.target]), ()
        y, names = encode_classes(train.columns[self.target])
        indices = {name: index for index, name in enumerate(names)}
        for line, text in zip(test.lines, test.columns[self.target], strict=True):
            if text not in indices:
                raise DataError(
                    f"data {test.path}:{line}: column {self.target}: no training row has the class {text!r}; remove "
                    "the row, or add training rows"
                )
        return y, np.array([indices[text] for text in test.columns[self.target]]), names


@frozen
class _TableRows:
    """Rows of a file.

    Args:
        path: path of the file.
        lines: line number of each row.
        columns: cells of each column by name: numbers (NaN if missing) or texts (None if missing).
        is_numeric: whether each column holds numbers, by name.
    """

    path: Path
    lines: Sequence[int]
    columns: Mapping[str, Sequence[Any]]
    is_numeric: Mapping[str, bool] = field(factory=dict)

    def rows(self, mask: Array) -> _TableRows:
        """Return the rows of a mask (N,) bool."""
        indices = np.flatnonzero(mask).tolist()
        return _TableRows(
            self.path,
            [self.lines[i] for i in indices],
            {name: [values[i] for i in indices] for name, values in self.columns.items()},
            self.is_numeric,
        )


def _should_be_numeric(cells: Sequence[Any]) -> bool:
    """Return whether any cell is a number, so that all cells should be, or all cells are missing."""
    return any(_is_number(cell) for cell in cells) or all(cell is None for cell in cells)


def _is_mostly_texts(path: Path, name: str, cells: Sequence[Any]) -> bool:
    """Return whether most cells are texts, like aircraft models of which one is ``737``, and log a warning if so."""
    texts = [cell for cell in cells if cell is not None and not _is_number(cell)]
    numbers = [cell for cell in cells if _is_number(cell)]
    if len(numbers) >= len(texts) or detect_notation(set(texts)) is not None:
        return False
    warn_once(
        f"data {path}: column {name}: {len(numbers):,} of its {len(numbers) + len(texts):,} cells look like numbers "
        f"({numbers[0]}), but it is read as texts; name it under categorical if this is correct"
    )
    return True


def _is_number(cell: Any) -> bool:
    return cell is not None and (not isinstance(cell, str) or parse_number(cell) is not None)


def _convert(
    path: Path, lines: Sequence[int], name: str, cells: Sequence[Any], numeric: bool, missing: Sequence[float]
) -> list[Any]:
    """Convert cells to numbers, NaN for missing ones, or to texts."""
    if not numeric:
        return [None if cell is None else cell_text(cell) for cell in cells]
    numbers = []
    for line, cell in zip(lines, cells, strict=True):
        value = cell if not isinstance(cell, str) else np.nan if cell.lower() == "nan" else parse_number(cell)
        if value is None and cell is not None:
            notation = detect_notation([cell])
            rewrite = "" if notation is None else f"it looks like one of {notation[0]}: {notation[1]}; else "
            raise DataError(
                f"data {path}:{line}: column {name}: expected a number, as in other rows, got {cell!r}; {rewrite}name "
                "the column under categorical, or the text under missing"
            )
        numbers.append(np.nan if value is None or value in missing else float(value))
    return numbers


def _encode(train: _TableRows, test: _TableRows, names: Sequence[str]) -> tuple[Array, Array, tuple[TableColumn, ...]]:
    """Return arrays (N, F) and (M, F) float64 and the columns; only training rows determine the categories."""
    columns = []
    arrays = [np.empty((len(rows.lines), len(names))) for rows in (train, test)]
    for feature, name in enumerate(names):
        numeric = train.is_numeric[name]
        distinct = set() if numeric else {text for text in train.columns[name] if text is not None}
        texts = tuple(sorted(distinct, key=natural_key))
        indices: dict[Any, float] = {text: float(index) for index, text in enumerate(texts)}
        columns.append(TableColumn(name, texts))
        for array, rows in zip(arrays, (train, test), strict=True):
            values = rows.columns[name]
            array[:, feature] = values if numeric else [indices.get(text, np.nan) for text in values]
    return arrays[0], arrays[1], tuple(columns)


def _unknown_categories(test: _TableRows, columns: Sequence[TableColumn]) -> Iterator[UnknownCategory]:
    for column in columns:
        known = {None, *column.categories} if column.categorical else None
        for row, text in enumerate(test.columns[column.name] if known else ()):
            if known and text not in known:
                yield UnknownCategory(column.name, text, row, f"{test.path}:{test.lines[row]}")
