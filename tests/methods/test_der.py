"""Dark experience replay: its two terms by hand, what is stored, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from harness import (
    classifier,
    digit_stream,
    learn_all,
    learning,
    prepared,
    weights,
)
from torch import Tensor

from rlcl.data.augmentations import Noise
from rlcl.encoders.scale import Scale
from rlcl.learners.optimizers import Sgd
from rlcl.learners.supervised.classifier import Classifier
from rlcl.methods.der import Der, DerPlusPlus
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.types import Batch, Budget

Drawn = list[dict[str, Tensor]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """All that is drawn from memories."""
    found: Drawn = []
    sample = ReservoirMemory.sample

    def noting(self: ReservoirMemory, count: int) -> dict[str, Tensor]:
        found.append(sample(self, count))
        return found[-1]

    monkeypatch.setattr(ReservoirMemory, "sample", noting)
    return found


def after(method: Any, updates: int, **settings: Any) -> Any:
    """A classifier and the rest of its updates; Scale, for logits of reasonable size."""
    stream = digit_stream(2, budget=Budget(updates=50))
    learner = prepared(classifier(method, optimizer=Sgd(lr=0.1), **settings), stream, encoder=Scale(maximum=16.0))
    steps = learning(learner, stream)
    for _ in range(updates):
        next(steps)
    return learner, steps


def step_gradient(learner: Any, steps: Any) -> dict[str, Tensor]:
    """The next update's gradient, from how far plain SGD at rate 0.1 moved."""
    before = weights(learner)
    next(steps)
    return {name: (before[name] - now) / 0.1 for name, now in weights(learner).items()}


