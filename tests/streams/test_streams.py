"""What holds for every scenario, and what each one does with its data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from attrs import frozen
from harness import write_idx, write_mnist

from rlcl.data.drift import Drift, Piecewise
from rlcl.data.readers.torchvision import IDX_FILES
from rlcl.data.sources import Data, Environment, LabelledArrays, UnlabelledArrays
from rlcl.errors import DataError, Problem, SettingError
from rlcl.experiment import experiment_from
from rlcl.launch.build import make_stream
from rlcl.registry import entries, find
from rlcl.seeding import Seeds
from rlcl.streams.blurry import Blurry
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.cumulative import Cumulative
from rlcl.streams.cyclic import Cyclic
from rlcl.streams.data_incremental import DataIncremental
from rlcl.streams.domain_incremental import DomainIncremental
from rlcl.streams.environments import Environments, EnvironmentTask
from rlcl.streams.joint import Joint
from rlcl.streams.online import Online
from rlcl.streams.permuted import Permuted
from rlcl.streams.rotated import Rotated, Rotation
from rlcl.streams.stream import Stream, check_sources
from rlcl.streams.task_incremental import TaskIncremental
from rlcl.streams.visibility import learner_view
from rlcl.types import Budget, DataSet, Experience, StreamSpec, Visibility

CLASSES, TRAIN, TEST = 6, 60, 18


@frozen
class Small(DataSet):
    """Sixty training and eighteen test inputs of six classes, no two alike."""

    labelled: bool = True

    def load(self) -> Data:
        x = torch.arange(4 * (TRAIN + TEST), dtype=torch.float32).reshape(-1, 2, 2)
        y = torch.arange(TRAIN + TEST) * 7 % CLASSES
        labels = (y[:TRAIN], y[TRAIN:]) if self.labelled else (None, None)
        return Data(x[:TRAIN], labels[0], x[TRAIN:], labels[1], name="small")


@frozen
class Pictures(DataSet):
    """The same numbers of grey pictures of 4 x 4, at random."""

    def load(self) -> Data:
        x = torch.rand((TRAIN + TEST, 1, 4, 4), generator=torch.Generator().manual_seed(0))
        y = torch.arange(TRAIN + TEST) * 7 % CLASSES
        return Data(x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:], name="pictures")


POLES = (EnvironmentTask(), EnvironmentTask(attributes={"gravity": 40}))

SETTINGS: dict[str, dict[str, Any]] = {
    "single": {"data": Small()},
    "joint": {"of": ClassIncremental(data=Small(), experiences=3)},
    "class_incremental": {"data": Small(), "experiences": 3, "class_order": "shuffled"},
    "task_incremental": {"data": Small(), "experiences": 3, "class_order": "shuffled"},
    "permuted": {"data": Small(), "experiences": 3},
    "environments": {"env": "CartPole-v1", "tasks": POLES},
    "domain_incremental": {"data": Small(), "experiences": 3, "class_order": "shuffled"},
    "data_incremental": {"data": Small(), "experiences": 3},
    "rotated": {"data": Pictures(), "experiences": 3},
    "cumulative": {"of": ClassIncremental(data=Small(), experiences=3)},
    "online": {"of": ClassIncremental(data=Small(), experiences=3)},
    "blurry": {"of": ClassIncremental(data=Small(), experiences=3), "share": 0.3},
    "drifting": {
        "data": Small(),
        "drift": (Drift(parameter="label.permutation", function=Piecewise(values=(0, 1), steps=(20,)), probes=(0,)),),
        "parts": 3,
    },
    "single_task": {"of": ClassIncremental(data=Small(), experiences=3), "task": 1},
    "cyclic": {"of": ClassIncremental(data=Small(), experiences=3), "cycles": 2},
    "slowly_changing_regression": {"examples": 90, "period": 40, "bits": 8, "slow_bits": 6},
    "avalanche": {"benchmark": "SplitMNIST", "options": {"n_experiences": 5}},
}
SEEDED = (
    "class_incremental",
    "task_incremental",
    "domain_incremental",
    "data_incremental",
    "drifting",
    "permuted",
    "rotated",
    "blurry",
    "environments",
    "avalanche",
    "slowly_changing_regression",
)
MIXED = ("cumulative", "blurry")  # an experience trains on classes of others, too
BUDGET = Budget(epochs=1)


def make(scenario: Any, seed: int = 0) -> Stream:
    stream: Stream = scenario.make(Seeds(seed), BUDGET)
    return stream


def registered(name: str, seed: int = 0) -> Stream:
    return make(find("stream", name)(**SETTINGS[name]), seed)


def content(stream: Stream) -> list[list[Any]]:
    """Everything that an experience is trained and tested on, as plain values."""

    def of(source: Any) -> Any:
        if isinstance(source, Environment):
            return [source.seed, source.random_observations(3).tolist()]
        if source is None:
            return None
        x, y = source.read()
        return [x.tolist(), None if y is None else y.tolist()]

    return [[of(e.train), of(e.test), of(e.validation)] for e in stream]


def rows(source: Any) -> list[tuple[float, ...]]:
    return [tuple(row) for row in source.read()[0].flatten(1).tolist()]


@pytest.fixture(autouse=True)
def small_mnist(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data root with a few images in the true format, for the benchmarks of Avalanche."""
    root = tmp_path_factory.getbasetemp() / "small mnist"
    if not root.is_dir():
        images = write_mnist(root)[IDX_FILES[0]]
        write_idx(root / "MNIST" / "raw" / IDX_FILES[2], images + 100)  # no test image is a training image
    monkeypatch.setenv("RLCL_DATA", str(root))


