"""Trainer: the training and evaluation loop for all kinds of learning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
from attrs import define, field

from rlcl.config import check_component, component_mismatch
from rlcl.encoders.identity import Identity
from rlcl.errors import Problem, UnsupportedError
from rlcl.evaluation.episodes import RandomPolicy, run_episodes
from rlcl.evaluation.measures import SCORE, environment_of, measure_all
from rlcl.evaluation.outcome import Outcome
from rlcl.evaluation.plan import EvaluationInterval, Plan
from rlcl.evaluation.probe_runner import ProbeRunner
from rlcl.evaluation.results import (
    RANDOM_RETURN,
    REWARD,
    TASK,
    check_measures,
    drift_name,
    measure_named,
    online_name,
)
from rlcl.learners.boundary import check_boundary_policy
from rlcl.learners.minibatches import fitting_rows
from rlcl.process_group import process_group
from rlcl.registry import name_of
from rlcl.seeding import Seeds, global_state, load_global_state, preserved_global_state, seed_globals
from rlcl.state import clone_state
from rlcl.streams.visibility import learner_view
from rlcl.training.missing_values import check_missing_values
from rlcl.types import (
    Boundary,
    BoundaryPolicy,
    Costs,
    Dividing,
    Earning,
    Encoder,
    Event,
    Experience,
    InitialWeights,
    Learner,
    OnlineTesting,
    Record,
    Setup,
    Sink,
    Spending,
    Starting,
    Stream,
    masks_actions,
)

__all__ = ["Trainer"]

Item = Event | Record | Boundary | None


@define(eq=False)
class Trainer:
    """Trainer of a learner on a stream, with evaluations according to a plan.

    Args:
        learner: learner on which ``prepare`` has not been called; the trainer calls it.
        stream: stream to learn from.
        evaluation: evaluation plan.
        encoder: feature encoder, which becomes part of the learner's state.
        boundary: treatment of the learner's state between experiences.
        seed: seed of all random numbers.
        device: torch device.
        event_interval: number of updates (for environments: env steps) between two events.
        run: identifier of the run in its records.
        initial: initial weights of the learner's networks; None for random weights.

    Raises:
        Problem: an argument is not a component, or ``stream`` is a stream component whose ``make`` has not been called.
        UnsupportedError: the components are not compatible; the message names them and the reason.
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
    measures: tuple[str, ...] = field(init=False)  # names of the recorded measures, the primary one first
    _experiences: tuple[Experience, ...] = field(init=False)
    _last_trained: int = field(init=False, default=-1)  # index of the last finished experience
    # If an evaluation is pending: index of the experience trained last, or -1 before training. Otherwise None.
    _evaluation_due: int | None = field(init=False, default=-1)
    _at_boundary: bool = field(init=False, default=True)  # whether the pending evaluation is at a boundary
    _pending_values: dict[str, float] = field(init=False, factory=dict)  # values to record at the pending evaluation
    _boundary_costs: tuple[int, int] = field(init=False, default=(0, 0))  # updates and samples at the last boundary
    _boundary_reward: float = field(init=False, default=0.0)  # total reward of training at the last boundary
    _probe_runner: ProbeRunner = field(init=False, default=None)
    _globals: dict[str, Any] | None = field(init=False, default=None)  # global generators at the start

    def __attrs_post_init__(self) -> None:
        self._check_components()
        every = self.evaluation.every
        unit = "env_steps" if self.stream.spec.kind == "environment" else "updates"
        if isinstance(every, EvaluationInterval) and every.unit != unit:
            raise UnsupportedError(
                f"evaluation.every: got {every.unit}, but this stream is counted in {unit}; set {{{unit}: N}}"
            )
        self.stream = self.encoder.adapt(self.stream)
        if self.initial is not None and not isinstance(self.learner, Starting):
            raise UnsupportedError(
                f"initial: learner {name_of('learner', self.learner)} does not support initial weights from another "
                "run; remove the key"
            )
        seeds = Seeds(self.seed)
        seed_globals(seeds.child("globals"))
        visible_stream = learner_view(self.stream)
        self._experiences = visible_stream.experiences
        self.learner.prepare(
            Setup(
                spec=visible_stream.spec,
                stream=visible_stream,
                encoder=self.encoder,
                seeds=seeds.child("learner"),
                device=self.device,
                event_interval=self.event_interval,
                boundary=self.boundary,
                online=self.evaluation.online,
                initial=self.initial,
            )
        )
        _check_processes(process_group().size, self.learner)
        check_missing_values(self.stream, self.encoder)
        self.measures = self.evaluation.measures or tuple(self.learner.measures)
        check_measures(self.measures, self.learner, self.stream, self.evaluation)
        self._check_masks()
        check_boundary_policy(self.boundary, self.learner, self.encoder, visible_stream.visibility)
        if self.evaluation.online and not isinstance(self.learner, OnlineTesting):
            name = name_of("learner", self.learner)
            raise UnsupportedError(f"evaluation.online: learner {name} predicts nothing in training; remove the key")
        parts = [part for experience in self._experiences for part in experience.parts]
        self._probe_runner = ProbeRunner(self.learner, self.evaluation, parts, self.encoder, seeds.child("probes"))
        self._globals = global_state()

    @property
    def finished(self) -> bool:
        """Whether the run is finished."""
        return self._last_trained == len(self.stream) - 1 and self._evaluation_due is None

    def fit(self, sinks: Sequence[Sink] = ()) -> Outcome:
        """Run to the end and write all events and records to the sinks."""
        records: list[Record] = []
        for item in self.events():
            if isinstance(item, Record):
                records.append(item)
            if item is not None:
                for sink in sinks:
                    sink.write(item)
        return Outcome(tuple(records), self.measures, self.evaluation.metrics)

    def events(self) -> Iterator[Item]:
        """Run the experiment, or the rest of it after a state has been loaded.

        Yields:
            A Boundary at the start and after the evaluation of each experience; the learner's events, and None between
            two events; records.
        """
        if self._globals is not None:
            load_global_state(self._globals)
            self._globals = None
        if self._evaluation_due == -1:
            yield Boundary(0, -1)
        if self._evaluation_due is not None:
            yield from self._evaluate_due()
        for experience in self._experiences[self.learner.position.experience :]:
            yield from self._learn(experience)

    def _learn(self, experience: Experience) -> Iterator[Item]:
        position, every = self.learner.position, self.evaluation.every
        interval = every.steps if isinstance(every, EvaluationInterval) else 0
        first = experience.parts[0].index
        segment, intervals = position.segment, position.step // interval if interval else 0
        finished = False
        for event in self.learner.learn(experience):
            if finished:
                raise UnsupportedError(
                    f"learner {name_of('learner', self.learner)}: learn continues although its position has left "
                    f"experience {experience.index}; call position.end(experience) before the last yield"
                )
            # An evaluation is scheduled before the yield, because the run may be stopped and resumed there.
            position = self.learner.position
            passed = interval and position.step // interval
            if not position.learning or position.segment != segment:
                self._schedule_evaluation(first + segment, ending=True)
            elif passed != intervals:
                self._schedule_evaluation(first + segment, ending=False)
            segment, intervals, finished = position.segment, passed, not position.learning
            yield event
            if self._evaluation_due is not None:
                yield from self._evaluate_due()
        position = self.learner.position
        if not finished or position.experience != experience.index + 1:
            raise UnsupportedError(
                f"learner {name_of('learner', self.learner)}: after learn, its position is experience "
                f"{position.experience}, learning {position.learning}; call position.begin(experience) at the start "
                "of learn and position.end(experience) before the last yield"
            )

    def _schedule_evaluation(self, trained_on: int, ending: bool) -> None:
        """Schedule an evaluation, and store values that depend on the learner at this moment.

        These are probes of the last gradients or rollouts, the online score and the costs.
        """
        self._evaluation_due, self._at_boundary, self._pending_values = trained_on, ending, {}
        if ending and (task := self.visited_task(trained_on)) is not None:
            self._pending_values[TASK] = float(task)
        if self._is_planned(trained_on, ending):
            self._pending_values |= self._probe_runner.run(trained_on)
        if ending and isinstance(self.learner, OnlineTesting) and self.evaluation.online:
            online = self.learner.online()
            if online is not None:
                self._pending_values[online_name(self.learner.measures[0])] = online
        if ending and isinstance(self.learner, Spending):
            self._pending_values |= self._spending(self.learner.costs())
        if ending and isinstance(self.learner, Earning):
            earned = self.learner.earned()
            self._pending_values[REWARD], self._boundary_reward = earned - self._boundary_reward, earned

    def present(self, column: Experience) -> Experience:
        """Return an evaluated experience with the present values of the parameters, if the stream drifts."""
        position, moments = self.learner.position, self.stream.moments
        trained_on = position.experience + position.segment - (not position.learning)
        return column if moments is None else moments.column(column, trained_on, position.step)

    def visited_task(self, trained_on: int) -> int | None:
        """Return the column of R that an experience trains; None if it is the same for all experiences as their index.

        It is also None if the experience trains no single column.
        """
        visited = self.stream.visited
        return visited[trained_on] if visited and visited != tuple(range(len(self.stream.evaluated))) else None

    def _spending(self, costs: Costs) -> dict[str, float]:
        """Return the costs of the finished experience: its updates and samples, and the current sizes."""
        (updates, samples), self._boundary_costs = self._boundary_costs, (costs.updates, costs.samples)
        difference = attrs.evolve(costs, updates=costs.updates - updates, samples=costs.samples - samples)
        return {name: float(value) for name, value in attrs.asdict(difference).items()}

    def _check_components(self) -> None:
        """Check that the arguments are components and that the stream is made.

        Raises:
            Problem: an argument has another type.
        """
        check_component(self.learner, "learner", "learner")
        check_component(self.encoder, "encoder", "encoder")
        stream: object = self.stream
        if not isinstance(stream, Stream):
            name = type(stream).__name__
            is_component = component_mismatch(stream, "stream") is None
            remedy = "; call stream.make(Seeds(0), Budget(epochs=1))" if is_component else ""
            raise Problem(f"expected the result of a stream's make, got an instance of {name}{remedy}", "stream")

    def _check_masks(self) -> None:
        """Check that the learner uses the masks of environments in which some actions are never allowed.

        Raises:
            UnsupportedError: it does not.
        """
        sources = [experience.train for experience in self.stream]
        if any(s.kind == "environment" and s.requires_masks for s in sources) and not masks_actions(self.learner):
            raise UnsupportedError(
                f"stream.spaces: pad masks the actions that a task does not have, and learner "
                f"{name_of('learner', self.learner)} does not use masks; use ppo, dqn, or sb3 with MaskablePPO"
            )

    def _is_planned(self, trained_on: int, ending: bool) -> bool:
        """Return whether the plan contains an evaluation after training on an experience, or within it."""
        if not ending:
            return True
        last = trained_on == len(self.stream) - 1
        return self.evaluation.before if trained_on == -1 else self.evaluation.every != "end" or last

    def _evaluate_due(self) -> Iterator[Item]:
        """Run the pending evaluation. It is pending until the last record, so that a resumed run repeats all of it."""
        assert self._evaluation_due is not None
        trained_on, ending = self._evaluation_due, self._at_boundary
        if self._is_planned(trained_on, ending):
            yield from self._evaluate(trained_on)
        if trained_on == -1:
            yield from self._random_play()
        for name, value in self._pending_values.items():
            yield self._record(trained_on, max(trained_on, 0), name, value)
        self._evaluation_due, self._pending_values = None, {}
        if ending and trained_on >= 0:
            self._last_trained = trained_on
            yield Boundary(self.learner.position.step, trained_on)

    def _evaluate(self, trained_on: int) -> Iterator[Record]:
        """Evaluate the learner on the experiences of the plan."""
        task_ids_visible = self.stream.visibility.at_evaluation
        records = []
        with preserved_global_state(), self._fitted_encoder(trained_on):
            if trained_on == -1:
                self._pending_values = self._probe_runner.run(trained_on)
            measures = {name: measure_named(name) for name in self.measures}
            for experience in map(self.present, self._evaluated_experiences(trained_on)):
                task_id = experience.task_id if task_ids_visible else None
                values = measure_all(measures, self.learner, experience, task_id, self.evaluation)
                for name, value in values.items():
                    if value is not None:
                        records.append(self._record(trained_on, experience.index, name, value))
            if self.stream.moments is not None:
                drifting = self.stream.moments.values(trained_on, self.learner.position.step)
                records += [self._record(trained_on, 0, drift_name(name), value) for name, value in drifting.items()]
        yield from records

    def _random_play(self) -> Iterator[Record]:
        """Record the return of random actions in each task whose scores depend on it."""
        if SCORE.name not in self.measures:
            return
        plan = self.evaluation
        for experience in self.stream.evaluated:
            source = environment_of(experience, plan)
            if source.score_range is None:
                with preserved_global_state():
                    episodes = run_episodes(RandomPolicy(source), source, plan.episodes, plan.episode_steps, None)
                yield self._record(-1, experience.index, RANDOM_RETURN, float(episodes.returns.mean()))

    def _record(self, trained_on: int, evaluated_on: int, metric: str, value: float) -> Record:
        return Record(self.run, self.seed, self.learner.position.step, trained_on, evaluated_on, metric, value)

    @contextmanager
    def _fitted_encoder(self, trained_on: int) -> Iterator[None]:
        """Fit the encoder on the first experience for an evaluation before training, and restore it afterwards."""
        if trained_on >= 0 or self.stream.spec.kind == "environment":
            yield
            return
        state = clone_state(self.encoder.state_dict())
        self.encoder.fit(fitting_rows(self._experiences[0].parts[0].arrays))
        try:
            yield
        finally:
            self.encoder.load_state_dict(state)

    def _evaluated_experiences(self, trained_on: int) -> Sequence[Experience]:
        """Return the experiences to evaluate after training on an experience."""
        columns, visited, current = self.stream.evaluated, self.stream.visited, max(trained_on, 0)
        if self.stream.moments is not None and self.evaluation.on == "current":
            return columns[:1]  # the present values
        if self.evaluation.on == "all" or not visited:
            return columns
        tasks = visited[: current + 1] if self.evaluation.on == "seen" else visited[current : current + 1]
        return [columns[task] for task in sorted(set(tasks))]

    def state_dict(self) -> dict[str, Any]:
        """Return the state that the rest of the run depends on. It must not be called between two records."""
        state: dict[str, Any] = clone_state(
            {
                "learner": self.learner.state_dict(),
                "trained": self._last_trained,
                "due": self._evaluation_due,
                "ending": self._at_boundary,
                "told": self._pending_values,
                "spent": self._boundary_costs,
                "earned": self._boundary_reward,
                "globals": global_state() if self._globals is None else self._globals,
            }
        )
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self._last_trained, self._evaluation_due, self._at_boundary = state["trained"], state["due"], state["ending"]
        self._pending_values, self._boundary_costs = dict(state["told"]), tuple(state["spent"])
        self._boundary_reward = state.get("earned", 0.0)  # missing in checkpoints of older versions
        self._globals = clone_state(state["globals"])
        load_global_state(state["globals"])


def _check_processes(processes: int, learner: Learner) -> None:
    """Check that several processes can train a learner together.

    Raises:
        UnsupportedError: they cannot; the message gives the reason.
    """
    if processes == 1:
        return
    reason = learner.indivisible() if isinstance(learner, Dividing) else "it does not train on minibatches of arrays"
    if reason is not None:
        raise UnsupportedError(
            f"learner {name_of('learner', learner)} cannot be trained by {processes} processes: {reason}; start rlcl "
            "run without torchrun"
        )
