"""Seeds by name, and the state of the global generators."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
import torch

from rlcl.seeding import Seeds, global_state, load_global_state, preserved_global_state, seed_globals
from rlcl.state import flatten, unflatten


def draws() -> tuple[float, float, float, float]:
    """From Python's, NumPy's (a normal one leaves its twin behind) and torch's global generators."""
    normal, uniform = np.random.standard_normal(), np.random.rand()  # noqa: NPY002
    return random.gauss(0, 1), float(normal), float(uniform), float(torch.rand(()))


@pytest.fixture(autouse=True)
def _preserved() -> Any:
    with preserved_global_state():
        yield


def test_equal_names_give_equal_numbers() -> None:
    first, second = Seeds(3).child("a").child("b"), Seeds(3).child("a").child("b")
    assert first == second
    assert first.integer() == second.integer()
    assert first.numpy().random(5).tolist() == second.numpy().random(5).tolist()
    assert torch.equal(torch.rand(5, generator=first.torch()), torch.rand(5, generator=second.torch()))


def test_another_name_path_or_seed_gives_other_numbers() -> None:
    root = Seeds(3)
    nodes = [root, root.child("a"), root.child("b"), root.child("a").child("b"), root.child("b").child("a"), Seeds(4)]
    assert len(nodes) == len({node.integer() for node in nodes})


def test_a_child_does_not_depend_on_what_was_drawn_before() -> None:
    root = Seeds(3)
    expected = root.child("b").integer()
    root.child("a").numpy().random(100)
    assert expected == root.child("b").integer()


def test_seeds_stay_what_they_are_from_version_to_version() -> None:
    # Published numbers depend on them.
    assert [1484405855, 1957674357] == [Seeds(0).integer(), Seeds(0).child("learner").child("weights").integer()]


def test_a_seed_is_a_whole_number_below_2_to_the_31() -> None:
    assert all(0 <= Seeds(seed).integer() < 2**31 for seed in range(100))


def test_global_generators_are_seeded() -> None:
    seed_globals(Seeds(1))
    first = draws()
    seed_globals(Seeds(1))
    assert first == draws()
    seed_globals(Seeds(2))
    assert first != draws()


def test_global_state_goes_out_and_in_through_json() -> None:
    seed_globals(Seeds(1))
    draws()  # leaves the normals' twins behind
    structure, tensors = flatten(global_state())
    expected = [draws() for _ in range(3)]
    load_global_state(unflatten(json.loads(json.dumps(structure)), tensors))
    assert expected == [draws() for _ in range(3)]


def test_what_is_preserved_comes_back() -> None:
    seed_globals(Seeds(1))
    expected = draws()
    seed_globals(Seeds(1))
    with preserved_global_state():
        draws()
        seed_globals(Seeds(9))
    assert expected == draws()


def test_what_is_preserved_comes_back_after_an_error() -> None:
    seed_globals(Seeds(1))
    expected = draws()
    seed_globals(Seeds(1))
    with pytest.raises(ZeroDivisionError), preserved_global_state():  # noqa: PT012
        draws()
        1 / 0  # noqa: B018
    assert expected == draws()
