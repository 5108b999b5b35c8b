"""Columns of a table in a bundle: bounds of their own, and files read as that of the training data was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from rlcl.commands import main
from rlcl.data.readers.table import Table
from rlcl.data.sources import UnlabelledArrays
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.exporting.fields import array_field
from rlcl.deploy.signature import Field, InvalidInput, Signature
from rlcl.deploy.table_rows import read_rows
from rlcl.errors import DataError
from rlcl.types import TableColumn, TableFormat

COLUMNS = (TableColumn("hour"), TableColumn("pay"), TableColumn("city", ("Oslo", "Rome")))
ROWS = [[0.0, 100.0, 0.0], [23.0, 5000.0, 1.0]]
NAN = float("nan")


def field(**settings: Any) -> Field:
    made = array_field([UnlabelledArrays(torch.tensor(ROWS))], columns=COLUMNS, reading=TableFormat())
    return attrs.evolve(made, **settings)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([900, 55, 0], "column hour: expected at most 46, got 900"),
        ([-30, 55, 0], "column hour: expected at least -23, got -30"),
        ([12, 20_000, 1], "column pay: expected at most 9900, got 20000"),
        ([12, 55, 2], "column city: expected an integer from 0 to 1, the index of a category, got 2"),
        ([12, 55, 0.5], "column city: expected an integer from 0 to 1, the index of a category, got 0.5"),
        ([12, None, 0], "column pay: expected a number, got null"),
    ],
)
def test_a_value_outside_of_its_column_is_refused_by_the_columns_name(row: list[Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message.replace("[", r"\[")):
        field().rows([[12, 55, 1], row])
    assert [[12, 55, 1]] == field().rows([[12, 55, 1]]).tolist()


def test_a_column_that_is_the_same_everywhere_may_move_by_its_magnitude() -> None:
    made = array_field(
        [UnlabelledArrays(torch.tensor([[0.0, 7.0], [0.0, 7.0]]))], columns=(TableColumn("a"), TableColumn("b"))
    )
    assert ([-1, 0], [1, 14]) == (made.low.tolist(), made.high.tolist())  # type: ignore[union-attr]


def test_a_number_that_stands_for_a_missing_value_is_one_in_arrays_too() -> None:
    made = field(reading=TableFormat(",", ("-9",)), missing=True)
    found = made.rows([[-9, 55, 1], [9, -9, 0]])
    np.testing.assert_array_equal(np.array([[NAN, 55, 1], [9, NAN, 0]], np.float32), found)
    with pytest.raises(
        InvalidInput, match="column hour: expected a value that is not missing, because the training data have no"
    ):
        field(reading=TableFormat(",", ("-9",))).rows([[-9, 55, 1]])


def test_a_file_is_read_as_that_of_the_training_data_was(tmp_path: Path) -> None:
    rows = "".join(f"{i % 3}.0;{'xy-'[i % 3]};{i}\n" for i in range(30))
    (tmp_path / "t.csv").write_text(f"a;b;c\n{rows}")
    data = Table(path=str(tmp_path / "t.csv"), delimiter=";", missing=("0", "-"), test_fraction=0.5).load()
    made = array_field([data.train, data.test], missing=True, columns=data.columns, reading=data.reading)
    whole = np.empty((30, 3))
    lines, found = read_rows(tmp_path / "t.csv", made)
    for source, numbers in zip((data.train, data.test), data.lines or (), strict=True):
        whole[[lines.index(number) for number in numbers]] = source.read()[0].numpy()
    np.testing.assert_array_equal(whole, made.rows(found))
    assert 10 == np.isnan(whole[:, 0]).sum()


def test_parquet_is_read_as_well(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"city": ["Rome", "Oslo", None], "y": [0, 1, 1], "pay": [1.0, None, 3.0], "hour": [1, 2, 3]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    expected = [[1, 1, 1], [2, NAN, 0], [3, 3, NAN]]
    np.testing.assert_array_equal(expected, read_rows(tmp_path / "t.parquet", field(missing=True))[1])


def test_cells_too_many_are_refused_and_another_delimiter_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("hour,pay,city\n1,5,Rome,3\n")
    with pytest.raises(DataError, match=r"t\.csv:2: expected 3 cells, got 4"):
        read_rows(tmp_path / "t.csv", field())
    (tmp_path / "t.csv").write_text("hour;pay;city\n1;5;Rome\n")
    with pytest.raises(DataError, match=r"separate cells by commas, as in the training data"):
        read_rows(tmp_path / "t.csv", field())


def test_a_signature_from_before_is_read_with_commas_and_the_usual_markers(tmp_path: Path) -> None:
    data = json.loads(json.dumps(field(missing=True).to_json()))
    assert TableFormat() == Field.from_json(data).reading
    del data["reading"]
    old = Field.from_json(data)
    (tmp_path / "t.csv").write_text("hour,pay,city\nNA,5,Rome\n")
    np.testing.assert_array_equal([[NAN, 5, 1]], read_rows(tmp_path / "t.csv", old)[1])


def test_wider_bounds_are_no_change_of_a_signature() -> None:
    output = (Field(name="value", shape=(1,), dtype="float32"),)
    before, wider, narrower = (
        Signature(kind="regressor", inputs=(field(high=np.array([46.0, top, 1.0])),), outputs=output)
        for top in (9900, 20_000, 50)
    )
    assert [] == before.changes(wider)
    assert 1 == len(before.changes(narrower))


def test_predict_follows_the_alias_and_says_so(
    bundle: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(bundle("digits"), tmp_path / "digits")
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 8, 8)))
    deployment = Deployment(tmp_path / "digits")
    arguments = ["predict", str(tmp_path / "digits"), str(tmp_path / "x.npy")]
    with pytest.raises(SystemExit, match=r"^0$"):
        main(arguments)
    assert "answers" not in capsys.readouterr().err
    shutil.copytree(bundle("regressor"), deployment.bundle_folder("0001"))
    deployment.set_alias(["0001", "."])
    with pytest.raises(SystemExit):
        main(arguments)  # the promoted one takes other inputs
    assert f"{deployment.bundle_folder('0001')} answers (" in capsys.readouterr().err