def expected_gradient(learner: Any, at: dict[str, Tensor], loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    now = weights(learner)
    named = dict(learner.module.named_parameters())

    def put(values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, p in named.items():
                p.copy_(values[name])

    put(at)
    found = dict(zip(named, torch.autograd.grad(loss(), list(named.values())), strict=True))
    put(now)
    return found


def close(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-3, atol=1e-5)


def test_der_adds_the_squared_distance_to_the_stored_logits(drawn: Drawn) -> None:
    learner, steps = after(Der(alpha=0.3, capacity=20, batch_size=5), 6)
    before = weights(learner)
    drawn.clear()
    actual = step_gradient(learner, steps)
    (memory,), batch = drawn, learner.batch

    def loss() -> Tensor:
        new = F.cross_entropy(learner.module(batch.inputs), batch.targets)
        return new + 0.3 * F.mse_loss(learner.module(memory["inputs"]), memory["outputs"])

    close(expected_gradient(learner, before, loss), actual)


@pytest.mark.parametrize(("accumulate", "one_pass"), [(1, True), (3, True), (1, False)])
def test_der_plus_plus_adds_the_loss_on_a_second_batch(
    drawn: Drawn, accumulate: int, one_pass: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Classifier, "weighs", one_pass)
    method = DerPlusPlus(alpha=0.3, beta=0.7, capacity=20, batch_size=5)
    learner, steps = after(method, 6, accumulate=accumulate)
    before = weights(learner)
    drawn.clear()
    actual = step_gradient(learner, steps)
    (first, second), batch = drawn, learner.batch
    assert not torch.equal(first["inputs"], second["inputs"])  # independent

    def loss() -> Tensor:
        new = F.cross_entropy(learner.module(batch.inputs), batch.targets)
        distance = F.mse_loss(learner.module(first["inputs"]), first["outputs"])
        return new + 0.3 * distance + 0.7 * F.cross_entropy(learner.module(second["inputs"]), second["targets"])

    close(expected_gradient(learner, before, loss), actual)


@pytest.mark.parametrize(("accumulate", "one_pass"), [(1, True), (3, True), (1, False)])
def test_it_stores_the_logits_of_before_the_update(
    accumulate: int, one_pass: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Classifier, "weighs", one_pass)
    method = Der(alpha=0.3, capacity=100, batch_size=5)
    learner, steps = after(method, 3, accumulate=accumulate)
    before = weights(learner)
    next(steps)
    learner.module.load_state_dict(before)
    with torch.no_grad():
        expected = learner.module(learner.batch.inputs)
    stored = method.memory.state_dict()["columns"]
    place = slice(method.memory.seen - len(expected), method.memory.seen)
    assert torch.equal(learner.batch.inputs, stored["inputs"][place])
    torch.testing.assert_close(stored["outputs"][place], expected)


def test_inputs_are_stored_as_they_were_before_augmentation() -> None:
    method = Der(alpha=0.3, capacity=200, batch_size=5)
    after(method, 4, augment=(Noise(deviation=0.5),))
    x = digit_stream(2)[0].train.read()[0] / 16  # type: ignore[union-attr]
    known = {row.numpy().tobytes() for row in x}
    assert all(row.numpy().tobytes() in known for row in method.memory.sample(200)["inputs"])


def test_the_first_update_has_nothing_to_replay(drawn: Drawn) -> None:
    learner, _ = after(DerPlusPlus(capacity=20, batch_size=5), 1)
    assert [] == drawn
    assert len(learner.batch.inputs) == learner.methods[0].memory.seen


def test_alpha_alone_equals_der() -> None:
    ended = []
    # Their generators differ, but a memory that is not full keeps everything, and all of it is drawn.
    for method in (
        Der(alpha=0.3, capacity=99, batch_size=99),
        DerPlusPlus(alpha=0.3, beta=0.0, capacity=99, batch_size=99),
    ):
        learner, _ = after(method, 8)
        ended.append(weights(learner))
    close(*ended)


def test_hidden_labels_are_left_out() -> None:
    stream = digit_stream(2, budget=Budget(updates=6))
    method = DerPlusPlus(capacity=30, batch_size=8)
    learner = prepared(classifier(method, labelled=0.3, unlabelled_weight=0.0), stream, encoder=Scale(maximum=16.0))
    learn_all(learner, stream)
    assert bool((method.memory.sample(30)["targets"] == -1).any())
    x, y = torch.rand(4, 1, 8, 8), torch.tensor([0, -1, 1, -1])
    w = torch.tensor([1.0, 5.0, 3.0, 7.0])
    with torch.no_grad():
        each = F.cross_entropy(learner.module(x[[0, 2]]), y[[0, 2]], reduction="none")
        torch.testing.assert_close(learner.loss(Batch(x, y, weights=w)), (each[0] + 3 * each[1]) / 2)


def test_one_pass_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    outputs = Classifier.outputs

    def noting(self: Classifier, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        rows.append(len(x))
        return outputs(self, x, task_ids)

    monkeypatch.setattr(Classifier, "outputs", noting)
    after(DerPlusPlus(capacity=20, batch_size=5), 3)
    assert [8, 8 + 5 + 5, 8 + 5 + 5] == rows


def test_stacked_with_rehearsal_each_term_keeps_its_own_mean(drawn: Drawn) -> None:
    from rlcl.methods.rehearsal import Rehearsal

    stream = digit_stream(2, budget=Budget(updates=50))
    methods = (Der(alpha=0.3, capacity=20, batch_size=5), Rehearsal(capacity=20, batch_size=4))
    learner = prepared(classifier(*methods, optimizer=Sgd(lr=0.1)), stream, encoder=Scale(maximum=16.0))
    steps = learning(learner, stream)
    for _ in range(5):
        next(steps)
    before = weights(learner)
    drawn.clear()
    actual = step_gradient(learner, steps)
    rehearsed, dark = drawn
    x = torch.cat((learner.batch.inputs, rehearsed["inputs"]))
    y = torch.cat((learner.batch.targets, rehearsed["targets"]))

    def loss() -> Tensor:
        new = F.cross_entropy(learner.module(x), y)
        return new + 0.3 * F.mse_loss(learner.module(dark["inputs"]), dark["outputs"])

    close(expected_gradient(learner, before, loss), actual)
