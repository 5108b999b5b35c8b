"""The one loop: every kind of learning runs through it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
from attrs import define, field

from rlcl.config import check_component, no_component
from rlcl.encoders.identity import Identity
from rlcl.errors import Problem, UnseenTaskError, UnsupportedError
from rlcl.evaluation.measures import source_of
from rlcl.evaluation.outcome import Outcome
from rlcl.evaluation.plan import Interval, Plan
from rlcl.evaluation.probing import Probing
from rlcl.evaluation.results import measure_named, online_name
from rlcl.learners.boundary import check_boundary
from rlcl.learners.minibatches import fitted_on
from rlcl.registry import name_of
from rlcl.seeding import Seeds, global_state, load_global_state, preserved_global_state, seed_globals
from rlcl.state import cloned
from rlcl.streams.visible import visible
from rlcl.training.missing import check_missing
from rlcl.types import (
    Boundary,
    BoundaryPolicy,
    Costs,
    Encoder,
    Event,
    Experience,
    InitialWeights,
    Learner,
    Online,
    Record,
    Setup,
    Sink,
    Spending,
    Starting,
    Stream,
)

__all__ = ["Trainer"]

Item = Event | Record | Boundary | None


@define(eq=False)
class Trainer:
    """Trains a learner on a stream and evaluates it as planned.

    Args:
        learner: fresh; the trainer prepares it.
        stream: what it learns from.
        evaluation: what is evaluated when.
        encoder: feature encoding; part of the learner's state from here on.
        boundary: what the learner keeps from one experience to the next.
        seed: the only source of randomness.
        device: a torch device.
        event_interval: updates (env steps) between two events.
        run: names the records.
        initial: what the learner's networks begin with; None for fresh weights.

    Raises:
        Problem: something else than a component, or a stream that is not made.
        UnsupportedError: components that do not go together, by name and reason.
    """

    learner: Learner
    stream: Stream
    evaluation: Plan = field(factory=Plan)
    encoder: Encoder = field(factory=Identity, kw_only=True)
    boundary: BoundaryPolicy = field(factory=BoundaryPolicy, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    device: str = field(default="cpu", kw_only=True)
    event_interval: int = field(default=100, kw_only=True)
    run: str = field(default="", kw_only=True)
    initial: InitialWeights | None = field(default=None, kw_only=True)
    _experiences: tuple[Experience, ...] = field(init=False)
    _trained: int = field(init=False, default=-1)  # the last experience that was trained on to its end
    _due: int | None = field(init=False, default=-1)  # trained on when what is evaluated next is evaluated
    _ending: bool = field(init=False, default=True)  # whether that evaluation is at a boundary
    _told: dict[str, float] = field(init=False, factory=dict)  # of what is due, as its last update left the learner
    _spent: tuple[int, int] = field(init=False, default=(0, 0))  # updates and samples up to the last boundary
    _probing: Probing = field(init=False, default=None)
    _globals: dict[str, Any] | None = field(init=False, default=None)  # to start from, whatever else has drawn since

    def __attrs_post_init__(self) -> None:
        self._check_components()
        every = self.evaluation.every
        wanted = "env_steps" if self.stream.spec.kind == "environment" else "updates"
        if isinstance(every, Interval) and every.unit != wanted:
            raise UnsupportedError(f"evaluation.every: this stream is counted in {wanted}; write {{{wanted}: N}}")
        self.stream = self.encoder.adapt(self.stream)
        if self.initial is not None and not isinstance(self.learner, Starting):
            raise UnsupportedError(
                f"initial: learner {name_of('learner', self.learner)} has no networks that can begin with the weights "
                "of another run; leave it out"
            )
        seeds = Seeds(self.seed)
        seed_globals(seeds.child("globals"))
        shown = visible(self.stream)
        self._experiences = shown.experiences
        self.learner.prepare(
            Setup(
                spec=shown.spec,
                stream=shown,
                encoder=self.encoder,
                seeds=seeds.child("learner"),
                device=self.device,
                event_interval=self.event_interval,
                boundary=self.boundary,
                online=self.evaluation.online,
                initial=self.initial,
            )
        )
        check_missing(self.stream, self.encoder)
        check_boundary(self.boundary, self.learner, self.encoder, shown.visibility)
        if self.evaluation.online and not isinstance(self.learner, Online):
            name = name_of("learner", self.learner)
            raise UnsupportedError(f"evaluation.online: learner {name} predicts nothing in training; leave it out")
        parts = [part for experience in self._experiences for part in experience.parts]
        self._probing = Probing(self.learner, self.evaluation, parts, self.encoder, seeds.child("probes"))
        self._globals = global_state()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self._trained == len(self.stream) - 1 and self._due is None

    def fit(self, sinks: Sequence[Sink] = ()) -> Outcome:
        """Runs to the end, writing everything to the sinks."""
        records: list[Record] = []
        for item in self.events():
            if isinstance(item, Record):
                records.append(item)
            if item is not None:
                for sink in sinks:
                    sink.write(item)
        return Outcome(tuple(records), tuple(self.learner.measures), self.evaluation.metrics)

    def events(self) -> Iterator[Item]:
        """The whole run, or what is left of it.

        Yields:
            A Boundary when nothing is in flight (first of all, and after each experience's
            evaluation); the learner's events, and None between them; records.
        """
        if self._globals is not None:
            load_global_state(self._globals)
            self._globals = None
        if self._due == -1:
            yield Boundary(0, -1)
        if self._due is not None:
            yield from self._evaluate_due()
        for experience in self._experiences[self.learner.position.experience :]:
            yield from self._learn(experience)

    def _learn(self, experience: Experience) -> Iterator[Item]:
        position, every = self.learner.position, self.evaluation.every
        interval = every.steps if isinstance(every, Interval) else 0
        first = experience.parts[0].index
        segment, intervals = position.segment, position.step // interval if interval else 0
        ended = False
        for event in self.learner.learn(experience):
            if ended:
                raise UnsupportedError(
                    f"learner {name_of('learner', self.learner)}: learn goes on though its position said that "
                    f"experience {experience.index} has ended; call position.end(experience) before the last yield"
                )
            # What is due is known before the yield, for the run may be stopped and resumed there.
            position = self.learner.position
            passed = interval and position.step // interval
            if not position.learning or position.segment != segment:
                self._fall_due(first + segment, ending=True)
            elif passed != intervals:
                self._fall_due(first + segment, ending=False)
            segment, intervals, ended = position.segment, passed, not position.learning
            yield event
            if self._due is not None:
                yield from self._evaluate_due()
        found = self.learner.position
        if not ended or found.experience != experience.index + 1:
            raise UnsupportedError(
                f"learner {name_of('learner', self.learner)}: learn has ended, and its position says experience "
                f"{found.experience}, learning {found.learning}; call position.begin(experience) at its start and "
                "position.end(experience) before the last yield"
            )

    def _fall_due(self, trained_on: int, ending: bool) -> None:
        """Notes an evaluation, and what only the learner at this moment can tell: its last gradients, its rollouts."""
        self._due, self._ending, self._told = trained_on, ending, {}
        if self._planned(trained_on, ending):
            self._told |= self._probing.look(trained_on)
        if ending and isinstance(self.learner, Online) and self.evaluation.online:
            online = self.learner.online()
            if online is not None:
                self._told[online_name(self.learner.measures[0])] = online
        if ending and isinstance(self.learner, Spending):
            self._told |= self._spending(self.learner.costs())

    def _spending(self, costs: Costs) -> dict[str, float]:
        """What the experience that ends has cost, its updates and samples alone; what is held as it is now."""
        (updates, samples), self._spent = self._spent, (costs.updates, costs.samples)
        spent = attrs.evolve(costs, updates=costs.updates - updates, samples=costs.samples - samples)
        return {name: float(value) for name, value in attrs.asdict(spent).items()}

    def _check_components(self) -> None:
        check_component(self.learner, "learner", "learner")
        check_component(self.encoder, "encoder", "encoder")
        stream: object = self.stream
        if not isinstance(stream, Stream):
            name = type(stream).__name__
            unmade = no_component(stream, "stream") is None
            remedy = "; make it: stream.make(Seeds(0), Budget(epochs=1))" if unmade else ""
            raise Problem(f"expected a stream that is made, got an instance of {name}{remedy}", "stream")

    def _planned(self, trained_on: int, ending: bool) -> bool:
        if not ending:
            return True
        last = trained_on == len(self.stream) - 1
        return self.evaluation.before if trained_on == -1 else self.evaluation.every != "end" or last

    def _evaluate_due(self) -> Iterator[Item]:
        """Evaluates; nothing is due only after the last record, so that a resumed run repeats it whole."""
        assert self._due is not None
        trained_on, ending = self._due, self._ending
        if self._planned(trained_on, ending):
            yield from self._evaluate(trained_on)
        for name, value in self._told.items():
            yield self._record(trained_on, max(trained_on, 0), name, value)
        self._due, self._told = None, {}
        if ending and trained_on >= 0:
            self._trained = trained_on
            yield Boundary(self.learner.position.step, trained_on)

    def _evaluate(self, trained_on: int) -> Iterator[Record]:
        shown = self.stream.visibility.at_evaluation
        records = []
        with preserved_global_state(), self._fitted(trained_on):
            if trained_on == -1:
                self._told = self._probing.look(trained_on)
            for experience in self._evaluated(trained_on):
                task_id = experience.task_id if shown else None
                for name in self.learner.measures:
                    value = self._measured(name, experience, task_id)
                    if value is not None:
                        records.append(self._record(trained_on, experience.index, name, value))
        yield from records

    def _measured(self, name: str, experience: Experience, task_id: int | None) -> float | None:
        """NaN where there are no rows to tell by, so that R has the column; None where there is no cell yet."""
        source = source_of(experience, self.evaluation)
        if source.kind == "arrays" and not len(source):
            return math.nan
        try:
            return measure_named(name).function(self.learner, experience, task_id, self.evaluation)
        except UnseenTaskError:  # a head that is not there yet
            return None

    def _record(self, trained_on: int, evaluated_on: int, metric: str, value: float) -> Record:
        return Record(self.run, self.seed, self.learner.position.step, trained_on, evaluated_on, metric, value)

    @contextmanager
    def _fitted(self, trained_on: int) -> Iterator[None]:
        """Before any training the encoder is as it will be for the first experience, and then as it was."""
        if trained_on >= 0 or self.stream.spec.kind == "environment":
            yield
            return
        state = cloned(self.encoder.state_dict())
        self.encoder.fit(fitted_on(self._experiences[0].parts[0].arrays))
        try:
            yield
        finally:
            self.encoder.load_state_dict(state)

    def _evaluated(self, trained_on: int) -> Sequence[Experience]:
        columns = self.stream.evaluated
        if self.evaluation.on == "all" or len(columns) != len(self.stream):
            return columns
        current = max(trained_on, 0)
        return columns[: current + 1] if self.evaluation.on == "seen" else columns[current : current + 1]

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on. Not to be asked for between two records."""
        state: dict[str, Any] = cloned(
            {
                "learner": self.learner.state_dict(),
                "trained": self._trained,
                "due": self._due,
                "ending": self._ending,
                "told": self._told,
                "spent": self._spent,
                "globals": global_state() if self._globals is None else self._globals,
            }
        )
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self._trained, self._due, self._ending = state["trained"], state["due"], state["ending"]
        self._told, self._spent = dict(state["told"]), tuple(state["spent"])
        self._globals = cloned(state["globals"])
        load_global_state(state["globals"])
