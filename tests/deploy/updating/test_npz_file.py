"""What an npz file may hold, and what is said of one that does not."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlcl.deploy.signature import Field, Signature
from rlcl.deploy.updating.new_data import NewData
from rlcl.deploy.updating.npz_file import read_npz
from rlcl.errors import DataError

PIXELS = (Field(name="input", shape=(2,), dtype="float32", low=-10.0, high=30.0),)
X = np.arange(12, dtype=np.float32).reshape(6, 2)


def classifier(*classes: str) -> Signature:
    return Signature(
        kind="classifier",
        inputs=PIXELS,
        outputs=(Field(name="class", shape=(), dtype="int64"),),
        classes=classes,
    )


def regressor(*width: int) -> Signature:
    value = Field(name="value", shape=width, dtype="float32")
    return Signature(kind="regressor", inputs=PIXELS, outputs=(value,))


def read(folder: Path, signature: Signature, **arrays: Any) -> NewData:
    np.savez(folder / "new.npz", **arrays)
    return read_npz(folder / "new.npz", signature, 0.5)


def labels(made: NewData) -> list[str]:
    """The name of each row's class, in the order of the rows."""
    x, y = (torch.cat([a, b]) for a, b in zip(made.train, made.test, strict=True) if a is not None and b is not None)
    return [made.classes[int(y[row])] for row in x[:, 0].argsort()]


