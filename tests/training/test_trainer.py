"""The one loop: its order on one tape, its evaluations, and that a run goes on from wherever it stopped."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from attrs import frozen

from rlcl.data.sources import Data, LabelledArrays
from rlcl.encoders.standardize import Standardize
from rlcl.errors import UnsupportedError
from rlcl.evaluation.plan import EvaluationInterval, Plan
from rlcl.learners.optimizers import Adam, Sgd
from rlcl.learners.supervised.classifier import Classifier
from rlcl.methods.rehearsal import Rehearsal
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds, global_state
from rlcl.state import flatten, unflatten
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.environments import Environments
from rlcl.streams.joint import Joint
from rlcl.streams.stream import Stream
from rlcl.streams.task_incremental import TaskIncremental
from rlcl.training.trainer import Trainer
from rlcl.types import Boundary, Budget, DataSet, Event, Experience, Position, Record, Setup, Visibility

WALL_CLOCK = ("samples_per_second",)


@frozen
class Blobs(DataSet):
    """Six classes about six corners; 10 training and 4 test inputs a class."""

    def load(self) -> Data:
        rng = np.random.default_rng(0)
        labels = np.arange(84) % 6
        x = rng.normal(size=(84, 5)) + 2 * np.eye(6, 5)[labels]
        return Data(x[:60], labels[:60], x[60:], labels[60:], name="blobs")


def blobs(experiences: int = 3, updates: int = 3, **visibility: Any) -> Stream:
    scenario = ClassIncremental(data=Blobs(), experiences=experiences, visibility=Visibility(**visibility))
    return scenario.make(Seeds(0), Budget(updates=updates))


class Dummy:
    """Writes down what is asked of it; learns nothing; draws from every global generator."""

    measures = ("accuracy",)
    resumable_within = True

    def __init__(self, tape: list[str]) -> None:
        self.tape = tape
        self.position = Position()
        self.drawn: list[tuple[float, float, float]] = []

    def prepare(self, setup: Setup) -> None:
        self.tape.append("prepare")

    def learn(self, experience: Experience) -> Iterator[Event | None]:
        position = self.position
        position.begin(experience)
        for part in experience.parts[position.segment :]:
            for update in range(part.budget.amount):
                self.tape.append(f"learn {part.index}")
                self.drawn.append(self._draw())
                position.advance()
                if update == part.budget.amount - 1 and part is not experience.parts[-1]:
                    position.end(experience)
                yield Event(position.step, {}) if position.step % 2 == 0 else None
        position.end(experience)
        self.tape.append("end")
        yield None

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
        self._draw()
        self.tape.append(f"predict for task {task_id}")
        return np.zeros(len(x)), None

    def _draw(self) -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    def state_dict(self) -> dict[str, Any]:
        return {"position": attrs.asdict(self.position)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.position = Position(**state["position"])


def told(item: Any) -> str:
    if isinstance(item, Record):
        return f"record {item.trained_on} {item.evaluated_on} at {item.step}"
    return f"boundary {item.trained_on} at {item.step}" if isinstance(item, Boundary) else f"event at {item.step}"


def tape_of(stream: Stream, plan: Plan) -> list[str]:
    tape: list[str] = []
    for item in Trainer(Dummy(tape), stream, plan).events():
        if item is not None:
            tape.append(told(item))
    return tape


def evaluations(stream: Stream, plan: Plan) -> list[tuple[int, int, int]]:
    """(step, trained on, evaluated on) of each record."""
    items = Trainer(Dummy([]), stream, plan).events()
    return [(r.step, r.trained_on, r.evaluated_on) for r in items if isinstance(r, Record)]


# The order.


def test_the_order_of_everything() -> None:
    expected = [
        "prepare",
        "boundary -1 at 0",
        "predict for task None",
        "predict for task None",
        "record -1 0 at 0",
        "record -1 1 at 0",
        "learn 0",
        "learn 0",
        "event at 2",
        "end",
        "predict for task None",
        "predict for task None",
        "record 0 0 at 2",
        "record 0 1 at 2",
        "boundary 0 at 2",
        "learn 1",
        "learn 1",
        "event at 4",
        "end",
        "predict for task None",
        "predict for task None",
        "record 1 0 at 4",
        "record 1 1 at 4",
        "boundary 1 at 4",
    ]
    assert expected == tape_of(blobs(2, 2), Plan())


def test_the_order_within_a_stream_whose_boundaries_are_hidden() -> None:
    expected = [
        "prepare",
        "boundary -1 at 0",
        "learn 0",
        "learn 0",
        "event at 2",
        "predict for task None",
        "record 0 0 at 2",
        "boundary 0 at 2",
        "learn 1",
        "learn 1",
        "event at 4",
        "end",
        "predict for task None",
        "record 1 1 at 4",
        "boundary 1 at 4",
    ]
    assert expected == tape_of(blobs(2, 2, boundaries="hidden"), Plan(before=False, on="current"))


def test_a_caller_stops_the_run_with_break() -> None:
    tape: list[str] = []
    for item in Trainer(Dummy(tape), blobs(), Plan(before=False)).events():
        if isinstance(item, Event):
            break
    assert ["prepare", "learn 0", "learn 0"] == tape


def test_a_run_is_finished_after_its_last_boundary() -> None:
    trainer = Trainer(Dummy([]), blobs(2, 2), Plan())
    finished = [trainer.finished for _ in trainer.events()]
    assert [False] * (len(finished) - 1) + [True] == finished


def test_fitting_writes_all_but_silence_to_every_sink_in_order() -> None:
    class Tape(list[str]):
        def write(self, item: Any) -> None:
            self.append(told(item))

        def close(self) -> None:
            pass

    sinks = Tape(), Tape()
    outcome = Trainer(Dummy([]), blobs(2, 2), Plan()).fit(sinks)
    made = tape_of(blobs(2, 2), Plan())
    assert [entry for entry in made if entry.split()[0] in ("boundary", "record", "event")] == sinks[0] == sinks[1]
    assert 6 == len(outcome.records)
    assert (2, 2) == outcome.R.shape


# What is evaluated when.

ALL = range(3)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (Plan(), [(3 * t + 3, t, j) for t in range(-1, 3) for j in ALL]),
        (Plan(before=False), [(3 * t + 3, t, j) for t in range(3) for j in ALL]),
        (Plan(every="end"), [(0, -1, j) for j in ALL] + [(9, 2, j) for j in ALL]),
        (Plan(every="end", before=False), [(9, 2, j) for j in ALL]),
        (Plan(on="seen", before=False), [(3, 0, 0), (6, 1, 0), (6, 1, 1), (9, 2, 0), (9, 2, 1), (9, 2, 2)]),
        (Plan(on="current", before=False), [(3, 0, 0), (6, 1, 1), (9, 2, 2)]),
        (Plan(on="current"), [(0, -1, 0), (3, 0, 0), (6, 1, 1), (9, 2, 2)]),
        (
            Plan(every=EvaluationInterval(updates=2), on="current", before=False),
            [(2, 0, 0), (3, 0, 0), (4, 1, 1), (6, 1, 1), (8, 2, 2), (9, 2, 2)],
        ),
        (Plan(every=EvaluationInterval(updates=100), on="current", before=False), [(3, 0, 0), (6, 1, 1), (9, 2, 2)]),
    ],
    ids=lambda value: str(value) if isinstance(value, Plan) else "",
)
@pytest.mark.parametrize("boundaries", ["announced", "hidden"])
def test_records_are_made_as_planned(plan: Plan, expected: list[tuple[int, int, int]], boundaries: str) -> None:
    # An interval that ends with an experience is evaluated before the learner is told of the end and after it.
    assert expected == list(dict.fromkeys(evaluations(blobs(boundaries=boundaries), plan)))


@pytest.mark.parametrize("task_ids", ["hidden", "training"])
def test_task_ids_are_hidden_at_evaluation(task_ids: str) -> None:
    tape = tape_of(blobs(2, 2, task_ids=task_ids), Plan())
    assert {"predict for task None"} == {entry for entry in tape if entry.startswith("predict")}


@pytest.mark.parametrize("task_ids", ["evaluation", "visible"])
def test_task_ids_are_shown_at_evaluation(task_ids: str) -> None:
    tape = tape_of(blobs(2, 2, task_ids=task_ids), Plan(before=False, every="end"))
    assert ["predict for task 0", "predict for task 1"] == [entry for entry in tape if entry.startswith("predict")]


def test_joint_training_has_one_row_and_a_column_an_experience() -> None:
    stream = Joint(of=ClassIncremental(data=Blobs(), experiences=3)).make(Seeds(0), Budget(updates=2))
    assert [(2, 0, j) for j in ALL] == evaluations(stream, Plan(before=False, on="current"))


def test_evaluating_leaves_every_global_generator_as_it_was() -> None:
    def drawn(plan: Plan) -> list[tuple[float, float, float]]:
        learner = Dummy([])
        Trainer(learner, blobs(), plan, seed=3).fit()
        return learner.drawn

    assert drawn(Plan(before=False, every="end")) == drawn(Plan(every=EvaluationInterval(updates=1)))


def test_the_seed_decides_the_global_generators() -> None:
    def drawn(seed: int) -> list[tuple[float, float, float]]:
        learner = Dummy([])
        Trainer(learner, blobs(), Plan(), seed=seed).fit()
        return learner.drawn

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_an_interval_is_in_the_streams_own_unit() -> None:
    poles = Environments(env="CartPole-v1").make(Seeds(0), Budget(env_steps=10))
    with pytest.raises(
        UnsupportedError, match=r"evaluation.every: got updates, but this stream is counted in env_steps"
    ):
        Trainer(Dummy([]), poles, Plan(every=EvaluationInterval(updates=2)))
    with pytest.raises(
        UnsupportedError, match=r"evaluation.every: got env_steps, but this stream is counted in updates"
    ):
        Trainer(Dummy([]), blobs(), Plan(every=EvaluationInterval(env_steps=2)))


# Runs that go on from where they stopped.


@frozen
class Case:
    """One way to run a real classifier."""

    learner: Mapping[str, Any] = attrs.field(factory=dict)
    fit_on: Any = "running"
    plan: Plan = attrs.field(factory=lambda: Plan(every=EvaluationInterval(updates=2)))
    visibility: Mapping[str, Any] = attrs.field(factory=dict)

    def trainer(self) -> Trainer:
        settings = {"network": Mlp(hidden=(6,), dropout=0.3), "batch_size": 8, **self.learner}
        settings["methods"] = copy.deepcopy(settings.get("methods", ()))
        stream = ClassIncremental(
            data=Blobs(), experiences=3, class_order="shuffled", visibility=Visibility(**self.visibility)
        ).make(Seeds(1), Budget(updates=4))  # 20 rows in batches of 8: it stops within the second epoch
        encoder = Standardize(fit_on=self.fit_on)
        return Trainer(Classifier(**settings), stream, self.plan, encoder=encoder, seed=5, event_interval=3)


REHEARSAL = {"methods": (Rehearsal(capacity=12, batch_size=5),)}
CASES = {
    "dropout, adam, rehearsal": Case({"optimizer": Adam(lr=0.01), **REHEARSAL}),
    "momentum, first data alone": Case({"optimizer": Sgd(lr=0.1, momentum=0.9)}, fit_on="first"),
    "hidden boundaries": Case({"optimizer": Adam(), **REHEARSAL}, visibility={"boundaries": "hidden"}),
    "task ids": Case(REHEARSAL, plan=Plan(on="seen"), visibility={"task_ids": "visible"}),
    "evaluated at the end": Case({"drop_last": True}, plan=Plan(every="end", before=False)),
}
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def comparable(item: Any) -> Any:
    """An item without what a clock decides."""
    if isinstance(item, Event):
        return item.step, {k: v for k, v in item.values.items() if k not in WALL_CLOCK}
    return item


def plain(tree: Any) -> Any:
    """A state as JSON text and nested lists, for comparing bit for bit."""
    structure, tensors = flatten(tree)
    return structure, {name: (str(t.dtype), t.tolist()) for name, t in tensors.items()}


def through_json(state: Any) -> Any:
    structure, tensors = flatten(state)
    text = json.dumps(structure)
    stored = {name: tensor.clone() for name, tensor in tensors.items()}
    return lambda: unflatten(json.loads(text), stored)


@every
def test_a_run_goes_on_from_every_yield_as_if_it_had_not_stopped(case: Case) -> None:
    whole, items, states = case.trainer(), [], []
    for item in whole.events():
        items.append(comparable(item))
        # The boundary before the first experience is said again by a run that begins there.
        done = len(items) - 1 if item == Boundary(0, -1) else len(items)
        if not isinstance(item, Record):
            states.append((done, through_json(whole.state_dict())))
    final = plain(whole.state_dict())
    records = sum(isinstance(item, Record) for item in items)
    assert len(states) == len(items) - records > 12
    for done, state in states:
        torch.manual_seed(0)
        trainer = case.trainer()
        trainer.load_state_dict(state())
        torch.rand(3)
        assert items[done:] == [comparable(item) for item in trainer.events()]
        assert final == plain(trainer.state_dict())
        assert trainer.finished


@every
def test_looking_at_the_state_changes_nothing(case: Case) -> None:
    plain_run = [comparable(item) for item in case.trainer().events()]
    watched = case.trainer()
    seen = []
    for item in watched.events():
        seen.append(comparable(item))
        if not isinstance(item, Record):
            watched.state_dict()
    assert plain_run == seen


def test_a_state_stays_what_it_was_while_the_run_goes_on() -> None:
    trainer = CASES["dropout, adam, rehearsal"].trainer()
    items = trainer.events()
    for _ in range(20):
        next(items)
    state = trainer.state_dict()
    before = plain(state)
    list(items)
    assert before == plain(state)


def test_a_finished_run_has_nothing_left_to_say() -> None:
    case = CASES["momentum, first data alone"]
    first = case.trainer()
    list(first.events())
    second = case.trainer()
    second.load_state_dict(first.state_dict())
    assert second.finished
    assert [] == list(second.events())


@every
def test_how_often_a_run_is_evaluated_does_not_change_what_it_learns(case: Case) -> None:
    states = []
    for plan in (Plan(every=EvaluationInterval(updates=1)), Plan(every="end", before=False)):
        trainer = attrs.evolve(case, plan=plan).trainer()
        trainer.fit()
        states.append((plain(trainer.learner.state_dict()), plain(global_state())))
    assert states[0] == states[1]


@every
def test_what_is_drawn_between_making_a_trainer_and_running_it_changes_nothing(case: Case) -> None:
    expected = [comparable(item) for item in case.trainer().events()]
    early, other = case.trainer(), case.trainer()
    other.fit()
    assert expected == [comparable(item) for item in early.events()]


def test_two_seeds_are_two_runs() -> None:
    def final(seed: int) -> Any:
        trainer = Trainer(Classifier(), blobs(), Plan(), seed=seed)
        trainer.fit()
        return plain(trainer.learner.state_dict()["module"])

    assert final(0) == final(0)
    assert final(0) != final(1)


def test_records_know_what_was_trained_on_where_boundaries_are_hidden() -> None:
    outcome = CASES["hidden boundaries"].trainer().fit()
    assert [(2, 0), (4, 0), (6, 1), (8, 1), (10, 2), (12, 2)] == sorted(
        {(r.step, r.trained_on) for r in outcome.records if r.step}
    )
    assert (3, 3) == outcome.R.shape
    assert not np.isnan(outcome.R).any()


@pytest.mark.parametrize("boundaries", ["announced", "hidden"])
def test_each_batch_carries_its_own_task(boundaries: Any) -> None:
    visibility = Visibility(task_ids="visible", boundaries=boundaries)
    stream = TaskIncremental(data=Blobs(), experiences=3, visibility=visibility).make(Seeds(0), Budget(updates=2))
    trainer = Trainer(Classifier(), stream, Plan(every="end", before=False))
    seen = []
    for item in trainer.events():
        batch = trainer.learner.batch  # type: ignore[attr-defined]
        if not isinstance(item, Boundary | Record):
            assert batch.task_ids.tolist() == (batch.targets // 2).tolist()
            seen.append(int(batch.task_ids[0]))
    assert [0, 1, 2] == list(dict.fromkeys(seen))


def test_joint_rows_carry_their_own_tasks() -> None:
    stream = Joint(of=TaskIncremental(data=Blobs(), experiences=3)).make(Seeds(0), Budget(updates=2))
    trainer = Trainer(Classifier(batch_size=30), stream, Plan(every="end", before=False))
    trainer.fit()
    batch = trainer.learner.batch  # type: ignore[attr-defined]
    assert batch.task_ids.tolist() == (batch.targets // 2).tolist()
    assert isinstance(stream[0].train, LabelledArrays)
    assert {0, 1, 2} == set(batch.task_ids.tolist())


class Restless(Dummy):
    """Ends an experience and goes on, or never ends it."""

    def __init__(self, end_at: int) -> None:
        super().__init__([])
        self.end_at = end_at

    def learn(self, experience: Experience) -> Iterator[Event | None]:
        self.position.begin(experience)
        for update in range(3):
            self.position.advance()
            if update == self.end_at:
                self.position.end(experience)
            yield None


@pytest.mark.parametrize(
    ("end_at", "message"),
    [
        (0, "learn continues although its position has left experience 0; call position.end"),
        (9, "after learn, its position is experience 0, learning True; call position.begin"),
    ],
)
def test_a_learner_whose_position_is_wrong_is_told_so(end_at: int, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        Trainer(Restless(end_at), blobs()).fit()


def test_the_encoder_is_fitted_before_the_first_evaluation_and_then_as_it_was() -> None:
    stream, encoder = blobs(), Standardize()
    seen: list[float] = []

    class Looking(Dummy):
        def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
            seen.append(float(encoder._count))
            return super().predict(x, task_id, state)

    Trainer(Looking([]), stream, encoder=encoder).fit()
    assert [20.0] * 3 == seen[:3]  # the rows of the first of three experiences
    assert 0 == encoder._count  # Dummy fits nothing itself


def test_the_stability_gap_is_in_the_minimum_of_a_run_that_is_evaluated_within_experiences() -> None:
    """A learner that is right about all of the first classes but at step 4, when it is right about none."""

    class Dips(Dummy):
        def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
            return np.full(len(x), -1 if self.position.step == 4 else 0), None

    stream = blobs(experiences=2, updates=3)  # three classes each, four test inputs a class
    outcomes = [
        Trainer(Dips([]), stream, Plan(every=every, before=False)).fit()
        for every in (EvaluationInterval(updates=1), "experience")
    ]
    # Class 0 is a third of the first experience: 1/3 of it is right, but 0 at step 4; of the second none is.
    assert [[[1 / 3, 0], [1 / 3, 0]]] * 2 == [o.R.tolist() for o in outcomes]
    assert [0.0, 1 / 3] == [o.metrics["accuracy.min"] for o in outcomes]
    # R[1, 1] / 2 + min / 2.
    assert [0.0, pytest.approx(1 / 6)] == [o.metrics["accuracy.worst_case"] for o in outcomes]
