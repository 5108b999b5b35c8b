"""What learning costs, and how well examples are predicted before their updates, by hand and on every learner."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
import torch.nn.functional as F
from harness import (
    HOSTS,
    FewDigits,
    autoencoder,
    avalanche,
    cartpoles,
    classifier,
    differences,
    digit_stream,
    prepared,
    sb3,
)
from torch import nn

from rlcl.encoders.scale import Scale
from rlcl.errors import UnsupportedError
from rlcl.evaluation.plan import Plan
from rlcl.evaluation.results import metrics
from rlcl.learners.online_score import OnlineScore, count_trainable
from rlcl.learners.optimizers import Sgd
from rlcl.learners.supervised.gdumb import GDumb
from rlcl.learners.supervised.nearest_mean import NearestMean
from rlcl.learners.supervised.regressor import Regressor
from rlcl.methods.ewc import Ewc
from rlcl.methods.rehearsal import Rehearsal
from rlcl.networks.mlp import Linear, Mlp
from rlcl.seeding import Seeds
from rlcl.streams.slowly_changing_regression import SlowlyChangingRegression
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, Costs, Record

ONLINE = Plan(online=True, before=False)
COSTS = tuple(attrs.fields_dict(Costs))


def of(records: Any, name: str) -> list[tuple[int, int, float]]:
    return [(r.trained_on, r.evaluated_on, r.value) for r in records if r.metric == name]


# Before the update.


def test_the_online_accuracy_is_of_the_weights_before_each_update() -> None:
    stream = digit_stream(budget=Budget(epochs=2))
    learner = classifier(network=Linear(), optimizer=Sgd(lr=0.5))
    trainer = Trainer(learner, stream, ONLINE, encoder=Scale(maximum=16))
    right, expected, step, records = 0, [], 0, []
    for item in trainer.events():
        if isinstance(item, Record):
            records.append(item)
        elif learner.batch is not None and learner.position.step > step:
            step = learner.position.step
            with torch.no_grad():
                # The weights as they were: SGD's step taken back.
                x, y = learner.batch.inputs, learner.batch.targets
                before = [p + 0.5 * p.grad for p in learner.module.parameters()]
                right += int((F.linear(x.flatten(1), *before).argmax(1) == y).sum())
            if not learner.position.learning:
                expected.append(right / 52)
                right = 0
    assert pytest.approx(expected) == [v for *_, v in of(records, "accuracy.online")]
    assert [(0, 0), (1, 1)] == [(t, j) for t, j, _ in of(records, "accuracy.online")]
    assert 0 < expected[0] < 1


def test_a_memory_that_joins_the_minibatch_is_not_scored() -> None:
    learner = classifier(Rehearsal(capacity=10, batch_size=8), accumulate=2)
    records = Trainer(learner, digit_stream(), ONLINE, encoder=Scale()).fit().records
    assert 2 == len(of(records, "accuracy.online"))
    assert [52.0, 52.0] == [v for *_, v in of(records, "samples")]
    assert 52 == learner._online_score._count


def test_hidden_labels_are_not_scored() -> None:
    learner = classifier(labelled=0.5)
    Trainer(learner, digit_stream(budget=Budget(epochs=1)), ONLINE, encoder=Scale()).fit()
    shown = int(
        (learner._with_hidden_labels(learner._setup.stream[1], learner._setup.stream[1].train.targets) != -1).sum()
    )
    assert shown == learner._online_score._count < 26


def test_a_regressor_tells_its_squared_error() -> None:
    stream = SlowlyChangingRegression(examples=40, period=20).make(Seeds(0), Budget(epochs=1))
    learner = Regressor(network=Mlp(hidden=(3,)), batch_size=1)
    events = list(Trainer(learner, stream, ONLINE, event_interval=20).events())
    losses = [e.values["loss"] for e in events if e is not None and hasattr(e, "values")]
    found = [r.value for r in events if isinstance(r, Record) and r.metric == "squared_error.online"]
    assert pytest.approx(losses, rel=1e-5) == found


def test_scoring_changes_nothing_of_what_is_learned() -> None:
    def trained(plan: Plan) -> Any:
        trainer = Trainer(classifier(network=Mlp(hidden=(8,), dropout=0.3)), digit_stream(), plan, encoder=Scale())
        trainer.fit()
        return trainer.learner.module.state_dict()

    assert [] == differences(dict(trained(Plan(before=False))), dict(trained(ONLINE)))


@pytest.mark.parametrize("stops", [3, 8, 11])
@pytest.mark.parametrize("boundaries", ["announced", "hidden"])
def test_a_resumed_run_scores_and_counts_on(stops: int, boundaries: str) -> None:
    def fresh() -> Trainer:
        methods = (Rehearsal(capacity=10, batch_size=4),)
        return Trainer(classifier(*methods), digit_stream(boundaries=boundaries), ONLINE, encoder=Scale())

    expected, before = fresh().fit().records, []
    trainer = fresh()
    for item in trainer.events():
        if isinstance(item, Record):
            before.append(item)
        elif trainer.learner.position.step == stops:
            break
    state = trainer.state_dict()
    resumed = fresh()
    resumed.load_state_dict(state)
    assert list(expected) == [*before, *resumed.fit().records]


@pytest.mark.parametrize(
    ("make", "name"),
    [(autoencoder, "autoencoder"), (NearestMean, "nearest_mean"), (avalanche, "avalanche")],
)
def test_what_predicts_nothing_in_training_is_refused(make: Any, name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"evaluation.online: learner {name} predicts nothing in training"):
        Trainer(make(), digit_stream(budget=Budget(epochs=1)), ONLINE, encoder=Scale())


def test_the_streams_online_accuracy_weighs_experiences_by_their_samples() -> None:
    rows = [("accuracy.online", 0, 0.5), ("samples", 0, 100.0), ("accuracy.online", 1, 0.9), ("samples", 1, 300.0)]
    records = [Record("", 0, 10 * t, t, t, name, value) for name, t, value in rows]
    assert {"accuracy.online": pytest.approx((0.5 * 100 + 0.9 * 300) / 400)} == metrics(
        records, ["accuracy"], ["accuracy.online"]
    )
    assert {} == metrics(records[1:2], ["accuracy"], ["accuracy.online"])


def test_a_loss_that_is_told_online_enters_negated() -> None:
    records = [Record("", 0, 1, 0, 0, "squared_error.online", 2.0), Record("", 0, 1, 0, 0, "samples", 5.0)]
    assert {"squared_error.online": -2.0} == metrics(records, ["squared_error"], ["squared_error.online"])


def test_the_mean_is_over_all_examples_and_not_over_minibatches() -> None:
    score = OnlineScore("cpu")
    assert score.mean is None
    score.add(torch.tensor([True, False, False, False]))
    score.add(torch.tensor([True]))
    assert 0.4 == score.mean
    score.start()
    assert score.mean is None


# What it costs.


def test_parameters_are_trainable_ones_and_shared_ones_count_once() -> None:
    layer, frozen = nn.Linear(3, 2), nn.Linear(5, 5)
    frozen.requires_grad_(False)
    assert 8 == count_trainable([nn.Sequential(layer, layer), nn.ModuleList([layer, frozen])])


@pytest.mark.parametrize("name", HOSTS)
def test_every_host_tells_what_an_experience_cost(name: str) -> None:
    case = HOSTS[name]
    trainer = Trainer(case.make(), case.stream(), Plan(every="end", before=False, episodes=1), encoder=case.encoder())
    records = trainer.fit().records
    assert [(t, t) for t in range(2)] * len(COSTS) == [(t, j) for c in COSTS for t, j, _ in of(records, c)]
    assert all(v > 0 for c in ("parameters", "updates", "samples") for *_, v in of(records, c))


def test_the_costs_of_a_classifier_by_hand() -> None:
    ewc, rehearsal = Ewc(strength=1.0), Rehearsal(capacity=10, batch_size=4)
    learner = classifier(ewc, rehearsal, network=Mlp(hidden=(16,)))
    records = Trainer(learner, digit_stream(), Plan(before=False), encoder=Scale()).fit().records
    parameters = 64 * 16 + 16 + 16 * 4 + 4
    found = {c: [v for *_, v in of(records, c)] for c in COSTS}
    assert [parameters] * 2 == found["parameters"]
    # 26 images an experience in batches of 8, two epochs.
    assert ([8.0, 8.0], [52.0, 52.0]) == (found["updates"], found["samples"])
    # Ten images of 64 float32 and an int64 label; EWC's Fisher information and the weights it is about.
    anchors = sum(t.nbytes for t in _tensors(ewc.state_dict()))
    assert [10 * (64 * 4 + 8) + anchors] * 2 == found["memory_bytes"]
    assert anchors >= 2 * 4 * parameters


def _tensors(tree: Any) -> list[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return [tree]
    values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    return [t for value in values for t in _tensors(value)]


def test_the_updates_of_ppo_are_its_optimizers_steps() -> None:
    # Rollouts of 32 steps in minibatches of 16, two epochs: 4 steps a rollout.
    learner = sb3("PPO")
    records = Trainer(learner, cartpoles(64), Plan(every="end", before=False, episodes=1)).fit().records
    assert [8.0, 8.0] == [v for *_, v in of(records, "updates")]
    assert [64.0, 64.0] == [v for *_, v in of(records, "samples")]
    fresh = prepared(sb3("PPO"), cartpoles(64))
    fresh.load_state_dict(learner.state_dict())
    assert learner.costs() == fresh.costs()


def test_an_algorithm_without_an_optimizer_of_its_own_counts_its_updates_itself() -> None:
    records = Trainer(sb3("TRPO"), cartpoles(64), Plan(every="end", before=False, episodes=1)).fit().records
    assert [2.0, 2.0] == [v for *_, v in of(records, "updates")]


def test_gdumb_counts_the_updates_of_each_training() -> None:
    learner = GDumb(capacity=8, epochs=3, training_batch_size=4, network=Mlp(hidden=(5,)))
    stream = digit_stream(budget=Budget(epochs=1), data=FewDigits())
    records = Trainer(learner, stream, Plan(before=False), encoder=Scale()).fit().records
    assert [6.0, 6.0] == [v for *_, v in of(records, "updates")]
    assert [26.0, 26.0] == [v for *_, v in of(records, "samples")]
    assert [64 * 5 + 5 + 5 * 4 + 4] * 2 == [v for *_, v in of(records, "parameters")]


def test_a_repeated_strategy_of_avalanche_counts_as_one_that_ran_through() -> None:
    def fresh() -> Trainer:
        return Trainer(avalanche(strategy="Replay", mem_size=10), digit_stream(), Plan(before=False), encoder=Scale())

    expected, trainer, before = fresh().fit().records, fresh(), []
    for item in trainer.events():
        if isinstance(item, Record):
            before.append(item)
        elif item is not None and getattr(item, "trained_on", -1) == 0:
            break
    resumed = fresh()
    resumed.load_state_dict(trainer.state_dict())
    assert list(expected) == [*before, *resumed.fit().records]
