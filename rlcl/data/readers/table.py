"""Tables of one's own with columns of numbers and of texts, and with missing values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen

from rlcl.config import option
from rlcl.data.cells import absent_numbers, natural, notation, number, text_of
from rlcl.data.columns import Unknown
from rlcl.data.expect import Expectation
from rlcl.data.readers.files import check_tested, held_out
from rlcl.data.readers.parquet import is_parquet, read_parquet
from rlcl.data.readers.text import check_header, check_labels, classes, read_csv
from rlcl.data.root import find_data
from rlcl.data.sources import Data
from rlcl.data.suspicious import warn_of_classes, warn_of_index, warn_of_merging, warn_of_texts
from rlcl.data.validation import tell
from rlcl.errors import DataError, did_you_mean
from rlcl.types import MISSING, Column, DataSet, Reading

__all__ = ["Table"]

Array = np.ndarray[Any, Any]


@frozen(kw_only=True)
class Table(DataSet):
    """A CSV or Parquet file whose columns hold numbers or texts, with cells that may be missing.

    A column of texts becomes the number of each text in the natural order of those in the training rows; a missing
    cell, and a text that no training row has, become NaN, which the encoders ``impute``, ``ordinal`` and
    ``one_hot`` take.

    Args:
        path: of the file, ``.parquet`` or a table with a header line, from the working directory or the data root.
        target: name of the column to predict; none for unlabelled data.
        regression: whether the target is a number to predict, not a class.
        test_path: of another file that holds the test rows; by default some rows of ``path`` are held out.
        test_fraction: of the rows, held out evenly from each class, where there is no ``test_path``.
        categorical: columns that hold texts though all of them look like numbers, for example postcodes. Texts and
            categories of a Parquet file are texts anyhow.
        drop: columns to leave out.
        missing: cells of a text file that stand for a missing value; in a column of numbers all of the same number.
        delimiter: between two cells.
        expect: what the data must be, checked when they are loaded.
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
            split = held_out(self._strata(whole), self.test_fraction)
            train, test = whole.rows(~split), whole.rows(split)
        else:
            train, test = whole, self._read(self.test_path, whole)
        features = [name for name in whole.columns if name != self.target]
        y, y_test, names = self._targets(train, test)
        x, x_test, columns = _encoded(train, test, features)
        self._warn(whole, train, test, columns)
        if self.test_path is None:
            check_tested(whole.place, split, self._strata(whole), self.test_fraction)
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
            unknown=tuple(_unknown(test, columns)),
            reading=self._reading,
        )

    @property
    def _reading(self) -> Reading:
        return Reading(self.delimiter, self.missing)

    def _warn(self, whole: _Rows, train: _Rows, test: _Rows, columns: Sequence[Column]) -> None:
        """Says what is suspicious in the columns."""
        numbers = [column for column in columns if whole.kinds[column.name]]
        if numbers:
            values = np.stack([np.array(whole.columns[column.name], np.float64) for column in numbers], 1)
            warn_of_index(whole.place, numbers, values)
            warn_of_merging(whole.place, values, numbers)
        for column in columns:
            if not whole.kinds[column.name]:
                name, meant = column.name, column.name in self.categorical
                warn_of_texts(whole.place, name, train.columns[name], test.columns[name], meant=meant)
        if self.target is not None and not self.regression:
            warn_of_classes(whole.place, self.target, whole.columns[self.target])

    def _read(self, path: str, like: _Rows | None = None) -> _Rows:
        """All rows of a file, its columns of the kinds that they have in another one where that is given."""
        place = find_data(path)
        lines, cells, texts = self._cells(place)
        for name in (*self.categorical, *([self.target] if self.target is not None else [])):
            if name not in cells:
                raise DataError(f"data {place}: no column {name!r}{did_you_mean(name, cells)}")
        if like is not None and list(like.columns) != list(cells):
            odd = sorted(set(like.columns) ^ set(cells)) or ["their order"]
            raise DataError(f"data {place}: its columns are not those of {like.place}: {', '.join(odd)}")
        if not lines:
            raise DataError(f"data {place}: expected at least one row, got none")
        target = [] if self.target is None else [self.target]
        texts = {*self.categorical, *texts, *([] if self.regression else target)} - set(target * self.regression)
        kinds = {n: n not in texts and _numeric(v) for n, v in cells.items()} if like is None else dict(like.kinds)
        if self.regression:
            kinds |= dict.fromkeys(target, True)
        absent = absent_numbers(None if is_parquet(place) else self._reading)
        columns = {}
        for name, values in cells.items():
            try:
                columns[name] = _typed(place, lines, name, values, kinds[name], absent)
            except DataError:
                if like is not None or name in target or not _mostly_texts(place, name, values):
                    raise
                kinds[name], columns[name] = False, _typed(place, lines, name, values, False, absent)
        return _Rows(place, lines, columns, kinds)

    def _cells(self, place: Path) -> tuple[Sequence[int], Mapping[str, Sequence[Any]], Collection[str]]:
        """The line of each row, the cells of each column (numbers, texts, or None), and which columns hold texts."""
        if is_parquet(place):
            named = {*self.categorical, *([] if self.target is None else [self.target])}
            columns, texts = read_parquet(place, self.drop, named)
            return range(1, len(next(iter(columns.values()), ())) + 1), columns, texts
        header, lines, rows = read_csv(place, self.delimiter)
        wanted = (*self.categorical, *([] if self.target is None else [self.target]))
        check_header(place, header, wanted, rows)
        unknown = [name for name in self.drop if name not in header]
        if unknown:
            raise DataError(f"data {place}: drop: no column {unknown[0]!r}{did_you_mean(unknown[0], header)}")
        absent, kept = frozenset(self.missing), [name for name in header if name not in self.drop]
        found = {name: [row[header.index(name)] for row in rows] for name in kept}
        return lines, {n: [None if cell in absent else cell for cell in v] for n, v in found.items()}, ()

    def _strata(self, rows: _Rows) -> Array:
        if self.target is None or self.regression:
            return np.zeros(len(rows.lines))
        return classes([str(text) for text in rows.columns[self.target]])[0]

    def _targets(self, train: _Rows, test: _Rows) -> tuple[Array | None, Array | None, tuple[str, ...]]:
        if self.target is None:
            return None, None, ()
        for rows in (train, test):
            check_labels(rows.place, rows.lines, rows.columns[self.target], self.target)
        if self.regression:
            return np.array(train.columns[self.target]), np.array(test.columns[self.target]), ()
        y, names = classes(train.columns[self.target])
        known = {name: number for number, name in enumerate(names)}
        for line, text in zip(test.lines, test.columns[self.target], strict=True):
            if text not in known:
                raise DataError(
                    f"data {test.place}:{line}: column {self.target}: no training row has the class {text!r}"
                )
        return y, np.array([known[text] for text in test.columns[self.target]]), names