# The contract.

every = pytest.mark.parametrize("name", sorted(entries("stream")))
# Slowly changing bits are so few that training shows every input of the test.
OF_CLASSES = sorted(set(entries("stream")) - {"environments", "slowly_changing_regression"})
every_array = pytest.mark.parametrize("name", OF_CLASSES)


@every
def test_the_same_seed_gives_the_same_stream(name: str) -> None:
    assert content(registered(name)) == content(registered(name))


@pytest.mark.parametrize("name", SEEDED)
def test_another_seed_gives_another_stream(name: str) -> None:
    assert content(registered(name)) != content(registered(name, seed=1))


@every
def test_experiences_are_numbered_from_0(name: str) -> None:
    stream = registered(name)
    assert list(range(len(stream))) == [e.index for e in stream] == [stream[i].index for i in range(len(stream))]
    assert list(range(len(stream.evaluated))) == [e.index for e in stream.evaluated]


@every
def test_experiences_have_names_and_the_budget(name: str) -> None:
    for experience in registered(name):
        assert experience.name
        assert experience.budget == BUDGET


@every
def test_a_slice_is_a_stream_numbered_from_0_again(name: str) -> None:
    stream = registered(name)
    for part in (stream[:2], stream[-1:]):
        assert isinstance(part, Stream)
        assert list(range(len(part))) == [e.index for e in part]
    assert content(stream)[-1:] == content(stream[-1:])
    assert content(stream)[:2] == content(stream[:2])


@every_array
def test_nothing_is_both_trained_and_tested_on(name: str) -> None:
    for experience in registered(name):
        assert set(rows(experience.train)).isdisjoint(rows(experience.test))


@every_array
def test_shapes_and_classes_are_as_the_spec_says(name: str) -> None:
    stream = registered(name)
    classes = {"domain_incremental": 2, "avalanche": 10}.get(name, CLASSES)
    assert ("labelled", classes) == (stream.spec.kind, stream.spec.classes)
    assert stream.spec.observation_shape == tuple(stream[0].train.read()[0].shape[1:])  # type: ignore[union-attr]
    tasks = [e.index if e.task_id is None else e.task_id for e in stream.evaluated]
    assert tasks == ([1] if name == "single_task" else list(range(len(stream.spec.task_classes))))
    for experience, task in zip(stream.evaluated, tasks, strict=True):
        present = stream.spec.task_classes[task]
        assert isinstance(experience.train, LabelledArrays)
        assert isinstance(experience.test, LabelledArrays)
        trained = set(experience.train.targets.tolist())
        assert set(present) == set(experience.test.targets.tolist())
        assert set(present) <= trained if name in MIXED else set(present) == trained


# Class- and task-incremental.


