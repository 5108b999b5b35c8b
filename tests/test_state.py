"""State as a tree: copied without sharing, flattened to JSON and tensors, and put together again."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

from rlcl.state import clone_state, flatten, unflatten


def round_trip(tree: Any) -> Any:
    structure, tensors = flatten(tree)
    return unflatten(json.loads(json.dumps(structure)), tensors)


@pytest.mark.parametrize(
    "tree",
    [
        None,
        True,
        3,
        "text",
        0.1,
        float("inf"),
        2**200,
        -(2**63),
        (),
        [],
        {},
        [()],
        {"dict": {"list": 1}},
        {0: "a", 1: {2: ("b", None)}},
        {"0": "text key", 0: "number key"},
        (1, [2, (3, {"x": (4,)})]),
    ],
    ids=repr,
)
def test_plain_values_come_back_as_they_were(tree: Any) -> None:
    actual = round_trip(tree)
    assert tree == actual
    assert repr(tree) == repr(actual)  # True is not 1, (1,) is not [1]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3.5),
        torch.zeros(0, 4),
        torch.arange(6).reshape(2, 3).T,
        torch.ones(4)[::2],
        torch.zeros(1).expand(3),
        torch.tensor([True, False]),
        torch.tensor([1, 255], dtype=torch.uint8),
        torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        torch.tensor([2**62]),
        torch.nn.Parameter(torch.ones(2)),
    ],
    ids=lambda tensor: f"{tensor.dtype}-{tuple(tensor.shape)}",
)
def test_a_tensor_comes_back_with_its_type_and_shape(tensor: torch.Tensor) -> None:
    actual = round_trip({"x": tensor})["x"]
    assert (tensor.dtype, tensor.shape) == (actual.dtype, actual.shape)
    assert torch.equal(tensor.detach(), actual)
    assert actual.is_contiguous()


def test_a_tensor_alone_is_a_tree() -> None:
    assert torch.equal(torch.ones(2), round_trip(torch.ones(2)))


@pytest.mark.parametrize(
    "array",
    [np.arange(6.0).reshape(2, 3).T, np.array(3), np.array([1, 2], np.uint32), np.array([True]), np.zeros((0, 2))],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_an_array_comes_back_as_an_array(array: np.ndarray) -> None:
    actual = round_trip([array])[0]
    assert isinstance(actual, np.ndarray)
    assert (array.dtype, array.shape) == (actual.dtype, actual.shape)
    assert np.array_equal(array, actual)


def test_numpys_numbers_become_pythons() -> None:
    assert "[3, 0.5, True]" == repr(round_trip([np.int64(3), np.float32(0.5), np.bool_(True)]))


def test_tensors_that_share_memory_come_back_apart() -> None:
    weight = torch.zeros(3)
    first, second = round_trip([weight, weight])
    first += 1
    assert [0.0, 0.0, 0.0] == second.tolist()


def test_keys_with_equal_paths_stay_apart() -> None:
    tree = {"a/b": torch.tensor(1), "a": {"b": torch.tensor(2)}, 0: torch.tensor(3), "0": torch.tensor(4)}
    actual = round_trip(tree)
    assert [1, 2, 3, 4] == [int(actual["a/b"]), int(actual["a"]["b"]), int(actual[0]), int(actual["0"])]


def test_the_state_of_a_real_generator_comes_back() -> None:
    rng = np.random.default_rng(3)
    rng.integers(5, dtype=np.int32)  # leaves half a number behind
    other = np.random.default_rng(0)
    other.bit_generator.state = round_trip(rng.bit_generator.state)
    assert rng.random(4).tolist() == other.random(4).tolist()


def test_the_state_of_a_real_optimizer_comes_back() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    other = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))])
    other.load_state_dict(round_trip(optimizer.state_dict()))
    expected, actual = optimizer.state_dict()["state"][0], other.state_dict()["state"][0]
    assert [*expected] == [*actual]
    assert all(torch.equal(expected[key], actual[key]) for key in expected)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": [object()]}, "state /a/0: expected a tensor, array or plain value, got object"),
        ({"a": {1, 2}}, "state /a: expected a tensor, array or plain value, got set"),
        ({"a": {(1, 2): 3}}, r"state /a: expected keys that are text or integers, got \(1, 2\)"),
        ({1.5: 3}, "expected keys that are text or integers, got 1.5"),
    ],
)
def test_what_has_no_place_in_a_state_is_named_with_its_path(tree: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        flatten(tree)


def test_a_clone_shares_no_memory() -> None:
    tree = {"t": torch.zeros(2), "n": np.zeros(2), "l": [torch.zeros(2)], "u": (torch.zeros(2),)}
    copy = clone_state(tree)
    for part in (copy["t"], copy["n"], copy["l"][0], copy["u"][0]):
        part.__iadd__(1)
    assert [[0.0, 0.0]] * 4 == [part.tolist() for part in (tree["t"], tree["n"], tree["l"][0], tree["u"][0])]


def test_a_clone_is_of_the_same_kind_and_without_gradient() -> None:
    copy = clone_state(OrderedDict(a=torch.nn.Parameter(torch.ones(1)), b=(1, [2])))
    assert {"a": copy["a"], "b": (1, [2])} == copy
    assert not copy["a"].requires_grad
