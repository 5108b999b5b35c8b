"""The loop that learners over arrays share: budgets, events, divergence, hidden boundaries."""

from __future__ import annotations

import time
from typing import Any

import attrs
import pytest
import torch
import torch.nn.functional as F
from harness import classifier, differences, digit_stream, learn_all, learn_one, learning, prepared, weights
from torch import nn

from rlcl.data.sources import Data
from rlcl.encoders.scale import Scale
from rlcl.encoders.standardize import Standardize
from rlcl.errors import DivergenceError, UnsupportedError
from rlcl.learners.minibatches import budget_updates
from rlcl.learners.optimizers import Adam, Sgd
from rlcl.methods.distill import Distill
from rlcl.networks.multihead import Multihead
from rlcl.types import Budget, DataSet, Event

WHOLE_BATCH = 1000  # more than any experience has


@pytest.mark.parametrize(
    ("budget", "drop_last", "expected"),
    [
        (Budget(epochs=3), False, 3 * 4),  # 10 rows in batches of 3: 3 + 3 + 3 + 1
        (Budget(epochs=3), True, 3 * 3),
        (Budget(updates=7), False, 7),
        (Budget(updates=7), True, 7),
        (Budget(samples=6), False, 2),
        (Budget(samples=7), False, 3),
        (Budget(samples=1), False, 1),
    ],
    ids=str,
)
def test_updates_of_a_budget(budget: Budget, drop_last: bool, expected: int) -> None:
    assert expected == budget_updates(budget, 10, 3, drop_last)


def test_an_epoch_over_fewer_rows_than_a_batch_is_one_update() -> None:
    assert 2 == budget_updates(Budget(epochs=2), 3, 8, drop_last=True)


@pytest.mark.parametrize("unit", ["env_steps", "episodes"])
def test_arrays_have_no_steps_of_environments(unit: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"budget\.{unit}: .*use epochs, updates or samples"):
        budget_updates(Budget(**{unit: 3}), 10, 3)


def test_it_learns_as_many_updates_as_its_budget() -> None:
    stream = digit_stream(2, budget=Budget(epochs=3))  # 26 rows in batches of 8: 4 updates an epoch
    learner = prepared(classifier(), stream)
    items = list(learner.learn(stream[0]))
    assert 3 * 4 == len(items)
    assert 12 == learner.position.step


def test_the_learned_weights_are_those_of_plain_gradient_descent() -> None:
    stream = digit_stream(1, budget=Budget(epochs=3))
    learner = prepared(classifier(batch_size=WHOLE_BATCH, optimizer=Sgd(lr=0.1)), stream, encoder=Scale(maximum=16.0))
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
    module.load_state_dict(learner.module.state_dict())
    learn_all(learner, stream)
    x, y = stream[0].train.read()  # type: ignore[union-attr]
    for _ in range(3):
        loss = F.cross_entropy(module(x / 16), y)  # type: ignore[arg-type]
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        with torch.no_grad():
            for p, g in zip(module.parameters(), gradients, strict=True):
                p.sub_(0.1 * g)
    for expected, actual in zip(module.parameters(), learner.module.parameters(), strict=True):
        torch.testing.assert_close(actual, expected)


def test_the_optimizer_is_kept_through_all_experiences() -> None:
    stream = digit_stream(2, budget=Budget(updates=3))
    learner = prepared(classifier(optimizer=Adam()), stream)
    learn_all(learner, stream)
    state = learner.state_dict()["update"]["optimizer"]["state"]
    assert {6.0} == {float(entry["step"]) for entry in state.values()}