@pytest.mark.parametrize("scenario", [ClassIncremental, TaskIncremental])
@pytest.mark.parametrize("experiences", [1, 3, 4, 6])
def test_divided_classes_are_the_whole_data_set_once(scenario: Callable[..., Any], experiences: int) -> None:
    stream = make(scenario(data=Small(), experiences=experiences, class_order="shuffled"))
    data = Small().load()
    assert sorted(rows(data.train)) == sorted(row for e in stream for row in rows(e.train))
    assert sorted(rows(data.test)) == sorted(row for e in stream for row in rows(e.test))
    assert experiences == len(stream)
    sizes = [len(classes) for classes in stream.spec.task_classes]
    assert max(sizes) - min(sizes) <= 1


def test_ascending_classes_are_divided_in_order() -> None:
    stream = make(ClassIncremental(data=Small(), experiences=3))
    assert ((0, 1), (2, 3), (4, 5)) == stream.spec.task_classes
    assert ["small 0-1", "small 2-3", "small 4-5"] == [e.name for e in stream]


def test_listed_classes_are_divided_as_listed() -> None:
    stream = make(ClassIncremental(data=Small(), experiences=2, class_order=(5, 0, 3, 1, 2, 4)))
    assert ((0, 3, 5), (1, 2, 4)) == stream.spec.task_classes
    assert ["small 5, 0, 3", "small 1, 2, 4"] == [e.name for e in stream]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 1, 2, 3, 4, 4), (1, 2, 3, 4, 5, 6), ()])
def test_an_order_that_is_not_all_classes_once_is_refused(order: tuple[int, ...]) -> None:
    with pytest.raises(Problem, match=r"class_order: expected each class of 0..5 once, got \["):
        make(ClassIncremental(data=Small(), experiences=2, class_order=order))


@pytest.mark.parametrize("scenario", [ClassIncremental, TaskIncremental])
def test_more_experiences_than_classes_are_refused(scenario: Callable[..., Any]) -> None:
    with pytest.raises(Problem, match="experiences: expected at most 6, the classes of small, got 7"):
        make(scenario(data=Small(), experiences=7))


def test_classes_cannot_be_divided_without_labels() -> None:
    with pytest.raises(DataError, match="data 'small' has no classes"):
        make(ClassIncremental(data=Small(labelled=False), experiences=2))


def test_task_ids_are_shown_in_task_incremental_and_hidden_in_class_incremental() -> None:
    assert "visible" == registered("task_incremental").visibility.task_ids
    assert "hidden" == registered("class_incremental").visibility.task_ids


# Permuted.


def test_a_permutation_moves_every_feature_and_keeps_labels() -> None:
    data = Small().load()
    for experience in registered("permuted"):
        x, y = experience.train.read()
        assert torch.equal(data.train_inputs.flatten(1), x.flatten(1).sort(1).values)  # the small data is ascending
        assert y is not None
        assert torch.equal(data.train_labels, y)


def test_train_and_test_share_their_permutation_and_experiences_do_not() -> None:
    orders = []
    for experience in make(Permuted(data=Small(), experiences=4)):
        of_train, of_test = (s.read()[0].flatten(1).argsort(1) for s in (experience.train, experience.test))
        assert torch.equal(of_train[0].expand_as(of_train), of_train)
        assert torch.equal(of_train[0].expand_as(of_test), of_test)
        orders.append(tuple(of_train[0].tolist()))
    assert len(set(orders)) > 1


def test_the_first_permutation_may_be_none() -> None:
    stream = make(Permuted(data=Small(), experiences=2, first_as_is=True))
    assert torch.equal(Small().load().train_inputs, stream[0].train.read()[0])
    assert np.array_equal(rows(make(Permuted(data=Small(), experiences=2))[1].train), rows(stream[1].train))


def test_data_without_labels_may_be_permuted() -> None:
    stream = make(Permuted(data=Small(labelled=False), experiences=2))
    assert ("unlabelled", 0) == (stream.spec.kind, stream.spec.classes)
    assert isinstance(stream[0].train, UnlabelledArrays)


# Single and joint.


def test_a_single_stream_is_the_data_set() -> None:
    (experience,) = registered("single")
    data = Small().load()
    assert rows(data.train) == rows(experience.train)
    assert rows(data.test) == rows(experience.test)


