"""PackNet: two tasks by hand, and what a task keeps to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve, frozen
from harness import FewDigits, autoencoder, classifier, digit_stream, learn_all, learn_one, learning, prepared, weights
from torch import Tensor, nn

from rlcl.data.sources import LabelledArrays
from rlcl.encoders.scale import Scale
from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Adam, AdamW, Sgd
from rlcl.methods.packnet import PackNet, smallest
from rlcl.methods.rehearsal import Rehearsal
from rlcl.methods.shrink_and_perturb import ShrinkAndPerturb
from rlcl.networks.cnn import Cnn
from rlcl.networks.mlp import Mlp
from rlcl.networks.multihead import Multihead
from rlcl.seeding import Seeds
from rlcl.streams.cumulative import Cumulative
from rlcl.streams.cyclic import Cyclic
from rlcl.streams.joint import Joint
from rlcl.streams.task_incremental import TaskIncremental
from rlcl.types import Budget, Experience, Network, Visibility

TASKS = FewDigits(classes=6)


def tasks(experiences: int = 3, budget: Budget = Budget(epochs=2)) -> Any:  # noqa: B008
    """Pairs of digits, each pair being told."""
    return digit_stream(experiences, data=TASKS, task_ids=True, budget=budget)


def pruned(weights: list[list[float]], among: list[list[bool]], share: float) -> list[list[bool]]:
    found: list[list[bool]] = smallest(torch.tensor(weights), torch.tensor(among), share).tolist()
    return found


class TestSmallest:
    def test_the_share_that_is_least_in_magnitude_is_pruned(self) -> None:
        everything = [[True, True], [True, True]]
        assert [[False, True], [True, False]] == pruned([[3.0, -1.0], [0.5, -2.0]], everything, 0.5)

    def test_what_is_not_in_question_neither_counts_nor_goes(self) -> None:
        among = [[True, True], [False, True]]
        # Of 3, -1 and -2 the least third; half of them are 1.5, which rounds to 2.
        assert [[False, True], [False, False]] == pruned([[3.0, -1.0], [0.5, -2.0]], among, 1 / 3)
        assert [[False, True], [False, True]] == pruned([[3.0, -1.0], [0.5, -2.0]], among, 0.5)

    def test_equal_magnitudes_leave_the_number_exact(self) -> None:
        assert [[True, True], [False, False]] == pruned([[1.0, -1.0], [1.0, 1.0]], [[True] * 2] * 2, 0.5)


class TestByHand:
    """Two inputs, two units, SGD with a rate of 1 and a momentum of a half."""

    layer: Any
    optimizer: torch.optim.Optimizer
    method: PackNet

    @pytest.fixture(autouse=True)
    def made(self) -> None:
        self.layer = nn.Linear(2, 2)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[4.0, 1.0], [2.0, 3.0]]))
            self.layer.bias.fill_(1.0)
        self.optimizer = torch.optim.SGD(self.layer.parameters(), lr=1.0, momentum=0.5)
        host: Any = SimpleNamespace(
            modules={"network": self.layer}, optimizers={"network": self.optimizer}, primary="network"
        )
        self.method = PackNet(prune=0.5, retrain=1 / 3)
        self.method.attach(host, np.random.default_rng(0))

    def begin(self, task: int, updates: int | None) -> Experience:
        data = LabelledArrays(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
        experience = Experience(task, "by hand", data, None, Budget(updates=9), task)
        self.method.begin(experience, updates)
        return experience

    def step(self, weight: list[list[float]], bias: list[float]) -> None:
        self.layer.weight.grad, self.layer.bias.grad = torch.tensor(weight), torch.tensor(bias)
        self.optimizer.step()

    def now(self) -> tuple[list[list[float]], list[float]]:
        return self.layer.weight.tolist(), self.layer.bias.tolist()

    def predicting(self, task: int) -> tuple[list[list[float]], list[float]]:
        with self.method.predicting(task):
            return self.now()

    def first_task(self) -> None:
        experience = self.begin(0, 3)
        self.step([[1.0, 0.0], [0.0, 1.0]], [0.0, 1.0])
        self.step([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0])
        self.step([[1.0, 1.0], [1.0, 1.0]], [1.0, 1.0])
        self.method.end(experience)

    def test_before_the_pruning_every_weight_moves(self) -> None:
        self.begin(0, 3)
        self.step([[1.0, 0.0], [0.0, 1.0]], [0.0, 1.0])
        assert ([[3.0, 1.0], [2.0, 2.0]], [1.0, 0.0]) == self.now()

    def test_after_two_thirds_of_the_updates_the_smaller_half_is_0(self) -> None:
        self.begin(0, 3)
        self.step([[1.0, 0.0], [0.0, 1.0]], [0.0, 1.0])
        self.step([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0])
        # Momentum took a half more: 2.5, 1, 2 and 1.5. Biases are kept.
        assert ([[2.5, 0.0], [2.0, 0.0]], [1.0, -0.5]) == self.now()

    def test_only_what_was_kept_retrains_and_momentum_moves_nothing_else(self) -> None:
        self.first_task()
        # Velocities 0.5 * 0.5 + 1, and 1. The last weight had a velocity, the first bias was never reached before.
        assert ([[1.25, 0.0], [1.0, 0.0]], [1.0, -1.75]) == self.now()

    def test_the_second_task_trains_what_is_free(self) -> None:
        self.first_task()
        self.begin(1, 3)
        self.step([[1.0, 1.0], [1.0, 1.0]], [1.0, 1.0])
        # The last weight's velocity was 0.25.
        assert ([[1.25, -1.0], [1.0, -1.125]], [0.0, -1.75]) == self.now()

    def test_predictions_use_what_the_tasks_up_to_it_have_kept(self) -> None:
        self.first_task()
        experience = self.begin(1, 1)
        self.step([[1.0, 1.0], [1.0, 1.0]], [1.0, 1.0])
        self.method.end(experience)
        assert ([[1.25, 0.0], [1.0, -1.125]], [0.0, -1.75]) == self.now()
        assert ([[1.25, 0.0], [1.0, 0.0]], [0.0, -1.75]) == self.predicting(0)
        assert self.now() == self.predicting(1)

    def test_a_prediction_for_a_task_that_is_not_finished_uses_all_weights(self) -> None:
        self.first_task()
        assert self.now() == self.predicting(1)

    @pytest.mark.parametrize("updates", [None, 100])
    def test_an_experience_that_ends_early_is_pruned_at_its_end(self, updates: int | None) -> None:
        experience = self.begin(0, updates)
        self.step([[1.0, 0.0], [0.0, 1.0]], [0.0, 1.0])
        self.method.end(experience)
        assert ([[3.0, 0.0], [0.0, 2.0]], [1.0, 0.0]) == self.now()  # of the two 2s the first goes

    def test_weights_brought_back_from_before_the_pruning_are_pruned_again(self) -> None:
        experience = self.begin(0, 1)
        self.step([[1.0, 0.0], [0.0, 1.0]], [0.0, 1.0])
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[7.0, 7.0], [7.0, 7.0]]))
        self.method.end(experience)
        assert [[7.0, 0.0], [0.0, 7.0]] == self.layer.weight.tolist()


@frozen
class BatchNorms(Network):
    """A hidden layer behind a batch norm."""

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, outputs))


def logits(learner: Any, stream: Any, task: int) -> Tensor:
    """What it predicts for a task's test inputs, before the decision."""
    with learner.predicting(task):
        return torch.cat([learner.outputs(x, ids) for x, ids in learner.chunks(stream[task].test.read()[0], task)])