class TestEvents:
    def events(self, interval: int, updates: int = 7, **settings: Any) -> list[Event | None]:
        stream = digit_stream(1, budget=Budget(updates=updates))
        learner = prepared(classifier(**settings), stream, encoder=Scale(maximum=16.0), event_interval=interval)
        return list(learner.learn(stream[0]))

    def test_they_come_at_the_interval_and_at_the_end(self) -> None:
        events = self.events(3)
        assert [None, None, 3, None, None, 6, 7] == [e and e.step for e in events]

    def test_the_interval_is_counted_over_the_whole_stream(self) -> None:
        stream = digit_stream(2, budget=Budget(updates=4))
        learner = prepared(classifier(), stream, event_interval=3)
        assert [3, 4, 6, 8] == [e.step for e in learn_all(learner, stream)]

    def test_they_say_loss_lr_gradient_norm_and_speed(self) -> None:
        event = self.events(1, optimizer=Sgd(lr=0.25))[0]
        assert event is not None
        assert ["loss", "lr", "gradient_norm", "samples_per_second"] == list(event.values)
        assert 0.25 == event.values["lr"]

    def test_the_loss_is_the_mean_since_the_last_event(self) -> None:
        singly = [e.values["loss"] for e in self.events(1) if e is not None]
        in_threes = [e.values["loss"] for e in self.events(3) if e is not None]
        expected = [sum(singly[:3]) / 3, sum(singly[3:6]) / 3, singly[6]]
        assert pytest.approx(expected, rel=1e-5) == in_threes

    def test_the_gradient_norm_is_that_of_the_last_update(self) -> None:
        stream = digit_stream(1, budget=Budget(updates=1))
        learner = prepared(classifier(batch_size=WHOLE_BATCH), stream, encoder=Scale(maximum=16.0))
        x, y = stream[0].train.read()  # type: ignore[union-attr]
        loss = F.cross_entropy(learner.module(x / 16), y)  # type: ignore[arg-type]
        gradients = torch.autograd.grad(loss, list(learner.module.parameters()))
        expected = float(sum(g.square().sum() for g in gradients)) ** 0.5
        (event,) = learn_one(learner, stream)
        assert pytest.approx(expected, rel=1e-5) == event.values["gradient_norm"]

    def test_the_speed_is_that_of_the_updates_since_the_last_event(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter(range(0, 1000, 2))  # two seconds between two looks
        monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
        # The clock is looked at twice an event: once for its rate, once for the start of the next.
        rates = [e.values["samples_per_second"] for e in self.events(3) if e is not None]
        assert [3 * 8 / 2, 3 * 8 / 2, 4 / 2] == rates  # the last minibatch holds 4 samples


class TestDivergence:
    def test_it_names_experience_step_and_learner(self) -> None:
        stream = digit_stream(2, budget=Budget(updates=40))
        learner = prepared(classifier(optimizer=Sgd(lr=1e30)), stream, event_interval=5)
        message = r"loss of learner classifier is nan at update 5, in experience 0 \(digits 0-1\); lower learner.opt"
        with pytest.raises(DivergenceError, match=message):
            learn_all(learner, stream)

    def test_it_is_noticed_in_a_later_experience_too(self) -> None:
        stream = digit_stream(2, budget=Budget(updates=4))
        learner = prepared(classifier(), stream, event_interval=100)
        learn_one(learner, stream)
        with torch.no_grad():
            learner.module[1].weight[0, 0] = float("nan")
        with pytest.raises(DivergenceError, match=r"at update 8, in experience 1 \(digits 2-3\)"):
            learn_one(learner, stream)

    def test_a_method_that_is_too_strong_is_noticed(self) -> None:
        stream = digit_stream(2, budget=Budget(updates=30))
        strong = Distill(strength=1e30)
        learner = prepared(classifier(strong, optimizer=Sgd(lr=1.0)), stream)
        with pytest.raises(DivergenceError, match="a method's strength"):
            learn_all(learner, stream)


class TestHiddenBoundaries:
    def test_one_experience_draws_its_segments_in_order(self) -> None:
        # Classes 0-1 first, then 2-3: what is learned equals two announced experiences.
        hidden, announced = digit_stream(2, boundaries="hidden"), digit_stream(2)
        one, two = prepared(classifier(), hidden), prepared(classifier(), announced)
        learn_all(one, hidden)
        learn_all(two, announced)
        assert [] == differences(weights(two), weights(one))

    def test_its_position_counts_segments(self) -> None:
        stream = digit_stream(2, boundaries="hidden", budget=Budget(updates=3))
        learner = prepared(classifier(), stream)
        places = [(learner.position.segment, learner.position.update) for _ in learning(learner, stream)]
        assert [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 0)] == places

    def test_each_segment_has_its_own_task_id_where_it_is_shown(self) -> None:
        stream = digit_stream(2, boundaries="hidden", task_ids=True)
        learner = prepared(classifier(), stream)
        ids = [learner.batch.task_ids.unique().tolist() for _ in learning(learner, stream)]
        assert [[0]] * 8 + [[1]] * 8 == ids

    def test_it_learns_every_segment_where_task_ids_are_shown(self) -> None:
        stream = digit_stream(2, boundaries="hidden", task_ids=True, budget=Budget(epochs=10))
        learner = prepared(classifier(), stream, encoder=Standardize())
        learn_all(learner, stream)
        x, y = stream[1].test.read()  # type: ignore[union-attr]
        assert float((learner.predict(x, 1)[0] == y).float().mean()) > 0.8


