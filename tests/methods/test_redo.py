"""ReDo, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import classifier, digit_stream, learning, prepared, weights

from rlcl.learners.optimizers import Sgd
from rlcl.methods.redo import Redo
from rlcl.networks.mlp import Mlp


def silenced(*methods: Any) -> Any:
    """A learner whose units 1 and 3 of five are never active, for their biases are far below 0."""
    learner = prepared(classifier(*methods, network=Mlp(hidden=(5,)), optimizer=Sgd(lr=0.01)), digit_stream(1), seed=1)
    with torch.no_grad():
        learner.module[1].bias[[1, 3]] = -1e6
        learner.module[1].bias[[0, 2, 4]] = 50.0
    return learner


def after(learner: Any, updates: int) -> dict[str, torch.Tensor]:
    steps = learning(learner, digit_stream(1))
    for _ in range(updates):
        next(steps)
    return weights(learner)


def test_units_that_are_never_active_are_replaced_at_the_update_that_is_due() -> None:
    used, plain = silenced(Redo(threshold=0.0, every=2)), silenced()
    first, expected = after(used, 1), after(plain, 1)
    assert all(torch.equal(expected[name], first[name]) for name in first)
    now, expected = after(used, 1), after(plain, 1)
    changed = (expected["1.weight"] != now["1.weight"]).any(1)
    assert [False, True, False, True, False] == changed.tolist()
    assert [False, True, False, True, False] == (now["3.weight"] == 0).all(0).tolist()
    assert bool((now["1.bias"][[1, 3]].abs() < 1).all())


def test_replaced_units_are_counted_and_the_count_is_part_of_the_state() -> None:
    used = Redo(threshold=0.0, every=2)
    after(silenced(used), 2)
    assert used.quantities() == {"replaced_units": 2}
    fresh = Redo(threshold=0.0, every=2)
    silenced(fresh)
    fresh.load_state_dict(used.state_dict())
    assert fresh.quantities() == {"replaced_units": 2}


@pytest.mark.parametrize(("threshold", "replaced"), [(0.0, 0), (1e9, 5)])
def test_the_threshold_decides(threshold: float, replaced: int) -> None:
    learner = silenced(Redo(threshold=threshold, every=1))
    with torch.no_grad():
        learner.module[1].bias.fill_(50.0)
    now = after(learner, 1)
    assert replaced == int((now["3.weight"] == 0).all(0).sum())
