"""GDumb: its memory, and a network that knows nothing but the memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from harness import FewDigits, digit_stream, learn_all, learn_one, prepared, weights

from rlcl.encoders.scale import Scale
from rlcl.learners.optimizers import Adam, Sgd
from rlcl.learners.schedules import Linear
from rlcl.learners.supervised.gdumb import GDumb
from rlcl.methods.memories.class_balanced import GreedyMemory
from rlcl.networks.cnn import Cnn
from rlcl.networks.mlp import Mlp
from rlcl.types import Budget

ONE = Budget(epochs=1)


def offered(memory: GreedyMemory, labels: list[int], start: int = 0) -> dict[int, list[int]]:
    memory.insert(x=torch.arange(start, start + len(labels)), targets=torch.tensor(labels))
    held = memory.contents()
    return {k: sorted(held["x"][held["targets"] == k].tolist()) for k in held["targets"].unique().tolist()}


def test_a_class_keeps_its_first_items_in_its_share() -> None:
    memory = GreedyMemory(6, np.random.default_rng(0))
    assert {0: [0, 1, 2, 3, 4, 5]} == offered(memory, [0] * 8)
    kept = offered(memory, [1, 1, 1, 1], start=8)  # a share of 3: the fourth is left out
    assert (3, [8, 9, 10]) == (len(kept[0]), kept[1])
    kept = offered(memory, [2, 2, 2, 0], start=12)  # a share of 2
    assert ([2, 2], [12, 13]) == ([len(kept[0]), len(kept[1])], kept[2])
    assert (6, 16) == (len(memory), memory.seen)


def test_while_there_is_room_a_class_takes_no_more_than_its_share() -> None:
    memory = GreedyMemory(6, np.random.default_rng(0))
    assert {0: [0, 2, 3], 1: [1]} == offered(memory, [0, 1, 0, 0, 0, 0])


def test_going_on_from_its_state_equals_not_stopping() -> None:
    labels = np.random.default_rng(3).integers(0, 4, 60).tolist()
    through, resumed = (GreedyMemory(7, np.random.default_rng(s)) for s in (0, 9))
    offered(through, labels[:25])
    resumed.load_state_dict(through.state_dict())
    resumed._columns = {name: column.clone() for name, column in resumed._columns.items()}
    assert offered(through, labels[25:], start=25) == offered(resumed, labels[25:], start=25)


def gdumb(stream: Any, **settings: Any) -> Any:
    settings = {"capacity": 40, "network": Mlp(hidden=(32,)), "optimizer": Adam(lr=0.01), "epochs": 20, **settings}
    return prepared(GDumb(batch_size=8, **settings), stream, encoder=Scale(maximum=16.0))


def accuracy(learner: Any, stream: Any, task_ids: bool = False) -> list[float]:
    found = []
    for e in stream:
        x, y = e.test.read()
        found.append(float((learner.predict(x, e.task_id if task_ids else None)[0] == y).float().mean()))
    return found


def test_it_remembers_all_classes() -> None:
    stream = digit_stream(2, budget=ONE)
    learner = gdumb(stream)
    learn_one(learner, stream)
    first = accuracy(learner, stream)
    assert first[0] >= 0.8
    assert first[1] == 0  # it predicts among the classes that it has seen
    learn_all(learner, stream)
    assert min(accuracy(learner, stream)) >= 0.8


def test_where_the_task_is_shown_it_predicts_among_its_classes() -> None:
    stream = digit_stream(2, budget=ONE, task_ids=True)
    learner = gdumb(stream, epochs=1)
    learn_all(learner, stream)
    for e in stream:
        predicted = learner.predict(e.test.read()[0], e.task_id)[0]  # type: ignore[union-attr]
        assert set(predicted.tolist()) <= {2 * e.index, 2 * e.index + 1}


def test_each_training_starts_from_fresh_weights() -> None:
    stream = digit_stream(2, budget=ONE)
    learner = gdumb(stream, optimizer=Sgd(lr=1e-9), epochs=1)
    begun = weights(learner)
    ends = []
    for _ in stream:
        learn_one(learner, stream)
        ends.append(weights(learner))
    apart = [float((a["1.weight"] - b["1.weight"]).abs().max()) for a, b in ((begun, ends[0]), (ends[0], ends[1]))]
    assert min(apart) > 1e-3


def test_a_schedule_runs_over_each_training(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = digit_stream(2, budget=ONE, data=FewDigits(per_class=8))
    seen: list[tuple[int, int]] = []
    call = Linear.__call__

    def noting(self: Linear, update: int, updates: int) -> float:
        seen.append((update, updates))
        return call(self, update, updates)

    monkeypatch.setattr(Linear, "__call__", noting)
    learn_one(gdumb(stream, schedule=Linear(), epochs=2, training_batch_size=5), stream)
    assert [(i, 8) for i in range(8)] == seen  # 16 examples in batches of 5: 4 updates, twice


def test_images_keep_their_shape() -> None:
    stream = digit_stream(2, budget=ONE)
    learner = gdumb(stream, network=Cnn(channels=(4,), hidden=(8,)), epochs=1)
    learn_all(learner, stream)
    assert (1, 8, 8) == tuple(learner.memory.contents()["inputs"].shape[1:])
    assert [20 // 2, 20 // 2] == [len(learner.predict(e.test.read()[0])[0]) for e in stream]  # type: ignore[union-attr]


def test_a_class_that_has_lost_all_its_examples_is_not_predicted() -> None:
    stream = digit_stream(4, data=FewDigits(classes=8), budget=ONE)
    learner = gdumb(stream, capacity=5)
    learn_all(learner, stream)
    held = set(learner.memory.contents()["targets"].tolist())
    assert 5 == len(held)
    predicted = torch.cat([learner.predict(e.test.read()[0])[0] for e in stream])
    assert held >= set(predicted.tolist())
    assert held == set(learner._known.nonzero().flatten().tolist())
