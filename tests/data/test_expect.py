"""What a config expects of its data is checked when they are loaded, and told with row and column."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from rlcl.config import build, component, unstructure
from rlcl.config.defaults import without_defaults
from rlcl.data import validation
from rlcl.data.expect import ColumnExpectation, Expectation
from rlcl.data.overlap import count_duplicates, find_copies, row_hashes
from rlcl.data.readers.files import Csv, Npy
from rlcl.data.readers.scikit import Digits
from rlcl.data.sources import Data, loaded
from rlcl.errors import ConfigError, DataError
from rlcl.experiment import experiment_from
from rlcl.registry import entries, find
from rlcl.types import DataSet

PETS = "width,kind,height\n1.5,cat,2\n\n2,dog,3\n3,cat,4\n4,dog,5\n5,cat,6\n6,dog,7\n"


@pytest.fixture(autouse=True)
def untold() -> None:
    """Warnings are told once a process, and here once a test."""
    validation.warn_once.cache_clear()


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RLCL_DATA", str(tmp_path))
    (tmp_path / "pets.csv").write_text(PETS)
    return tmp_path


def table(**expect: Any) -> Csv:
    return Csv(path="pets.csv", target="kind", test_fraction=0.34, expect=Expectation(**expect))


@attrs.frozen
class Given(DataSet):
    """A data set of two tensors."""

    train: Any
    test: Any
    expect: Expectation | None = None

    def load(self) -> Data:
        return Data(torch.tensor(self.train), None, torch.tensor(self.test), None, name="given")


# What is expected.


def test_data_that_are_as_expected_are_loaded(pets: Path) -> None:
    whole = Expectation(
        shape=(2,), dtype="float32", range=(1, 7), classes=("dog", "cat"), missing=0, overlap=0,
        columns={"width": ColumnExpectation(range=(1.5, 6), missing=0)},
    )  # fmt: skip
    assert 4 == len(loaded(Csv(path="pets.csv", target="kind", test_fraction=0.34, expect=whole)).train)


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ({"shape": (3,)}, r"data 'pets': expect\.shape: expected \[3\], got \[2\]"),
        ({"dtype": "uint8"}, r"expect\.dtype: expected uint8, got float32"),
        ({"classes": 3}, r"expect\.classes: expected 3, got 2"),
        ({"classes": ("cat", "cow")}, r"expect\.classes: 'dog' not expected; allowed: cat, cow\n.*no row of 'cow'"),
        # Rows of the training set: 1.5 2, 2 3, 3 4, 4 5; the empty line counts.
        ({"range": (0, 4)}, r"expect\.range: train set, row 3 \(line 6\), column height: .*in \[0, 4\], got 5"),
        ({"range": (2, 9)}, r"expect\.range: train set, row 0 \(line 2\), column width: .*, got 1\.5"),
        (
            {"columns": {"width": ColumnExpectation(range=(0, 5.5))}},
            r"expect\.columns\.width\.range: test set, row 1 \(line 8\), column width: .*, got 6",
        ),
        ({"columns": {"widht": ColumnExpectation()}}, r"columns\.widht: no such column; did you mean width\?"),
        ({"columns": {"width": ColumnExpectation(categories=("a",))}}, r"the column holds numbers; use range"),
    ],
)
def test_what_is_not_as_expected_is_told(pets: Path, expect: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        loaded(table(**expect))


def test_everything_that_is_not_as_expected_is_told_at_once(pets: Path) -> None:
    with pytest.raises(DataError) as caught:
        loaded(table(shape=(1,), dtype="int64", classes=5))
    assert 3 == len(str(caught.value).splitlines())


def test_a_value_of_an_image_is_told_by_its_place() -> None:
    with pytest.raises(DataError, match=r"range: train set, row 0, value \[0, 0, 3\]: .*, got 13"):
        loaded(Digits(expect=Expectation(range=(0, 10))))


def test_inputs_on_disk_are_compared_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLCL_DATA", str(tmp_path))
    x = np.zeros((5000, 2), np.float32)
    x[4500, 1] = 9
    np.save(tmp_path / "x_train.npy", x)
    np.save(tmp_path / "x_test.npy", x[:3])
    source = Npy(path=str(tmp_path), storage="stream", expect=Expectation(range=(0, 1)))
    with pytest.raises(DataError, match=r"train set, row 4500, value \[1\]: .*, got 9"):
        loaded(source)


def test_a_named_column_of_what_is_no_table_is_refused() -> None:
    with pytest.raises(DataError, match="no table with named columns"):
        loaded(Digits(expect=Expectation(columns={"a": ColumnExpectation()})))


def test_bounds_in_the_wrong_order_are_a_mistake_of_the_config() -> None:
    with pytest.raises(ConfigError, match=r"data\.expect\.range: expected \[minimum, maximum\], got \[5"):
        component("data", {"type": "digits", "expect": {"range": [5, 2]}})


def test_every_data_set_can_be_expected_something_of() -> None:
    assert [] == [name for name in entries("data") if "expect" not in attrs.fields_dict(find("data", name))]


# Copies and constants.


def test_equal_rows_are_found_in_any_type_and_width() -> None:
    for dtype in (torch.uint8, torch.bool, torch.int64, torch.float32):
        for width in (1, 3, 8, 13):
            x = (torch.arange(6 * width).reshape(6, width) % 7 > 2).to(dtype)
            expected = np.unique(x.numpy(), axis=0, return_inverse=True)[1].ravel()
            actual = np.unique(row_hashes(x), return_inverse=True)[1]
            assert [[a == b for b in expected] for a in expected] == [[a == b for b in actual] for a in actual]


def test_rows_that_differ_have_other_hashes() -> None:
    # Small whole numbers as floats share most of their bits.
    x = torch.cartesian_prod(*[torch.arange(10.0)] * 4)
    assert 10_000 == len(np.unique(row_hashes(x)))


def test_copies_are_pairs_of_a_test_row_and_the_first_training_row_that_it_equals() -> None:
    train = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    test = torch.tensor([[5.0, 6.0], [1.0, 2.0], [2.0, 1.0], [3.0, 4.0]])
    assert [[1, 0], [3, 1]] == find_copies(train, test).tolist()
    assert 1 == count_duplicates(train)


def test_copies_in_the_test_set_are_a_warning_by_default_told_once(caplog: pytest.LogCaptureFixture) -> None:
    source = Given([[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [3.0, 4.0]])
    loaded(source)
    loaded(source)
    assert [
        "data 'given': 1 of 2 test rows are copies of training rows; the first is test set, row 1, a copy of train "
        "set, row 1; data.expect.overlap sets the allowed share"
    ] == [record.message for record in caplog.records]
    assert [logging.WARNING] == [record.levelno for record in caplog.records]


@pytest.mark.parametrize(("allowed", "refused"), [(0.0, True), (0.49, True), (0.5, False)])
def test_the_share_of_copies_that_is_allowed_decides(
    allowed: float, refused: bool, caplog: pytest.LogCaptureFixture
) -> None:
    source = Given([[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [3.0, 4.0]], Expectation(overlap=allowed))
    if refused:
        with pytest.raises(DataError, match=r"overlap: 1 of 2 test rows .* test set, row 1, a copy of train set"):
            loaded(source)
    else:
        loaded(source)
    assert [] == caplog.records


def test_a_feature_that_never_changes_is_a_warning_with_its_name(pets: Path, caplog: pytest.LogCaptureFixture) -> None:
    (pets / "flat.csv").write_text("a,b\n" + "".join(f"7,{i}\n" for i in range(10)))
    loaded(Csv(path="flat.csv"))
    assert ["data 'flat': 1 of 2 features are the same in all training rows: a; nothing can be learned from them"] == [
        record.message for record in caplog.records
    ]


def test_pixels_that_never_change_are_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    loaded(Digits())
    assert [] == caplog.records


# Hashes of experiments.


def experiment(data: Any) -> Any:
    stream = {"type": "single", "data": data}
    return experiment_from({"name": "e", "stream": stream, "learner": {"type": "classifier"}, "budget": {"epochs": 1}})


def test_a_setting_that_came_later_leaves_old_hashes_as_they_were() -> None:
    assert {"type": "digits"} == without_defaults(component("data", "digits"))
    assert experiment("digits").hash == experiment({"type": "digits", "expect": None}).hash


def test_an_expectation_is_written_down_and_read_again() -> None:
    first = experiment({"type": "digits", "expect": {"classes": 10, "columns": {"a": {"range": [0, 1]}}}})
    assert first.hash != experiment("digits").hash
    again = experiment_from(unstructure(first))
    assert first == again
    made = build(again.stream).data
    assert Expectation(classes=10, columns={"a": ColumnExpectation(range=(0.0, 1.0))}) == made.expect