def assert_kept(learner: Any, stream: Any) -> None:
    """Predictions for finished tasks are the same at each later update."""
    before: Mapping[int, Tensor] = {}
    checked = 0
    for count, _ in enumerate(learning(learner, stream)):
        for task, expected in before.items():
            if count % 3 == 0 or not learner.position.learning:
                assert torch.equal(expected, logits(learner, stream, task))
                checked += 1
        if not learner.position.learning:
            before = {
                **before,
                learner.position.experience - 1: logits(learner, stream, learner.position.experience - 1),
            }
    assert 3 == len(before)
    assert checked > 5


@pytest.mark.parametrize(
    "optimizer",
    [Sgd(lr=0.1, momentum=0.9, weight_decay=0.1), Adam(lr=0.01, weight_decay=0.1), AdamW(lr=0.01, weight_decay=0.5)],
)
@pytest.mark.parametrize("network", [Mlp(hidden=(9, 7)), Multihead(body=Mlp(hidden=(9,)), features=7)])
def test_predictions_of_a_finished_task_never_change(network: Any, optimizer: Any) -> None:
    stream = tasks()
    learner = prepared(classifier(PackNet(), network=network, optimizer=optimizer), stream, encoder=Scale())
    assert_kept(learner, stream)


@pytest.mark.parametrize("network", [Cnn(channels=(3,), hidden=(5,), layer_norm=True, dropout=0.2), BatchNorms()])
def test_nor_do_they_behind_normalisations(network: Any) -> None:
    stream = tasks(budget=Budget(updates=6))
    assert_kept(prepared(classifier(PackNet(), network=network), stream, encoder=Scale()), stream)


