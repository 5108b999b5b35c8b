"""Gradient-based sample selection: scores and replacements by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import classifier, digit_stream, prepared

from rlcl.encoders.scale import Scale
from rlcl.methods.memories.gss import GssMemory, gradients_of
from rlcl.types import Batch


def gss(capacity: int, compared: int = 10, seed: int = 0) -> GssMemory:
    """Whose gradients are the inputs."""
    rng = np.random.default_rng(seed)
    return GssMemory(capacity, rng, compared=compared, gradients=lambda batch: batch.inputs)


def kept(memory: GssMemory) -> list[list[float]]:
    found: list[list[float]] = memory.at(np.arange(len(memory)))["inputs"].tolist()
    return found


def test_a_score_is_the_greatest_cosine_plus_one() -> None:
    memory = gss(4)
    memory.insert(inputs=torch.tensor([[1.0, 0.0]]))  # nothing to be compared with: 1
    memory.insert(inputs=torch.tensor([[-3.0, 0.0]]))  # -1 + 1
    memory.insert(inputs=torch.tensor([[0.0, 2.0]]))  # 0 + 1
    memory.insert(inputs=torch.tensor([[5.0, 5.0]]))  # sqrt(1/2) + 1
    assert [1, 0, 1, pytest.approx(1 + 0.5**0.5)] == memory.state_dict()["scores"].tolist()


def test_an_item_like_those_kept_never_enters() -> None:
    memory = gss(2)
    memory.insert(inputs=torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    memory.insert(inputs=torch.tensor([[2.0, 1.0], [0.0, 1.0], [9.0, 0.1]]))
    assert [[1.0, 0.0], [1.0, 1.0]] == kept(memory)
    assert (2, 5) == (len(memory), memory.seen)


def test_an_item_unlike_all_takes_the_place_of_one_by_its_score() -> None:
    # Scores 1 and 1.5 (cosine 1/2). The new one's cosines are -1 with the first and -1/2 with the second.
    # Its score is 1/2: it enters for the first with 1/2.5 * 1/1.5, for the second with 1.5/2.5 * 1.5/2.
    first, second, new = [1.0, 0.0], [0.5, 0.75**0.5], [-1.0, 0.0]
    repeats, found = 2000, {"first": 0, "second": 0}
    for seed in range(repeats):
        memory = gss(2, seed=seed)
        memory.insert(inputs=torch.tensor([first]))
        memory.insert(inputs=torch.tensor([second]))
        memory.insert(inputs=torch.tensor([new]))
        for slot, name in enumerate(found):
            found[name] += kept(memory)[slot] == new
    for name, p in (("first", 1 / 2.5 / 1.5), ("second", 1.5 / 2.5 * 1.5 / 2)):
        assert abs(found[name] - repeats * p) < 4 * (repeats * p * (1 - p)) ** 0.5


def test_what_it_is_compared_with_is_drawn() -> None:
    memory = gss(10, compared=1)
    memory.insert(inputs=torch.eye(10))
    scores = {round(float(memory._score(Batch(torch.eye(10)[:1]))), 3) for _ in range(60)}
    assert {1.0, 2.0} == scores  # itself, or another


def test_gradients_are_those_of_examples_one_by_one() -> None:
    stream = digit_stream(2)
    learner = prepared(classifier(), stream, encoder=Scale(maximum=16.0))
    x, y = (part[::9] for part in stream[0].train.read())  # type: ignore[union-attr]
    found = gradients_of(learner.host, Batch(x / 16, y))
    loss = learner.loss(Batch(x / 16, y))
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(learner.module.parameters()))])
    assert len(y) == len(found)
    torch.testing.assert_close(found.mean(0), expected)