def test_joint_trains_on_everything_once_and_is_evaluated_on_each_experience() -> None:
    of = make(ClassIncremental(data=Small(), experiences=3))
    stream = registered("joint")
    assert (1, 3) == (len(stream), len(stream.evaluated))
    assert sorted(row for e in of for row in rows(e.train)) == sorted(rows(stream[0].train))
    assert content(of) == [[*c] for c in content(attrs.evolve(stream, experiences=stream.columns))]


def test_joint_rows_keep_their_tasks() -> None:
    stream = make(Joint(of=ClassIncremental(data=Small(), experiences=3)))
    source = stream[0].train
    assert isinstance(source, LabelledArrays)
    assert source.task_ids is not None
    assert (source.targets // 2).tolist() == source.task_ids.tolist()


@pytest.mark.parametrize("scenario", [Joint, Cumulative])
def test_rows_of_experiences_that_come_back_keep_their_tasks(scenario: Any) -> None:
    stream = make(scenario(of=Cyclic(of=ClassIncremental(data=Small(), experiences=3))))
    source = stream[len(stream) - 1].train
    assert isinstance(source, LabelledArrays)
    assert source.task_ids is not None
    assert (source.targets // 2).tolist() == source.task_ids.tolist()
    assert {0, 1, 2} == set(source.task_ids.tolist())


def test_joint_hides_task_ids_as_the_stream_that_it_joins() -> None:
    (hidden,) = learner_view(make(Joint(of=ClassIncremental(data=Small(), experiences=3))))
    (shown,) = learner_view(make(Joint(of=TaskIncremental(data=Small(), experiences=3))))
    assert isinstance(hidden.train, LabelledArrays)
    assert isinstance(shown.train, LabelledArrays)
    assert hidden.train.task_ids is None
    assert shown.train.task_ids is not None


def test_environments_cannot_be_joined() -> None:
    with pytest.raises(Problem, match="of: environments cannot be joined"):
        make(Joint(of=Environments(env="CartPole-v1")))


# Environments.


def test_environments_differ_in_what_the_task_says() -> None:
    stream = make(
        Environments(
            env="CartPole-v1",
            attributes={"length": 2.0, "gravity": 5.0},
            kwargs={"sutton_barto_reward": True},
            tasks=(
                EnvironmentTask(attributes={"gravity": 40.0}),
                EnvironmentTask(env="rlcl_envs/CartPole-v1", name="own"),
            ),
            num_envs=3,
        )
    )
    first, second = (e.train for e in stream)
    assert isinstance(first, Environment)
    assert isinstance(second, Environment)
    assert ({"length": 2.0, "gravity": 40.0}, {"sutton_barto_reward": True}) == (first.attributes, first.kwargs)
    assert ("CartPole-v1", "rlcl_envs/CartPole-v1", 3) == (first.env, second.env, first.num_envs)
    assert ["CartPole-v1 gravity 40.0", "own"] == [e.name for e in stream]


def test_training_testing_and_validating_have_seeds_of_their_own() -> None:
    sources: list[Any] = [s for e in registered("environments") for s in (e.train, e.test, e.validation)]
    assert len(sources) == len({s.seed for s in sources})


def test_environments_share_their_spaces() -> None:
    tasks = (EnvironmentTask(), EnvironmentTask(env="Acrobot-v1"))
    with pytest.raises(DataError, match=r"stream.tasks\[1\] \(Acrobot-v1\): its observation space .* differs"):
        make(Environments(env="CartPole-v1", tasks=tasks))


def test_environments_need_a_task() -> None:
    with pytest.raises(Problem, match="tasks: expected at least one task"):
        make(Environments(env="CartPole-v1", tasks=()))


# Validation.


@every_array
def test_validation_is_held_out_of_the_training_data(name: str) -> None:
    stream = registered(name)
    split = stream.with_validation(0.25, Seeds(0))
    for whole, part in zip(stream.evaluated, split.evaluated, strict=True):
        assert part.validation is not None
        assert round(0.25 * len(rows(whole.train))) == len(rows(part.validation))
        assert sorted(rows(whole.train)) == sorted(rows(part.train) + rows(part.validation))
        assert rows(whole.test) == rows(part.test)
    trained = {row for e in split for row in rows(e.train)}
    if name != "permuted":  # one permutation's input can be another's
        assert trained.isdisjoint(row for e in split.evaluated for row in rows(e.validation))


def test_what_joint_validates_on_it_does_not_train_on() -> None:
    stream = registered("joint").with_validation(0.25, Seeds(0))
    held_out = [row for e in stream.evaluated for row in rows(e.validation)]
    assert TRAIN == len(set(held_out)) + len(rows(stream[0].train))
    assert set(held_out).isdisjoint(rows(stream[0].train))


@every_array
def test_validation_is_seeded(name: str) -> None:
    def validation(seed: int) -> list[Any]:
        return [rows(e.validation) for e in registered(name).with_validation(0.3, Seeds(seed)).evaluated]

    assert validation(0) == validation(0)
    assert validation(0) != validation(1)


@every
def test_no_validation_changes_nothing(name: str) -> None:
    stream = registered(name)
    assert stream.with_validation(0, Seeds(0)) is stream


def test_environments_need_no_split() -> None:
    stream = registered("environments")
    assert stream.with_validation(0.5, Seeds(0)) is stream


# What the trainer shows.


def shown(task_ids: Any, boundaries: Any = "announced") -> tuple[Experience, ...]:
    visibility = Visibility(task_ids=task_ids, boundaries=boundaries)
    return learner_view(make(ClassIncremental(data=Small(), experiences=3, visibility=visibility)))


@pytest.mark.parametrize(
    ("task_ids", "expected"),
    [
        ("hidden", [None, None, None]),
        ("evaluation", [None, None, None]),
        ("training", [0, 1, 2]),
        ("visible", [0, 1, 2]),
    ],
)
def test_task_ids_are_shown_in_training_as_the_protocol_says(task_ids: str, expected: list[int | None]) -> None:
    assert expected == [e.task_id for e in shown(task_ids)]


def test_hidden_boundaries_make_one_experience_of_the_stream() -> None:
    (whole,) = shown("hidden", "hidden")
    assert (0, "stream", None) == (whole.index, whole.name, whole.task_id)
    assert [0, 1, 2] == [part.index for part in whole.parts]
    assert [None] * 3 == [part.task_id for part in whole.parts]


def test_the_segments_of_a_hidden_stream_are_its_experiences_in_order() -> None:
    stream = make(ClassIncremental(data=Small(), experiences=3))
    (whole,) = shown("hidden", "hidden")
    assert [rows(e.train) for e in stream] == [rows(part.train) for part in whole.parts]


def test_announced_boundaries_leave_the_experiences() -> None:
    experiences = shown("hidden")
    assert 3 == len(experiences)
    assert [(e,) for e in experiences] == [e.parts for e in experiences]


# More of them.


def test_domain_incremental_numbers_the_classes_of_each_group() -> None:
    groups = make(ClassIncremental(data=Small(), experiences=3, class_order=(5, 0, 3, 1, 2, 4)))
    stream = make(DomainIncremental(data=Small(), experiences=3, class_order=(5, 0, 3, 1, 2, 4)))
    for experience, divided, (first, second) in zip(stream, groups, ((5, 0), (3, 1), (2, 4)), strict=True):
        assert rows(divided.train) == rows(experience.train)
        place = {first: 0, second: 1}
        assert [place[y] for y in divided.train.targets.tolist()] == experience.train.targets.tolist()  # type: ignore[union-attr]


def test_domain_incremental_needs_groups_of_one_size() -> None:
    with pytest.raises(Problem, match="experiences: expected a divisor of 6 classes, got 4"):
        make(DomainIncremental(data=Small(), experiences=4))


def test_shares_are_the_whole_data_set_once() -> None:
    stream = make(DataIncremental(data=Small(), experiences=4))
    assert sorted(rows(Small().load().train)) == sorted(row for e in stream for row in rows(e.train))
    assert [15, 15, 15, 15] == [len(e.train) for e in stream]  # type: ignore[arg-type]


def test_a_quarter_turn_moves_every_pixel_to_its_place() -> None:
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    # Counter-clockwise: the right column becomes the top row.
    expected = torch.tensor([[2.0, 5.0, 8.0], [1.0, 4.0, 7.0], [0.0, 3.0, 6.0]])
    torch.testing.assert_close(Rotation(90.0)(x)[0, 0], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(Rotation(180.0)(x)[0, 0], x[0, 0].flip(0, 1), rtol=0, atol=1e-5)


def test_a_turned_picture_keeps_its_type() -> None:
    x = torch.full((2, 1, 4, 4), 200, dtype=torch.uint8)
    assert torch.uint8 == Rotation(30.0)(x).dtype
    assert 200 == int(Rotation(90.0)(x).max())


def test_angles_are_drawn_between_the_ends() -> None:
    stream = make(Rotated(data=Pictures(), experiences=50, degrees=(10, 20), first_as_is=True))
    angles = [e.train.transform.degrees for e in stream]  # type: ignore[union-attr]
    assert angles[0] == 0
    assert all(10 <= angle <= 20 for angle in angles[1:])


def test_only_pictures_can_be_turned() -> None:
    with pytest.raises(Problem, match=r"data: expected images .*, but small has inputs of shape \(2, 2\)"):
        make(Rotated(data=Small()))


def test_cumulative_experiences_hold_all_before_them() -> None:
    stream = make(Cumulative(of=ClassIncremental(data=Small(), experiences=3)))
    assert [20, 40, 60] == [len(e.train) for e in stream]  # type: ignore[arg-type]
    assert [{0, 1}, {0, 1, 2, 3}, {0, 1, 2, 3, 4, 5}] == [set(e.train.targets.tolist()) for e in stream]  # type: ignore[union-attr]
    assert [{0, 1}, {2, 3}, {4, 5}] == [set(e.test.targets.tolist()) for e in stream]  # type: ignore[union-attr]


def test_an_online_stream_hides_its_boundaries_and_passes_once() -> None:
    stream = make(Online(of=ClassIncremental(data=Small(), experiences=3)))
    assert "hidden" == stream.visibility.boundaries
    with pytest.raises(Problem, match=r"expected a budget of one epoch.*, got 2 epochs; set budget: \{epochs: 1\}"):
        Online(of=ClassIncremental(data=Small())).make(Seeds(0), Budget(epochs=2))


def test_blurred_experiences_exchange_their_share_evenly() -> None:
    sharp = make(ClassIncremental(data=Small(), experiences=3))
    stream = make(Blurry(of=ClassIncremental(data=Small(), experiences=3), share=0.3))
    assert sorted(row for e in sharp for row in rows(e.train)) == sorted(row for e in stream for row in rows(e.train))
    for index, (before, after) in enumerate(zip(sharp, stream, strict=True)):
        own = set(rows(before.train)) & set(rows(after.train))
        assert 14 == len(own)  # of 20, 6 have moved
        for other in sharp[:index].experiences + sharp[index + 1 :].experiences:
            assert 3 == len(set(rows(other.train)) & set(rows(after.train)))


def test_only_subsets_of_one_data_set_can_be_blurred() -> None:
    with pytest.raises(Problem, match="of: expected a stream whose experiences are subsets of one data set"):
        make(Blurry(of=Permuted(data=Small(), experiences=2)))


def test_cycles_come_back_with_rows_of_their_own() -> None:
    stream = make(Cyclic(of=ClassIncremental(data=Small(), experiences=3), cycles=2))
    assert 6 == len(stream)
    assert 3 == len(stream.evaluated)
    assert rows(stream[1].train) == rows(stream[4].train)
    assert ["small 0-1, visit 1", "small 0-1, visit 2"] == [stream[0].name, stream[3].name]


def of_ones_own(x: torch.Tensor, y: torch.Tensor) -> Stream:
    source = LabelledArrays(x, y)
    spec = StreamSpec("labelled", (2,), classes=2)
    return Stream((Experience(0, "own", source, source, Budget(epochs=1)),), spec)


def test_a_stream_of_ones_own_may_not_hold_labels_that_are_no_class_of_it() -> None:
    check_sources(of_ones_own(torch.zeros(3, 2), torch.tensor([0, 1, 1])))
    with pytest.raises(DataError, match=r"the train set of experience 0 \(own\): row 2 has the label 2, .* are 0\.\.1"):
        check_sources(of_ones_own(torch.zeros(3, 2), torch.tensor([0, 1, 2])))


def test_a_stream_of_ones_own_may_not_hold_values_that_are_not_finite() -> None:
    x = torch.zeros(3, 2)
    x[1, 1] = torch.nan
    with pytest.raises(DataError, match=r"the train set of experience 0 \(own\) holds NaN .* in row 1"):
        check_sources(of_ones_own(x, torch.tensor([0, 1, 1])))


AB = (EnvironmentTask(name="a"), EnvironmentTask(name="b", attributes={"gravity": 40.0}, budget=Budget(env_steps=7)))


def environments(**settings: Any) -> Stream:
    return make(Environments(env="CartPole-v1", tasks=AB, **settings))


def test_tasks_are_visited_in_a_sequence_that_is_repeated() -> None:
    stream = environments(sequence=("a", 1, "a"), repeat=2)
    names = ["a", "b", "a, visit 2", "a, visit 3", "b, visit 2", "a, visit 4"]
    assert names == [e.name for e in stream]
    assert ["a", "b"] == [e.name for e in stream.evaluated]
    assert (0, 1, 0, 0, 1, 0) == stream.visited
    assert [0, 1, 0, 0, 1, 0] == [e.task_id for e in stream]
    assert [7 if "b" in e.name else stream[0].budget.env_steps for e in stream] == [e.budget.env_steps for e in stream]
    assert len({e.environment.seed for e in stream}) == 6  # each visit has environments of its own
    assert [e.test for e in stream] != [None] * 6


def test_one_visit_of_each_task_in_order_is_the_plain_stream() -> None:
    plain, listed = environments(), environments(sequence=("a", "b"))
    assert [e.environment.recipe for e in plain] == [e.environment.recipe for e in listed]
    assert [e.environment.seed for e in plain] == [e.environment.seed for e in listed]
    assert () == listed.columns
    assert ["a", "b"] == [e.name for e in listed]


def test_a_column_for_each_visit() -> None:
    stream = environments(repeat=2, matrix_columns="visits")
    assert ["a", "b", "a, visit 2", "b, visit 2"] == [e.name for e in stream.evaluated]
    assert [0, 1, 2, 3] == [e.task_id for e in stream]
    assert (0, 1, 2, 3) == stream.visited


def test_a_task_may_be_evaluated_without_training() -> None:
    stream = environments(sequence=("a", "a"))
    assert ["a", "b"] == [e.name for e in stream.evaluated]
    assert (0, 0) == stream.visited


@pytest.mark.parametrize(("sequence", "message"), [
    (("a", "c"), r"sequence\[1\]: expected an index from 0 to 1 or the name of a task, got 'c'"),
    ((2,), r"sequence\[0\]: expected an index from 0 to 1 or the name of a task, got 2"),
    ((True,), r"sequence\[0\]"),
])  # fmt: skip
def test_a_sequence_names_tasks_that_there_are(sequence: Any, message: str) -> None:
    with pytest.raises(Problem, match=message):
        environments(sequence=sequence)


def test_a_name_of_several_tasks_is_refused_in_a_sequence() -> None:
    scenario = Environments(env="CartPole-v1", tasks=(EnvironmentTask(), EnvironmentTask()), sequence=("CartPole-v1",))
    with pytest.raises(Problem, match=r"sequence\[0\]: expected the name of one task; several are called"):
        make(scenario)


def test_cycles_over_arrays_have_visits_too() -> None:
    stream = make(Cyclic(of=ClassIncremental(data=Small(), experiences=3), cycles=2))
    assert (0, 1, 2, 0, 1, 2) == stream.visited
    assert () == make(Joint(of=ClassIncremental(data=Small(), experiences=3))).visited


def test_cycles_over_visits_repeat_the_visits() -> None:
    stream = make(Cyclic(of=Environments(env="CartPole-v1", tasks=AB, sequence=("b", "b", "a")), cycles=2))
    assert (1, 1, 0, 1, 1, 0) == stream.visited
    assert ["a", "b"] == [e.name for e in stream.evaluated]


def test_a_part_of_the_visits_keeps_the_tasks() -> None:
    stream = environments(sequence=("a", "b", "a"))[:2]
    assert (0, 1) == stream.visited
    assert 2 == len(stream) == len(stream.evaluated)


def test_thousands_of_visits_are_made_quickly() -> None:
    assert 4000 == len(environments(repeat=2000))


# Offsets of observations.


def offsets_of(stream: Stream) -> list[Any]:
    """The distance of each task's first observation from that of the environment without an offset."""
    plain = Environments(env="CartPole-v1").make(Seeds(0), Budget(env_steps=10))[0].environment.make()
    return [e.environment.make().reset(seed=3)[0] - plain.reset(seed=3)[0] for e in stream]


def with_offsets(seed: int = 0, tasks: int = 3, **settings: Any) -> Stream:
    named = tuple(EnvironmentTask(name=f"task {index}") for index in range(tasks))
    scenario = Environments(env="CartPole-v1", tasks=named, observation_offsets=2.0, **settings)
    return scenario.make(Seeds(seed), Budget(env_steps=10))


def test_each_task_but_the_first_has_an_offset_that_differs_by_seed() -> None:
    first, second, third = offsets_of(with_offsets())
    np.testing.assert_array_equal(first, 0)
    assert all(np.abs(offset).min() > 0 for offset in (second, third, second - third))
    np.testing.assert_array_equal(offsets_of(with_offsets())[1], second)
    assert np.abs(offsets_of(with_offsets(seed=1))[1] - second).min() > 0


def test_offsets_have_the_given_deviation() -> None:
    found = np.concatenate(offsets_of(with_offsets(tasks=200))[1:])
    assert 1.8 < found.std() < 2.2
    assert abs(found.mean()) < 0.25


def test_a_visit_and_a_single_task_have_the_offset_of_the_task() -> None:
    second = offsets_of(with_offsets())[1]
    visits = offsets_of(with_offsets(sequence=("task 1", "task 0", "task 1")))
    np.testing.assert_array_equal(visits[0], second)
    np.testing.assert_array_equal(visits[2], second)
    named = tuple(EnvironmentTask(name=f"task {index}") for index in range(3))
    alone = Environments(env="CartPole-v1", tasks=named, observation_offsets=2.0).single_task(1)
    np.testing.assert_array_equal(offsets_of(alone.make(Seeds(0), Budget(env_steps=10)))[0], second)


def test_test_environments_have_the_offset_of_training() -> None:
    experience = with_offsets()[1]
    train, test = (source.make().reset(seed=3)[0] for source in (experience.environment, experience.test))  # type: ignore[union-attr]
    np.testing.assert_array_equal(train, test)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": (EnvironmentTask(),)}, "the first task has no offset, and there is no other"),
        ({"env": "FrozenLake-v1"}, "observation_offsets needs observations of floats"),
    ],
)
def test_offsets_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    two = (EnvironmentTask(name="one"), EnvironmentTask(name="two"))
    scenario = Environments(**{"env": "CartPole-v1", "tasks": two, "observation_offsets": 1.0, **settings})
    with pytest.raises((Problem, SettingError), match=message):
        scenario.make(Seeds(0), Budget(env_steps=10))


@pytest.mark.parametrize("wrapper", ["joint", "cumulative", "online", "cyclic", "blurry"])
def test_a_run_that_is_evaluated_on_validation_data_has_no_test_data(wrapper: str) -> None:
    inner = {"type": "class_incremental", "data": {"type": "digits"}, "experiences": 3}
    config = {
        "name": "x",
        "stream": {"type": wrapper, "of": inner},
        "learner": {"type": "classifier"},
        "budget": {"epochs": 1},
        "validation": 0.2,
    }
    split = {"evaluation": {"split": "validation"}}
    tested, held_out = make_stream(experiment_from(config), 0), make_stream(experiment_from({**config, **split}), 0)
    tests = {tuple(row.flatten().tolist()) for e in tested.evaluated for row in e.test.read()[0]}  # type: ignore[union-attr]
    for experience, other in zip(held_out, tested, strict=True):
        assert torch.equal(experience.arrays.read()[0], other.arrays.read()[0])  # trained on the same
    for experience in (*held_out, *held_out.evaluated):
        rows = {tuple(row.flatten().tolist()) for row in experience.test.read()[0]}  # type: ignore[union-attr]
        assert rows
        assert not rows & tests