def test_nor_do_they_beside_methods_that_add_gradients_and_edit_weights() -> None:
    stream = tasks()
    methods = PackNet(), ShrinkAndPerturb(decay=0.1, noise=0.1), Rehearsal(capacity=20, batch_size=8)
    assert_kept(prepared(classifier(*methods), stream, encoder=Scale()), stream)


def test_nor_do_an_autoencoders() -> None:
    stream = tasks()
    assert_kept(prepared(autoencoder(PackNet()), stream, encoder=Scale()), stream)


def test_without_it_they_do() -> None:
    stream = tasks()
    with pytest.raises(AssertionError):
        assert_kept(prepared(classifier(), stream, encoder=Scale()), stream)


def test_up_to_the_pruning_the_first_task_trains_as_without_a_method() -> None:
    stream = tasks(budget=Budget(updates=5))
    network = Mlp(hidden=(8,), activation="tanh")
    packed, plain = (
        prepared(classifier(*methods, network=network), stream, encoder=Scale())
        for methods in ((PackNet(retrain=0.0),), ())
    )
    learn_one(packed, stream)
    learn_one(plain, stream)
    expected = weights(plain)
    with torch.no_grad():
        hidden = expected["1.weight"]
        hidden[smallest(hidden, torch.ones_like(hidden, dtype=torch.bool), 0.5)] = 0
        own = expected["3.weight"][:2]  # of the classes of the first task; the others are as they were
        own[smallest(own, torch.ones_like(own, dtype=torch.bool), 0.5)] = 0
    assert all(torch.equal(expected[name], found) for name, found in weights(packed).items())


@pytest.mark.parametrize(
    ("prune", "hidden", "last"),
    [(0.5, [64, 256, 128, 64], [48 - 24, 8, 8, 8]), (0.75, [216, 128, 96, 72], [36, 4, 4, 4])],
)
def test_each_task_keeps_its_share_of_what_the_one_before_left(prune: float, hidden: Any, last: Any) -> None:
    method, stream = PackNet(prune=prune), tasks()
    # With tanh every unit is reached. 64 inputs, 8 units; 2 of 6 outputs a task.
    learn_all(
        prepared(classifier(method, network=Mlp(hidden=(8,), activation="tanh")), stream, encoder=Scale()), stream
    )
    owners = [method.state_dict()["packings"][name]["owner"] for name in ("1.weight", "3.weight")]
    assert [hidden, last] == [[int((owner == number).sum()) for number in range(4)] for owner in owners]