@frozen
class _Rows:
    """Some rows of a file.

    Args:
        place: of the file.
        lines: of each row in it.
        columns: cells by column, numbers (NaN where missing) or texts (None).
        kinds: whether each column holds numbers.
    """

    place: Path
    lines: Sequence[int]
    columns: Mapping[str, Sequence[Any]]
    kinds: Mapping[str, bool] = field(factory=dict)

    def rows(self, chosen: Array) -> _Rows:
        places = np.flatnonzero(chosen).tolist()
        return _Rows(
            self.place,
            [self.lines[i] for i in places],
            {name: [values[i] for i in places] for name, values in self.columns.items()},
            self.kinds,
        )


def _numeric(cells: Sequence[Any]) -> bool:
    """Whether any cell is a number; all that are there should be then."""
    return any(_is_number(cell) for cell in cells) or all(cell is None for cell in cells)


def _mostly_texts(place: Path, name: str, cells: Sequence[Any]) -> bool:
    """Whether a few numbers stand among texts of other forms, as ``737`` among models of planes; says so."""
    texts = [cell for cell in cells if cell is not None and not _is_number(cell)]
    numbers = [cell for cell in cells if _is_number(cell)]
    if len(numbers) >= len(texts) or notation(set(texts)) is not None:
        return False
    tell(
        f"data {place}: column {name}: {len(numbers):,} of its {len(numbers) + len(texts):,} cells look like numbers "
        f"({numbers[0]}), and it is read as texts; if it is one, name it under categorical"
    )
    return True


def _is_number(cell: Any) -> bool:
    return cell is not None and (not isinstance(cell, str) or number(cell) is not None)


def _typed(
    place: Path, lines: Sequence[int], name: str, cells: Sequence[Any], numeric: bool, absent: Sequence[float]
) -> list[Any]:
    """Cells as numbers, NaN for those that are absent, or as texts."""
    if not numeric:
        return [None if cell is None else text_of(cell) for cell in cells]
    found = []
    for line, cell in zip(lines, cells, strict=True):
        value = cell if not isinstance(cell, str) else np.nan if cell.lower() == "nan" else number(cell)
        if value is None and cell is not None:
            told = notation([cell])
            rewrite = "" if told is None else f"it looks like one of {told[0]}: {told[1]}; else "
            raise DataError(
                f"data {place}:{line}: column {name}: expected a number, as in other rows, got {cell!r}; {rewrite}name "
                "the column under categorical, or the text under missing"
            )
        found.append(np.nan if value is None or value in absent else float(value))
    return found


def _encoded(train: _Rows, test: _Rows, names: Sequence[str]) -> tuple[Array, Array, tuple[Column, ...]]:
    """(N, F) and (M, F) float64, and what each column is; categories are numbered by the training rows alone."""
    columns = []
    halves = [np.empty((len(rows.lines), len(names))) for rows in (train, test)]
    for place, name in enumerate(names):
        seen = set() if train.kinds[name] else {text for text in train.columns[name] if text is not None}
        texts = tuple(sorted(seen, key=natural))
        known: dict[Any, float] = {text: float(number) for number, text in enumerate(texts)}
        columns.append(Column(name, texts))
        for half, rows in zip(halves, (train, test), strict=True):
            values = rows.columns[name]
            half[:, place] = values if train.kinds[name] else [known.get(text, np.nan) for text in values]
    return halves[0], halves[1], tuple(columns)


def _unknown(test: _Rows, columns: Sequence[Column]) -> Iterator[Unknown]:
    for column in columns:
        known = {None, *column.categories} if column.categorical else None
        for row, text in enumerate(test.columns[column.name] if known else ()):
            if known and text not in known:
                yield Unknown(column.name, text, row, f"{test.place}:{test.lines[row]}")
