"""Rehearsal: one mean loss over the minibatch and what was drawn from memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attrs import define, field
from harness import autoencoder, classifier, digit_stream, learn_all, prepared
from torch import Tensor

from rlcl.encoders.scale import Scale
from rlcl.learners.classifier import Classifier
from rlcl.methods.rehearsal import Rehearsal
from rlcl.types import Batch, Budget


@define
class Tape:
    """Batches as the loss saw them, and how much the memory had seen at that time."""

    batches: list[Batch] = field(factory=list)
    seen: list[int] = field(factory=list)


Taped = Callable[..., tuple[Any, Tape]]


@pytest.fixture
def taped(monkeypatch: pytest.MonkeyPatch) -> Taped:
    """Learns two experiences of a number of updates, writing down what the loss is given."""

    def run(method: Rehearsal, updates: int, task_ids: bool = False) -> tuple[Any, Tape]:
        stream = digit_stream(2, budget=Budget(updates=updates), task_ids=task_ids)
        learner = prepared(classifier(method), stream, encoder=Scale(maximum=16.0))
        tape = Tape()
        loss = Classifier.loss

        def taping(self: Classifier, batch: Batch) -> Tensor:
            tape.batches.append(batch)
            tape.seen.append(method.memory.seen)
            return loss(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(Classifier, "loss", taping)
            learn_all(learner, stream)
        return learner, tape

    return run


def test_the_memory_joins_the_batch_from_the_second_update_on(taped: Taped) -> None:
    _, tape = taped(Rehearsal(capacity=20, batch_size=5), 3)
    assert [len(batch.inputs) for batch in tape.batches] == [8, 8 + 5, 8 + 5, 8 + 5, 8 + 5, 8 + 5]


def test_a_batch_is_inserted_after_the_update_that_it_served(taped: Taped) -> None:
    _, tape = taped(Rehearsal(capacity=20, batch_size=5), 3)
    assert tape.seen == [0, 8, 16, 24, 32, 40]


def test_the_loss_is_one_mean_over_both(taped: Taped) -> None:
    method = Rehearsal(capacity=20, batch_size=5)
    learner, tape = taped(method, 3)
    batch = tape.batches[-1]
    with torch.no_grad():
        losses = F.cross_entropy(learner.outputs(batch.inputs), batch.targets, reduction="none")
        now = learner.loss(batch)
    torch.testing.assert_close(now, (losses[:8].sum() + losses[8:].sum()) / 13)


def test_what_is_drawn_was_learned_before(taped: Taped) -> None:
    _, tape = taped(Rehearsal(capacity=20, batch_size=5), 6)
    met: set[bytes] = set()
    for batch in tape.batches:
        current, drawn = batch.inputs[:8], batch.inputs[8:]
        assert all(row.numpy().tobytes() in met for row in drawn)
        met |= {row.numpy().tobytes() for row in current}


def test_the_second_experience_rehearses_labels_of_the_first(taped: Taped) -> None:
    _, tape = taped(Rehearsal(capacity=20, batch_size=8), 6)
    drawn = torch.cat([batch.targets[8:] for batch in tape.batches[6:] if batch.targets is not None])
    assert bool((drawn < 2).any())


def test_inputs_and_targets_stay_together(taped: Taped) -> None:
    _, tape = taped(Rehearsal(capacity=20, batch_size=5), 6)
    label: dict[bytes, int] = {}
    for batch in tape.batches:
        assert batch.targets is not None
        for row, target in zip(batch.inputs, batch.targets.tolist(), strict=True):
            assert label.setdefault(row.numpy().tobytes(), target) == target


def test_rehearsed_examples_keep_their_own_task_ids(taped: Taped) -> None:
    _, tape = taped(Rehearsal(capacity=20, batch_size=8), 6, task_ids=True)
    for batch in tape.batches:
        assert batch.targets is not None
        assert batch.task_ids is not None
        assert torch.equal(batch.targets // 2, batch.task_ids)


def test_it_serves_data_without_labels() -> None:
    method = Rehearsal(capacity=20, batch_size=5)
    stream = digit_stream(2)
    learner = prepared(autoencoder(method), stream)
    learn_all(learner, stream)
    assert len(method.memory) == 20


def test_the_batch_that_methods_see_is_without_the_memory(taped: Taped) -> None:
    learner, _ = taped(Rehearsal(capacity=20, batch_size=5), 3)
    assert len(learner.batch.inputs) == 8


def test_capacity_has_no_default() -> None:
    with pytest.raises(TypeError, match="capacity"):
        Rehearsal()  # type: ignore[call-arg]


def test_a_memory_filled_at_the_end_rehearses_nothing_of_the_present_experience(taped: Taped) -> None:
    method = Rehearsal(capacity=100, batch_size=5, fill="experience")
    _, tape = taped(method, 3)
    assert [len(batch.inputs) for batch in tape.batches] == [8, 8, 8, 8 + 5, 8 + 5, 8 + 5]
    assert [0, 0, 0, 26, 26, 26] == tape.seen  # two classes of 13
    assert all(set(batch.targets[8:].tolist()) <= {0, 1} for batch in tape.batches[3:])  # type: ignore[index]
    assert 52 == method.memory.seen