def test_the_heads_of_later_tasks_are_left_as_they_are() -> None:
    stream, network = tasks(), Multihead(body=Mlp(hidden=(9,)), features=7)
    learner = prepared(classifier(PackNet(), network=network), stream, encoder=Scale())
    before = weights(learner)
    learn_one(learner, stream)
    now = weights(learner)
    assert [False, True, True] == [torch.equal(before[f"heads.{t}.weight"], now[f"heads.{t}.weight"]) for t in range(3)]


def test_tasks_without_free_weights_train_their_own_outputs_alone() -> None:
    stream = tasks()
    # Of two free weights one hundredth rounds to none: the first task keeps the whole hidden layer.
    learner = prepared(classifier(PackNet(prune=1e-9), network=Mlp(hidden=(8,), activation="tanh")), stream, seed=3)
    learn_one(learner, stream)
    before = weights(learner)
    learn_one(learner, stream)
    changed = {name: (before[name] != now).flatten(int(now.ndim > 1)).any(-1) for name, now in weights(learner).items()}
    assert not changed["1.weight"].any()
    assert [False, False, True, True, False, False] == (before["3.weight"] != weights(learner)["3.weight"]).any(
        1
    ).tolist()


def test_a_task_that_comes_back_is_packed_anew() -> None:
    scenario = Cyclic(of=TaskIncremental(data=FewDigits(), experiences=2), cycles=2)
    stream, method = scenario.make(Seeds(0), Budget(updates=6)), PackNet()
    learner = prepared(classifier(method), stream, encoder=Scale())
    for _ in range(3):
        learn_one(learner, stream)
    assert {0: 3, 1: 2} == method.state_dict()["numbers"]
    first, second = (logits(learner, stream, task) for task in (0, 1))
    learn_one(learner, stream)
    assert torch.equal(first, logits(learner, stream, 0))
    assert not torch.equal(second, logits(learner, stream, 1))


@pytest.mark.parametrize("shown", ["hidden", "training", "evaluation"])
def test_task_ids_must_be_shown_in_training_and_at_evaluation(shown: Any) -> None:
    scenario = TaskIncremental(data=FewDigits(), experiences=2, visibility=Visibility(task_ids=shown))
    with pytest.raises(
        UnsupportedError, match=r"packnet does not support .* hides task ids .*set stream.visibility.task_ids: vis"
    ):
        prepared(classifier(PackNet()), scenario.make(Seeds(0), Budget(epochs=1)))


def test_an_average_of_the_weights_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"packnet does not support .* leave out learner.ema"):
        prepared(classifier(PackNet(), ema=0.9), tasks())


def test_an_experience_of_several_tasks_is_refused() -> None:
    stream = Joint(of=TaskIncremental(data=FewDigits(), experiences=2)).make(Seeds(0), Budget(epochs=1))
    with pytest.raises(
        UnsupportedError, match="an experience of this stream holds several tasks; use a stream with one"
    ):
        prepared(classifier(PackNet()), stream)


def test_a_later_experience_of_several_tasks_is_refused_before_training() -> None:
    stream = Cumulative(of=TaskIncremental(data=FewDigits(), experiences=2)).make(Seeds(0), Budget(epochs=1))
    with pytest.raises(UnsupportedError, match="an experience of this stream holds several tasks"):
        prepared(classifier(PackNet()), stream)


def test_rows_that_tell_one_task_are_one_task() -> None:
    stream = tasks(1)
    (experience,) = stream
    told = evolve(experience.train, tasks=torch.full((len(experience.train.inputs),), 4))
    method = PackNet()
    learner = prepared(classifier(method), stream)
    learner._attached.begin(evolve(experience, train=told, task_id=None), 3)
    assert 4 == method.state_dict()["task"]