@pytest.mark.parametrize(
    ("classes", "y", "expected"),
    [
        (("zero", "one"), [0, 1, 1, 0, 1, 0], ["zero", "one", "one", "zero", "one", "zero"]),
        (("zero", "one"), [0.0, 1.0, 1.0, 0.0, 1.0, 0.0], ["zero", "one", "one", "zero", "one", "zero"]),
        (("zero", "one"), ["one", "two", "one", "one", "one", "one"], ["one", "two", "one", "one", "one", "one"]),
        (("zero", "one"), [b"one", b"two"] * 3, ["one", "two"] * 3),
        (("0", "1"), [0, 7, 1, 1, 7, 7], ["0", "7", "1", "1", "7", "7"]),
        (("5", "6"), [5, 1, 6, 1, 5, 6], ["5", "1", "6", "1", "5", "6"]),  # names, though 1 is a number of a class
        (("1.0", "2.5"), [1, 2.5, 3, 3, 3, 1], ["1.0", "2.5", "3", "3", "3", "1.0"]),
        (("0", "1"), [True, False] * 3, ["1", "0"] * 3),
    ],
)
def test_labels_are_names_or_numbers_of_classes(
    tmp_path: Path, classes: tuple[str, ...], y: list[Any], expected: list[str]
) -> None:
    assert expected == labels(read(tmp_path, classifier(*classes), x=X, y=np.array(y)))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": X, "y": [0, 1, 2, 0, 1, 0]},
            r"y\[2\]: expected an index from 0 to 1 \(of the classes a, b\), got 2; write",
        ),
        ({"x": X, "y": [0, 1, -1, 0, 1, 0]}, r"y\[2\]: expected an index from 0 to 1 .*, got -1"),
        ({"x": X, "y": [0, 1, np.nan, 0, 1, 0]}, r"y\[2\]: expected a class name or an integer, got nan"),
        ({"x": X, "y": [0, 1, 0.5, 0, 1, 0]}, r"y\[2\]: expected a class name or an integer, got 0.5"),
        ({"x": X, "y": ["a", "", "b", "a", "b", "a"]}, r"y\[1\]: expected a class name, got an empty text"),
        ({"x": X, "y": np.zeros(6, complex)}, "y: expected class names or integers, got complex128"),
        ({"x": X, "y": [0, 1]}, r"y: expected the shape \(6,\), as x has 6 rows; got \(2,\)"),
        ({"x": X, "y": np.zeros((6, 1), int)}, r"y: expected the shape \(6,\), as x has 6 rows; got \(6, 1\)"),
        ({"x": X, "y": 3}, r"y: expected the shape \(6,\), as x has 6 rows; got \(\)"),
        ({"x": X[:, :1], "y": [0] * 6}, r"x: expected the shape \(B, 2\), got \(6, 1\)"),
        ({"x": np.float32(3), "y": [0] * 6}, r"x: expected the shape \(B, 2\), got \(\)"),
        ({"x": X.astype(str), "y": [0] * 6}, "x: expected numbers, got <U"),
        ({"x": X * 10, "y": [0] * 6}, r"x\[2\]\[0\]: expected at most 30, got 40.0"),
        ({"x": np.where(X == 3, np.nan, X), "y": [0] * 6}, r"x\[1\]\[1\]: expected a finite number, got nan"),
        ({"x": X[:0], "y": []}, "x: 0 rows; an update needs at least 4"),
        ({"x": np.ones((6, 2)), "y": [0] * 6}, "new: 1 distinct inputs; an update needs at least 4"),
        ({"X": X, "y": [0] * 6}, "expected the arrays x and y; x is missing, the file contains X, y"),
        ({"x": X}, "expected the arrays x and y; y is missing, the file contains x"),
        ({}, "expected the arrays x and y; x is missing, the file contains no arrays"),
        (
            {"x": X, "y": np.array([None] * 6)},
            "y has the dtype object; Python objects are rejected because loading them can execute code",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        read(tmp_path, classifier("a", "b"), **arrays)
    assert str(raised.value).startswith("--from ")
    assert "new" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_numbers_are_refused_where_they_could_be_names_or_numbers(tmp_path: Path) -> None:
    message = (
        "y: numbers are ambiguous: they could be names or indices of the classes cat, 7; write class names as texts"
    )
    with pytest.raises(DataError, match=message):
        read(tmp_path, classifier("cat", "7"), x=X, y=[0, 1] * 3)


@pytest.mark.parametrize(
    ("width", "y", "message"),
    [
        (1, ["1"] * 6, "y: expected numbers, got <U1"),
        (1, [1, 2, 3, np.nan, 5, 6], r"y\[3\]: expected a finite number, got nan"),
        (2, np.where(X == 5, np.inf, X), r"y\[2\]\[1\]: expected a finite number, got inf"),
        (1, X, r"y: expected the shape \(6, 1\) or \(6,\), as x has 6 rows; got \(6, 2\)"),
        (2, X.T, r"y: expected the shape \(6, 2\), as x has 6 rows; got \(2, 6\)"),
    ],
)
def test_numbers_to_predict_that_do_not_fit_are_one_line(tmp_path: Path, width: int, y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, regressor(width), x=X, y=np.array(y))


def test_numbers_to_predict_come_in_a_column(tmp_path: Path) -> None:
    made = read(tmp_path, regressor(1), x=X, y=np.arange(6))
    assert [[0.0], [2.0], [4.0]] == made.train[1].tolist()  # type: ignore[union-attr]
    assert torch.float32 == made.test[1].dtype  # type: ignore[union-attr]


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.npz: no such file; expected log, or an npz file with x and y"):
        read_npz(tmp_path / "nowhere.npz", classifier("a", "b"), 0.5)
    with pytest.raises(DataError, match="is a folder"):
        read_npz(tmp_path, classifier("a", "b"), 0.5)
    file = tmp_path / "new.npz"
    for content in (b"", b"PK\x03\x04 cut off", X.tobytes()):
        file.write_bytes(content)
        with pytest.raises(
            DataError, match=r"new\.npz is not an npz file, or is damaged .*; write it with numpy\.savez"
        ):
            read_npz(file, classifier("a", "b"), 0.5)
    array = io.BytesIO()
    np.save(array, X)
    for member, content in (("x", b"hello"), ("y", b"hello"), ("y", b"")):
        with zipfile.ZipFile(file, "w") as archive:
            for name in "xy":
                archive.writestr(f"{name}.npy", content if name == member else array.getvalue())
        with pytest.raises(DataError, match=rf"new\.npz: {member}: expected"):
            read_npz(file, classifier("a", "b"), 0.5)
