"""What the columns of a user's file are taken for, and what is said of those that are suspicious."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlcl.data import validation
from rlcl.data.cells import detect_notation, natural_key
from rlcl.data.readers.files import Csv, Npz
from rlcl.data.readers.table import Table
from rlcl.data.sources import Data
from rlcl.errors import DataError
from rlcl.types import TableColumn, TableFormat


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RLCL_DATA", str(tmp_path))
    validation.warn_once.cache_clear()
    return tmp_path


def table(root: Path, text: str, **settings: Any) -> Data:
    (root / "t.csv").write_text(text)
    return Table(path=str(root / "t.csv"), **settings).load()


def test_the_order_of_classes_is_one_though_one_is_called_nan() -> None:
    names = ("0.0", "1.0", "2.0", "4.0", "nan")
    assert {names} == {tuple(sorted(order, key=natural_key)) for order in permutations(names)}


@pytest.mark.parametrize("label", ["", "  ", "nan", "NA"])
def test_a_missing_label_is_refused_by_file_and_line(label: str, root: Path) -> None:
    (root / "t.csv").write_text(f"x,y\n1,a\n2,{label}\n3,b\n")
    for reader in (Csv, Table):
        with pytest.raises(DataError, match=r"t\.csv:3: column y: the value to predict is missing"):
            reader(path=str(root / "t.csv"), target="y").load()


def test_a_missing_label_of_a_parquet_file_is_no_class(root: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for labels in ([0.0, float("nan"), 1.0], ["a", None, "b"]):
        parquet.write_table(pyarrow.table({"x": [1.0, 2.0, 3.0], "y": labels}), root / "t.parquet")
        with pytest.raises(DataError, match=r"t\.parquet:2: column y: the value to predict is missing"):
            Table(path=str(root / "t.parquet"), target="y").load()


def test_blanks_around_cells_make_no_classes_of_their_own(root: Path) -> None:
    (root / "t.csv").write_text("x , y\n" + "1, a\n2,a \n3,a\n4,b\n5, b\n   \n" * 3)
    data = Csv(path=str(root / "t.csv"), target="y").load()
    assert (("a", "b"), (TableColumn("x"),)) == (data.class_names, data.columns)


@pytest.mark.parametrize("header", ["x,y,y", "x,x,y"])
def test_a_column_that_is_there_twice_is_refused(header: str, root: Path) -> None:
    (root / "t.csv").write_text(f"{header}\n1,2,a\n2,3,b\n")
    with pytest.raises(DataError, match="occurs more than once; rename one"):
        Csv(path=str(root / "t.csv"), target="y").load()


def test_a_header_that_was_not_cut_names_the_delimiter(root: Path) -> None:
    with pytest.raises(DataError, match="its only cell holds ';': set delimiter to it"):
        table(root, "x;y\n1;a\n", target="y")


def test_a_marker_that_is_a_number_stands_for_its_number(root: Path) -> None:
    data = table(root, "x;c\n0;0\n0.0;a\n2;b\n3;a\n4;a\n", missing=("0",), delimiter=";", test_fraction=0.2)
    assert [True, True, False, False] == data.train_inputs[:, 0].isnan().tolist()  # type: ignore[union-attr, index]
    assert ("a", "b") == data.columns[1].categories
    assert TableFormat(";", ("0",)) == data.reading


def test_texts_and_categories_of_parquet_are_texts_and_the_index_of_pandas_is_no_column(root: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        "code": ["1", "2"] * 5,
        "kind": pyarrow.array([7, 8] * 5).dictionary_encode(),
        "rating": [1, 2] * 5,
        "size": np.arange(10.0),
        "__index_level_0__": range(10),
    }
    noted = {
        "index_columns": ["__index_level_0__"],
        "columns": [{"field_name": "rating", "pandas_type": "categorical"}, {"field_name": "size", "pandas_type": "f"}],
    }
    made = pyarrow.table(columns).replace_schema_metadata({b"pandas": json.dumps(noted).encode()})
    parquet.write_table(made, root / "t.parquet")
    data = Table(path=str(root / "t.parquet")).load()
    assert (
        TableColumn("code", ("1", "2")),
        TableColumn("kind", ("7", "8")),
        TableColumn("rating", ("1", "2")),
        TableColumn("size"),
    ) == data.columns


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["45%", "3.5 %"], "percentages"),
        (["1,5", "22,75"], "numbers with a decimal comma"),
        (["1,234", "999", "12,345,678"], "numbers with thousands separators"),
        (["1.234,56"], "numbers with thousands separators"),
        (["$5", "$1,200"], "amounts of money"),
        (["12 €"], "amounts of money"),
        (["2020-01-02", "2020-01-03 12:30:00"], "dates or times"),
        (["01/02/2020"], "dates or times"),
        (["\u22121", "2", "(3.5)"], "negative numbers in parentheses, or with a minus sign that is not a hyphen"),
        (["Oslo", "45%"], None),
        (["1", "2"], None),
        (["10-20"], None),
        ([], None),
    ],
)
def test_a_notation_is_known_by_all_texts(texts: list[str], found: str | None) -> None:
    told = detect_notation(texts)
    assert found == (None if told is None else told[0])


def warned(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


def test_suspicious_columns_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [f"{i},{1_700_000_000 + i},{i % 7},5{i % 9}%,Name {i},{'ab'[i % 2]}" for i in range(40)]
    table(root, "\n".join([",time,n,share,name,y", *rows]), target="y")
    told = warned(caplog)
    assert "the column without a name counts the rows" in told
    assert "column time: 39 of its 40 distinct numbers become equal to others in float32" in told
    assert "column share: 9 texts become categories without order; they look like percentages" in told
    assert "column name: 32 distinct texts in 32 training rows with a text; remove it with drop" in told
    assert 4 == len(caplog.records)


def test_texts_that_test_rows_have_alone_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "test.csv").write_text("day,x\n" + "2020-02-01,1\n2020-02-02,2\n" * 3)
    table(root, "day,x\n" + "2020-01-01,1\n2020-01-02,2\n" * 10, test_path=str(root / "test.csv"))
    said = "column day: 6 of 6 texts of test rows are in no training row and count as missing; they look like dates"
    assert said in warned(caplog)


def test_a_number_to_predict_that_is_no_class_is_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError):
        table(root, "x,y\n" + "".join(f"{i % 3},{i / 7}\n" for i in range(20)), target="y")
    assert "column y: 20 classes in 20 rows; set regression: true" in warned(caplog)


@pytest.mark.parametrize("reader", [Csv, Table])
def test_classes_that_are_hardly_two_are_told(root: Path, caplog: pytest.LogCaptureFixture, reader: Any) -> None:
    names = ["yes", "Yes", "1", "1.0", "no"]
    (root / "t.csv").write_text("x,y\n" + "".join(f"{i},{names[i % 5]}\n" for i in range(50)))
    reader(path=str(root / "t.csv"), target="y").load()
    assert "column y: 'Yes' and 'yes' are two classes; write both the same if they are one" in warned(caplog)
    assert "column y: '1' and '1.0' are two classes" in warned(caplog)
    assert 2 == len(caplog.records)


def test_good_columns_are_passed_over(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.9f},{rng.integers(9)},{'xyz'[i % 3]},{rng.integers(1000)}.5,{i % 2}" for i in range(300)]
    table(root, "\n".join(["a,id,c,d,y", *rows]), target="y")
    np.savez(root / "t.npz", x=rng.normal(size=(100_000, 2)), y=rng.integers(0, 2, 100_000))
    Npz(path=str(root / "t.npz")).load()
    assert "" == warned(caplog)


def test_whole_numbers_of_an_array_that_merge_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.savez(root / "t.npz", x=2**24 + np.arange(10).reshape(10, 1), y=np.arange(10) % 2)
    Npz(path=str(root / "t.npz")).load()
    assert "value 0 of each row: " in warned(caplog)


@pytest.mark.parametrize(
    ("cell", "remedy"), [("1,5", "write them with a decimal point"), ("", "use the data set table for missing values")]
)
def test_what_csv_takes_for_no_number_is_told_with_its_remedy(cell: str, remedy: str, root: Path) -> None:
    (root / "t.csv").write_text(f"x;y\n1;a\n{cell};b\n")
    with pytest.raises(DataError, match=rf"t\.csv:3: column x: expected a number, .*{remedy}"):
        Csv(path=str(root / "t.csv"), target="y", delimiter=";").load()


def test_numbers_stay_what_they_were(root: Path) -> None:
    rows = "1,0.5\n 2 ,1e3\nNaN,-3\n.5,+4\n5,5\n"
    data = table(root, f"x,y\n{rows}", target="y", regression=True)
    assert torch.equal(torch.tensor([0.5, 1000, -3, 4]), data.train_labels.flatten())  # type: ignore[union-attr]
    assert [1, 2, -99, 0.5] == data.train_inputs.flatten().nan_to_num(-99).tolist()  # type: ignore[union-attr]
