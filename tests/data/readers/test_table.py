"""Tables with columns of numbers and of texts, and with missing values."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rlcl.data.expect import ColumnExpectation, Expectation
from rlcl.data.readers.table import Table
from rlcl.data.sources import Data, loaded
from rlcl.errors import DataError, UnsupportedError
from rlcl.types import TableColumn

TABLE = """age,city,member,bought
20,Rome,yes,no
,Oslo,no,yes
40,?,yes,no
30,Rome,NA,yes
25,Oslo,no,no
50,Bern,yes,yes
"""
NAN = float("nan")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RLCL_DATA", str(tmp_path))
    (tmp_path / "t.csv").write_text(TABLE)
    return tmp_path


def table(**settings: Any) -> Data:
    return Table(**{"path": "t.csv", "target": "bought", "test_fraction": 0.34, **settings}).load()


def same(expected: list[list[float]], actual: Any) -> bool:
    return torch.equal(torch.tensor(expected).nan_to_num(-99), actual.nan_to_num(-99))


def test_numbers_texts_and_missing_cells_by_hand(root: Path) -> None:
    data = table()
    # The last row of each class is held out: lines 6 and 7. Of the training rows the cities are Oslo and Rome.
    columns = (TableColumn("age"), TableColumn("city", ("Oslo", "Rome")), TableColumn("member", ("no", "yes")))
    assert columns == data.columns
    assert same([[20, 1, 1], [NAN, 0, 0], [40, NAN, 1], [30, 1, NAN]], data.train_inputs)
    # Bern is in no training row: missing.
    assert same([[25, 0, 0], [50, NAN, 1]], data.test_inputs)
    assert ([0, 1, 0, 1], [0, 1]) == (data.train_labels.tolist(), data.test_labels.tolist())  # type: ignore[union-attr]
    assert (("no", "yes"), True, ([2, 3, 4, 5], [6, 7])) == (data.class_names, data.missing, data.lines)


def test_categories_are_those_of_the_training_rows_whatever_the_test_rows_hold(root: Path) -> None:
    before = table()
    (root / "t.csv").write_text(TABLE.replace("25,Oslo,no,no", "1e9,Aachen,maybe,no"))
    after = table()
    assert before.columns == after.columns
    assert torch.equal(before.train_inputs.nan_to_num(-1), after.train_inputs.nan_to_num(-1))  # type: ignore[union-attr]


def test_columns_that_look_like_numbers_can_be_texts_and_columns_can_be_left_out(root: Path) -> None:
    data = table(categorical=["age"], drop=["city"])
    assert (TableColumn("age", ("20", "30", "40")), TableColumn("member", ("no", "yes"))) == data.columns


def test_a_number_can_be_predicted_or_nothing(root: Path) -> None:
    (root / "n.csv").write_text("x,y\n" + "".join(f"{i},{i / 2}\n" for i in range(10)))
    assert [[0.0], [0.5]] == table(path="n.csv", target="y", regression=True).train_labels.tolist()[:2]  # type: ignore[union-attr]
    assert (2, None) == (table(path="n.csv", target=None).observation_shape[0], table(target=None).train_labels)


def test_categories_are_asked_of_test_rows_too(root: Path) -> None:
    # The last two rows are held out, and Bern is in no other.
    def expecting(*cities: str, **settings: Any) -> Data:
        expect = Expectation(columns={"city": ColumnExpectation(categories=cities)})
        return loaded(Table(path="t.csv", target="bought", expect=expect, **{"test_fraction": 0.34, **settings}))

    assert ("Oslo", "Rome") == expecting("Oslo", "Rome", "Bern").columns[1].categories
    message = (
        r"^data 't': expect\.columns\.city\.categories: \S+/t\.csv:7: test set, row 1, column city: expected one of "
        r"Oslo, Rome, got 'Bern'$"
    )
    with pytest.raises(DataError, match=message):
        expecting("Oslo", "Rome")
    (root / "test.csv").write_text("age,city,member,bought\n60,?,yes,yes\n\n60,Paris,yes,yes\n60,Turin,yes,yes\n")
    with pytest.raises(DataError, match=r"/test\.csv:4: test set, row 1, column city: .*, got 'Paris'$"):
        expecting("Bern", "Oslo", "Rome", test_path="test.csv")
    assert 3 == len(expecting("Bern", "Oslo", "Rome", "Paris", "Turin", test_path="test.csv").test)
    with pytest.raises(DataError, match=r"categories: 'Rome' not expected; allowed: Oslo, Bern"):
        expecting("Oslo", "Bern")


def test_the_test_rows_can_stand_in_a_file_of_their_own(root: Path) -> None:
    (root / "test.csv").write_text("age,city,member,bought\n60,Rome,yes,yes\n")
    data = table(test_path="test.csv")
    assert (6, 1) == (len(data.train), len(data.test))
    assert ("Bern", "Oslo", "Rome") == data.columns[1].categories
    assert [[60.0, 2.0, 1.0]] == data.test_inputs.tolist()  # type: ignore[union-attr]


def test_a_few_numbers_among_texts_are_texts_and_that_is_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "t.csv").write_text(TABLE.replace("Bern", "737"))
    data = table()
    assert TableColumn("city", ("Oslo", "Rome")) == data.columns[1]
    assert "column city: 1 of its 5 cells look like numbers (737), but it is read as texts" in caplog.text
    caplog.clear()
    assert data.columns == table(categorical=("city",)).columns
    assert "look like numbers" not in caplog.text


def test_numbers_in_another_notation_are_no_texts(root: Path) -> None:
    (root / "t.csv").write_text(TABLE.replace(",yes,", ",45%,").replace(",no,", ",7,"))
    with pytest.raises(DataError, match=r"column member: expected a number, as in other rows, got '45%'.*percentages"):
        table()


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (
            TABLE.replace("40", "forty"),
            {},
            r"t\.csv:4: column age: expected a number, .*, got 'forty'; name the column",
        ),
        (TABLE.replace("yes,no", "yes,"), {}, r"t\.csv:2: column bought: the value to predict is missing"),
        (TABLE, {"target": "bougth"}, r"no column 'bougth'; did you mean bought\?"),
        (TABLE.replace("bought", "'bought'"), {}, r"""no column 'bought'; did you mean "'bought'"\?"""),
        (TABLE, {"drop": ["citty"]}, r"drop: no column 'citty'; did you mean city\?"),
        (TABLE, {"categorical": ["age2"]}, r"no column 'age2'"),
        (TABLE.replace("city,", "age,"), {}, r"the column 'age' occurs more than once"),
        ("age,bought\n", {}, r"expected at least one row"),
        (TABLE, {"test_path": "short.csv"}, r"short\.csv: its columns differ from those of .*t\.csv: city, member"),
        (TABLE, {"test_path": "new.csv"}, r"new\.csv:2: column bought: no training row has the class 'perhaps'"),
        (TABLE.replace("20", "inf"), {}, r"1 of 4 inputs hold infinite values, the first at row 0"),
    ],
)
def test_mistakes_are_told_with_line_and_column(root: Path, text: str, settings: dict[str, Any], message: str) -> None:
    (root / "t.csv").write_text(text)
    (root / "short.csv").write_text("age,bought\n1,no\n")
    (root / "new.csv").write_text("age,city,member,bought\n1,Rome,yes,perhaps\n")
    with pytest.raises(DataError, match=message):
        table(**settings)


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        (
            {"missing": 0},
            r"expect\.missing: train set, row 1 \(line 3\), column age, is missing; 25\.00% of its values",
        ),
        (
            {"columns": {"age": ColumnExpectation(missing=0.25), "member": ColumnExpectation(missing=0.1)}},
            r"^data 't': expect\.columns\.member\.missing: train set, row 3 \(line 5\), column member, is missing",
        ),
        (
            {"columns": {"city": ColumnExpectation(categories=("Rome",))}},
            r"expect\.columns\.city\.categories: 'Oslo' not expected; allowed: Rome",
        ),
        ({"range": (0, 30)}, r"expect\.range: train set, row 2 \(line 4\), column age: .*, got 40"),
        (
            {"columns": {"city": ColumnExpectation(range=(0, 1))}},
            r"city\.range: the column holds texts; use categories",
        ),
    ],
)
def test_expectations_of_a_table_are_told_by_column(root: Path, expect: dict[str, Any], message: str) -> None:
    source = Table(path="t.csv", target="bought", test_fraction=0.34, expect=Expectation(**expect))
    with pytest.raises(DataError, match=message):
        loaded(source)


# Parquet.


def write_parquet(path: Path, **columns: Any) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)


def test_a_parquet_file_gives_what_the_csv_gives(root: Path) -> None:
    write_parquet(
        root / "t.parquet",
        age=[20, None, 40, 30, 25, 50],
        city=["Rome", "Oslo", None, "Rome", "Oslo", "Bern"],
        member=["yes", "no", "yes", None, "no", "yes"],
        bought=["no", "yes", "no", "yes", "no", "yes"],
    )
    ours, theirs = table(path="t.parquet"), table()
    assert theirs.columns == ours.columns
    for half in ("train_inputs", "test_inputs", "train_labels", "test_labels"):
        assert torch.equal(getattr(theirs, half).nan_to_num(-1), getattr(ours, half).nan_to_num(-1))


def test_types_of_parquet_decide_what_a_column_is(root: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    write_parquet(
        root / "t.parquet",
        flag=[True, False, None, True],
        code=["1", "2", "1", "2"],
        level=pyarrow.array(["low", "high", "low", "low"]).dictionary_encode(),
        y=[1, 0, 1, 0],
    )
    data = table(path="t.parquet", target="y", categorical=["code"], test_fraction=0.5)
    assert (TableColumn("flag"), TableColumn("code", ("1", "2")), TableColumn("level", ("high", "low"))) == data.columns
    assert ("0", "1") == data.class_names
    assert same([[1, 0, 1], [0, 1, 0]], data.train_inputs)


def test_what_is_neither_number_nor_text_is_refused_by_column(root: Path) -> None:
    write_parquet(root / "t.parquet", a=[[1], [2]], y=[0, 1])
    with pytest.raises(
        DataError, match=r"column a: expected numbers or texts, got list<.*; convert it, or name it under"
    ):
        table(path="t.parquet", target="y")


def test_a_broken_parquet_file_is_one_error(root: Path) -> None:
    pytest.importorskip("pyarrow")
    (root / "t.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(DataError, match=r"t\.parquet cannot be read as a Parquet file"):
        table(path="t.parquet")


def test_parquet_without_pyarrow_is_one_clear_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "t.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        UnsupportedError, match=r"Parquet needs pyarrow: pip install 'rlcl\[parquet\]', or save the table"
    ):
        table(path="t.parquet")