class TestSample:
    def test_it_draws_without_replacement_from_the_experience_just_learned(self) -> None:
        import numpy as np

        stream = digit_stream(2)
        learner = prepared(classifier(), stream, encoder=Scale(maximum=16.0))
        learn_one(learner, stream)
        steps = learning(learner, stream)
        next(steps)
        batch = learner.host.sample(1000, np.random.default_rng(0))
        x, y = stream[1].train.read()  # type: ignore[union-attr]
        assert y is not None
        assert batch.targets is not None
        assert sorted(y.tolist()) == sorted(batch.targets.tolist())
        assert sorted((x / 16).flatten(1).sum(1).tolist()) == sorted(batch.inputs.flatten(1).sum(1).tolist())
        assert 5 == len(learner.host.sample(5, np.random.default_rng(0)).inputs)

    def test_before_any_experience_there_is_none(self) -> None:
        import numpy as np

        learner = prepared(classifier(), digit_stream())
        with pytest.raises(ValueError, match="no experience has been learned"):
            learner.host.sample(1, np.random.default_rng(0))


class TestMultihead:
    def test_without_task_ids_it_is_refused_with_the_remedy(self) -> None:
        remedy = r"network multihead .*but this stream hides task ids; set stream\.visibility\.task_ids: visible"
        with pytest.raises(UnsupportedError, match=remedy):
            prepared(classifier(network=Multihead()), digit_stream())

    def test_task_ids_in_training_alone_are_not_enough(self) -> None:
        from rlcl.types import Visibility

        stream = attrs.evolve(digit_stream(2, task_ids=True), visibility=Visibility(task_ids="training"))
        with pytest.raises(UnsupportedError, match="multihead"):
            prepared(classifier(network=Multihead()), stream)


def test_weights_are_initialised_without_touching_the_global_generator() -> None:
    from rlcl.encoders.identity import Identity
    from rlcl.seeding import Seeds
    from rlcl.types import Setup

    torch.manual_seed(3)
    before = torch.get_rng_state()
    stream = digit_stream()
    classifier().prepare(Setup(spec=stream.spec, stream=stream, encoder=Identity(), seeds=Seeds(0)))
    assert torch.equal(before, torch.get_rng_state())


def test_an_encoder_is_fitted_on_training_data_alone() -> None:
    stream = digit_stream(2)
    encoder = Standardize(clip=None)
    learner = prepared(classifier(), stream, encoder=encoder)
    learn_one(learner, stream)
    x, _ = stream[0].train.read()  # type: ignore[union-attr]
    torch.testing.assert_close(encoder.state_dict()["mean"], x.to(torch.float64).mean(0))
    assert 26.0 == encoder.state_dict()["count"]


def test_integer_images_of_eight_bits_are_learned() -> None:
    class Bytes(DataSet):
        def load(self) -> Data:
            images = torch.arange(8 * 4, dtype=torch.uint8).reshape(8, 1, 2, 2)
            return Data(images, torch.arange(8) % 2, images, torch.arange(8) % 2)

    stream = digit_stream(1, data=Bytes())
    learner = prepared(classifier(), stream)
    learn_all(learner, stream)
    assert torch.int64 == learner.predict(torch.zeros(3, 1, 2, 2, dtype=torch.uint8))[0].dtype
