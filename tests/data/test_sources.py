"""Array sources are views; data that is malformed is refused with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rlcl.data.sources import Data, LabelledArrays, UnlabelledArrays, array_source
from rlcl.errors import DataError

X = np.arange(24, dtype=np.float32).reshape(6, 4)
Y = np.array([0, 1, 2, 0, 1, 2])


def data(**changes: Any) -> Data:
    settings = {"train_inputs": X, "train_labels": Y, "test_inputs": X[:3], "test_labels": Y[:3], "name": "own"}
    return Data(**{**settings, **changes})


def with_value(value: float) -> np.ndarray:
    x = X.copy()
    x[[2, 4], 1] = value
    return x


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_inputs": with_value(np.nan)}, r"data 'own', train set: 2 of 6 inputs hold NaN.*first at row 2"),
        ({"train_inputs": with_value(-np.inf)}, r"data 'own', train set: 2 of 6 inputs hold NaN or infinite"),
        ({"test_inputs": with_value(np.nan)[:3]}, r"data 'own', test set: 1 of 3 inputs hold NaN"),
        ({"train_inputs": X[:0], "train_labels": Y[:0]}, r"train set: expected inputs of shape .* got \(0, 4\)"),
        ({"train_inputs": np.arange(6.0)}, r"train set: expected inputs of shape \(N, \*observation\).* got \(6,\)"),
        ({"train_labels": Y[:5]}, r"train set: expected 6 labels of shape \(N,\), got shape \(5,\)"),
        ({"train_labels": Y[:, None]}, r"train set: expected 6 labels of shape \(N,\), got shape \(6, 1\)"),
        ({"train_labels": np.eye(3)[Y]}, r"train set: expected 6 labels of shape \(N,\), got shape \(6, 3\)"),
        ({"train_labels": Y + 0.5}, r"train set: labels must be integers from 0; the label of row 0 is 0.5"),
        ({"train_labels": Y * np.nan}, r"train set: labels must be integers from 0; the label of row 0 is nan"),
        ({"train_labels": Y - 1}, r"train set: labels must be integers from 0; the label of row \d+ is -1"),
        ({"test_labels": np.array([0, 7, 5])}, r"test set: classes \[5, 7\] are not in the training set; remove"),
        ({"test_inputs": X[:3, :2]}, r"training inputs have the shape \(4,\) each, test inputs \(2,\)"),
        ({"test_labels": None}, r"set labels for both the training and the test set, or for neither"),
        ({"train_labels": None}, r"set labels for both|classes .* are not in the training set"),
    ],
)
def test_malformed_data_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        data(**changes)


def test_whole_numbers_of_any_type_are_labels() -> None:
    for labels in (Y.astype(np.uint8), Y.astype(np.float64), torch.from_numpy(Y).int()):
        made = data(train_labels=labels)
        assert (torch.int64, Y.tolist()) == (made.train_labels.dtype, made.train_labels.tolist())


def test_doubles_become_floats_and_bytes_stay() -> None:
    assert torch.float32 == data(train_inputs=X.astype(np.float64)).train_inputs.dtype
    made = data(train_inputs=X.astype(np.uint8), test_inputs=X[:3].astype(np.uint8))
    assert torch.uint8 == made.train_inputs.dtype


def test_an_array_is_copied_so_that_its_owner_may_change_it() -> None:
    x = X.copy()
    made = data(train_inputs=x)
    x[:] = -1
    assert np.array_equal(X, made.train_inputs.numpy())


def test_an_array_that_is_read_only_is_taken_without_a_warning() -> None:
    x = X.copy()
    x.flags.writeable = False
    assert np.array_equal(X, data(train_inputs=x).train_inputs.numpy())


def test_class_names_are_numbers_by_default() -> None:
    assert ("0", "1", "2") == data().names
    assert ("ant", "bee", "cat") == data(class_names=("ant", "bee", "cat")).names


def test_data_without_labels_has_no_classes() -> None:
    made = data(train_labels=None, test_labels=None)
    assert (0, ()) == (made.classes, made.names)
    assert isinstance(made.train, UnlabelledArrays)


def test_a_subset_of_a_subset_counts_in_the_subset() -> None:
    source = LabelledArrays(torch.from_numpy(X), torch.from_numpy(Y)).subset(torch.tensor([5, 3, 1]))
    x, y = source.subset(torch.tensor([2, 0])).read()
    assert X[[1, 5]].tolist() == x.tolist()
    assert Y[[1, 5]].tolist() == y.tolist()


def test_a_transformation_is_applied_when_read_and_changes_nothing_else() -> None:
    inputs = torch.from_numpy(X.copy())
    source = UnlabelledArrays(inputs).transformed(lambda x: x.flip(1)).subset(torch.tensor([1]))
    assert [[7.0, 6.0, 5.0, 4.0]] == source.read()[0].tolist()
    assert X.tolist() == inputs.tolist()
    assert source.read()[0].is_contiguous()


def test_subsets_share_the_inputs_of_their_source() -> None:
    inputs = torch.from_numpy(X)
    source = LabelledArrays(inputs, torch.from_numpy(Y))
    assert source.subset(torch.tensor([0, 1])).inputs is inputs


def test_tasks_follow_their_rows() -> None:
    source = LabelledArrays(torch.from_numpy(X), torch.from_numpy(Y), tasks=torch.tensor([0, 0, 0, 1, 1, 1]))
    tasks = source.subset(torch.tensor([4, 0])).task_ids
    assert tasks is not None
    assert [1, 0] == tasks.tolist()
    assert LabelledArrays(torch.from_numpy(X), torch.from_numpy(Y)).task_ids is None


def test_the_kind_of_source_fits_the_labels() -> None:
    assert isinstance(array_source(torch.from_numpy(X), None), UnlabelledArrays)
    assert isinstance(array_source(torch.from_numpy(X), torch.from_numpy(Y)), LabelledArrays)


def test_labels_that_are_texts_are_refused_with_the_remedy() -> None:
    with pytest.raises(
        DataError, match=r"expected numbers, got values such as .*'cat'.*; convert texts to numbers with numpy.unique"
    ):
        Data(np.zeros((2, 3)), np.array(["cat", "dog"]), np.zeros((1, 3)), np.array(["cat"]))


def test_fewer_class_names_than_labels_are_refused() -> None:
    with pytest.raises(DataError, match=r"2 class names for labels from 0 to 2; number the classes from 0"):
        Data(np.zeros((2, 3)), np.array([1, 2]), np.zeros((1, 3)), np.array([1]), class_names=("cat", "dog"))
