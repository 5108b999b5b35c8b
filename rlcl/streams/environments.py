"""Sequences of environments, for continual reinforcement learning."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal

import attrs
import gymnasium as gym
import numpy as np
from attrs import frozen

from rlcl.config import option
from rlcl.data.drift import Drift, change_steps, drift_values
from rlcl.data.environments.contract import shorten
from rlcl.data.environments.drifting import check_parameter
from rlcl.data.environments.environment import Environment, Vectorization, environment_class
from rlcl.data.environments.padding import common_spaces
from rlcl.data.environments.wrappers import EnvironmentWrapper, check_wrapper
from rlcl.errors import DataError, Problem, UnsupportedError, did_you_mean
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream
from rlcl.types import Budget, Experience, StreamSpec, Visibility

__all__ = ["EnvironmentTask", "Environments"]


def _wrappers(values: Sequence[Any]) -> tuple[EnvironmentWrapper, ...]:
    wrappers = tuple(EnvironmentWrapper(wrapper=v) if isinstance(v, str) else v for v in values)
    for index, wrapper in enumerate(wrappers):
        try:
            check_wrapper(wrapper.wrapper)
        except Problem as problem:
            raise Problem(problem.message, f"wrappers[{index}]") from None
    return wrappers


def _score_range(value: tuple[float, float] | None) -> tuple[float, float] | None:
    if value is not None and not (math.isfinite(value[0]) and math.isfinite(value[1]) and value[0] < value[1]):
        raise Problem(f"expected two numbers, the lower one first, got {list(value)}", "score_range")
    return value


@frozen(kw_only=True)
class EnvironmentTask:
    """One experience of a stream of environments.

    Args:
        env: Gymnasium id, ``module:Id``, or a class or function (``file.py:name``); by default that of the stream.
        kwargs: keyword arguments, in addition to those of the stream.
        attributes: attributes of the unwrapped environment, in addition to those of the stream.
        wrappers: wrappers, outside of those of the stream.
        budget: amount of training in each visit; by default that of the experiment.
        score_range: returns that correspond to the scores 0 and 1; by default that of the stream.
        name: human-readable name.
    """

    env: str | None = option(None)
    kwargs: Mapping[str, Any] = option(factory=dict)
    attributes: Mapping[str, Any] = option(factory=dict)
    wrappers: tuple[str | EnvironmentWrapper, ...] = option((), converter=_wrappers)
    budget: Budget | None = option(None)
    score_range: tuple[float, float] | None = option(None, converter=_score_range)
    name: str = option("")


@frozen(kw_only=True)
class Environments:
    """Sequence of visits of tasks, each a Gymnasium environment with its own kwargs and attributes.

    Each visit is an experience. By default each task is visited once. If tasks are visited repeatedly, the result
    matrix R has one row per visit and one column per task (see ``matrix_columns``).

    Args:
        env: Gymnasium id, ``module:Id``, or a class or function that makes an environment (``file.py:name``,
            ``module:name``).
        kwargs: keyword arguments of every environment.
        attributes: attributes of every unwrapped environment, for example ``{gravity: 20}``; a key may be a path
            (``model.opt.gravity``).
        wrappers: wrappers around every environment, the innermost first: names of ``gymnasium.wrappers``,
            ``module:Class`` or ``file.py:Class``; with keyword arguments ``{wrapper: TimeLimit, kwargs: {...}}``.
        tasks: differences of each task from these settings; by default one task without differences.
        sequence: names or indices of tasks, one per visit; by default all tasks in order.
        repeat: number of times that the sequence is repeated.
        matrix_columns: columns of R: one per task, or one per visit. With ``visits`` each visit also has a separate
            task id and separate test environments, as in CW20 of Continual World (Wolczyk et al. 2021).
        score_range: returns that correspond to the scores 0 and 1 (``evaluation.measures: [score]``), for example those
            of random actions and of an expert; by default random actions and a single-task run are measured.
        spaces: ``same`` if all tasks must have the same spaces. ``pad`` for the union of different spaces: observations
            are flattened and padded with zeros, and Discrete actions that a task does not have are masked.
        drift: parameters that drift with the env steps of the stream: ``attributes.NAME`` (also a path, or an element
            of an array, ``model.opt.gravity.2``), ``reward.scale``, ``reward.sign``, ``observation.scale``,
            ``observation.offset``, ``observation.noise`` (standard deviation), ``observation.permutation`` and
            ``action.permutation`` (number of the permutation, 0 for none). A drifting stream has one task. The rows of
            R are its evaluations, and its columns the present values and the ``probes``. If boundaries are announced,
            an experience begins at each jump of a parameter.
        observation_offsets: standard deviation of a normally distributed vector that is added to the observations of
            each task except the first one, drawn with the seed of the run; 0 for none. Source: Tang et al. 2025,
            Mitigating plasticity loss in continual reinforcement learning by reducing churn (C-CHAIN).
        episodes: ``visible``, or ``hidden`` for one life: the training environments are reset at the end of an episode
            without a signal to the learner, which is judged by the reward of its life (``return.lifetime``).
        num_envs: number of parallel environments in training.
        vectorization: ``sync`` (in one process), ``async`` (each in a separate process), or ``native`` (the vector
            version of the environment, if it has one).
        visibility: information about tasks and boundaries that the learner receives.
    """

    env: str = option()
    kwargs: Mapping[str, Any] = option(factory=dict)
    attributes: Mapping[str, Any] = option(factory=dict)
    wrappers: tuple[str | EnvironmentWrapper, ...] = option((), converter=_wrappers)
    tasks: tuple[EnvironmentTask, ...] = option((EnvironmentTask(),))
    sequence: tuple[str | int, ...] = option(())
    repeat: int = option(1, ge=1, le=100_000)
    matrix_columns: Literal["tasks", "visits"] = option("tasks")
    score_range: tuple[float, float] | None = option(None, converter=_score_range)
    spaces: Literal["same", "pad"] = option("same")
    drift: tuple[Drift, ...] = option(())
    observation_offsets: float = option(0.0, ge=0)
    episodes: Literal["visible", "hidden"] = option("visible")
    num_envs: int = option(1, ge=1)
    vectorization: Vectorization = option("sync")
    visibility: Visibility = option(factory=Visibility)

    def single_task(self, column: int) -> Environments:
        """Return the stream of one task alone, which does not depend on the other tasks unless spaces are padded.

        Args:
            column: column of R.

        Raises:
            UnsupportedError: the stream drifts.
        """
        if self.drift:
            raise UnsupportedError("a drifting stream has no task that could be trained alone")
        order = self._visits([_name(self, task) for task in self.tasks])
        task = order[column] if self.matrix_columns == "visits" else column
        once = attrs.evolve(self, sequence=(task,), repeat=1, matrix_columns="tasks")
        # Padding and offsets depend on the other tasks, or on the place of a task among them.
        return (
            once
            if self.spaces == "pad" or self.observation_offsets
            else attrs.evolve(once, tasks=(self.tasks[task],), sequence=())
        )

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        if not self.tasks:
            raise Problem("tasks: expected at least one task")
        names = [_name(self, task) for task in self.tasks]
        environments = [self._environment(task) for task in self.tasks]
        if self.observation_offsets and len(self.tasks) == 1:
            raise Problem("the first task has no offset, and there is no other; add tasks", "observation_offsets")
        if self.observation_offsets:
            environments = [self._offset(index, e, seeds) for index, e in enumerate(environments)]
        if self.drift:
            return self._drifting(names[0], environments[0], seeds, self.tasks[0].budget or budget)
        if self.spaces == "pad":
            padding = common_spaces(names, [environment.spaces() for environment in environments])
            environments = [attrs.evolve(environment, padding=padding) for environment in environments]
        spec = _spec(names, environments)

        def task_column(task: int) -> Experience:
            return experience(task, names[task], task, task)

        def experience(index: int, name: str, task: int, column: int) -> Experience:
            train, test, validation = (
                attrs.evolve(
                    environments[task],
                    seed=seeds.child(f"{purpose}environment {number}").integer(),
                    continuing=self.episodes == "hidden" and not purpose,
                )
                for purpose, number in (("", index), ("test ", column), ("validation ", column))
            )
            return Experience(index, name, train, test, self.tasks[task].budget or budget, column, validation)

        order = self._visits(names)
        visits = list(zip(range(len(order)), order, _visit_numbers(order), strict=True))
        if order == list(range(len(self.tasks))):
            return Stream(tuple(map(task_column, order)), spec, self.visibility)
        if self.matrix_columns == "visits":
            experiences = [experience(i, _visit_name(names[task], number), task, i) for i, task, number in visits]
            return Stream(tuple(experiences), spec, self.visibility)
        seeds_of_visits = [seeds.child(f"environment {index}").integer() for index in range(len(order))]

        def visited(tasks: tuple[Experience, ...]) -> tuple[Experience, ...]:
            return tuple(
                attrs.evolve(
                    tasks[task],
                    index=index,
                    name=_visit_name(tasks[task].name, number),
                    train=tasks[task].environment.seeded(seeds_of_visits[index]),
                )
                for index, task, number in visits
            )

        # The visits are made of the tasks, so that wrappers of streams (cyclic) can arrange them further.
        columns = Stream(tuple(map(task_column, range(len(self.tasks)))), spec, self.visibility)
        return columns.arranged(visited)

    def _drifting(self, name: str, environment: Environment, seeds: Seeds, budget: Budget) -> Stream:
        """Return the stream of one drifting task."""
        self._check_drift(budget)
        drift = tuple(
            attrs.evolve(d, function=d.function.seeded(seeds.child(f"drift {index}").integer()))
            for index, d in enumerate(self.drift)
        )
        environment = attrs.evolve(environment, drift=drift, continuing=self.episodes == "hidden")
        spec = _spec([name], [environment])
        initial = drift_values(drift, 0)
        constant = tuple(d.at(initial[d.parameter]) for d in drift)
        columns = [("present", drift)] + [
            (f"{d.parameter.removeprefix('attributes.')} {value:g}", (*constant[:i], d.at(value), *constant[i + 1 :]))
            for i, d in enumerate(drift)
            for value in d.probes
        ]

        def column(index: int, label: str, drift: tuple[Drift, ...]) -> Experience:
            test, validation = (
                attrs.evolve(
                    environment,
                    drift=drift,
                    frozen=True,
                    continuing=False,
                    seed=seeds.child(f"{purpose} environment {index}").integer(),
                )
                for purpose in ("test", "validation")
            )
            return Experience(index, label, environment, test, budget, None, validation)

        steps = budget.env_steps
        changes = change_steps(drift, steps) if steps and self.visibility.boundaries == "announced" else []
        starts = [0, *changes]
        amounts = [budget]
        if steps is not None:
            amounts = [Budget(env_steps=end - start) for start, end in zip(starts, [*changes, steps], strict=True)]
        experiences = tuple(
            Experience(
                index,
                name if start == 0 else f"{name}, from step {start:,}",
                attrs.evolve(environment, seed=seeds.child(f"environment {index}").integer()),
                None,
                amount,
            )
            for index, (start, amount) in enumerate(zip(starts, amounts, strict=True))
        )
        evaluated = tuple(column(index, *column_drift) for index, column_drift in enumerate(columns))
        return Stream(experiences, spec, self.visibility, evaluated, moments=EnvironmentMoments(drift))

    def _check_drift(self, budget: Budget) -> None:
        """Check the settings of a drifting stream.

        Raises:
            Problem: a parameter is unknown or listed twice, or there are several tasks.
        """
        if len(self.tasks) > 1 or self.sequence or self.repeat > 1:
            raise Problem("a drifting stream has one task; remove the others, sequence and repeat", "drift")
        if self.spaces == "pad":
            raise Problem("a drifting stream has one task, whose spaces need no padding; remove spaces: pad", "drift")
        names = [drift.parameter for drift in self.drift]
        for index, name in enumerate(names):
            try:
                check_parameter(name)
            except Problem as problem:
                raise Problem(problem.message, f"drift[{index}].parameter") from None
            if name in names[:index]:
                raise Problem(f"{name} is listed twice; remove one", f"drift[{index}].parameter")

    def _offset(self, task: int, environment: Environment, seeds: Seeds) -> Environment:
        """Return the environment of a task with its offset; the first task has none."""
        if task == 0:
            return environment
        rng, shape = seeds.child(f"observation offset {task}").numpy(), environment.spaces()[0].shape or ()
        offset = rng.normal(0.0, self.observation_offsets, math.prod(shape)).tolist()
        wrapper = EnvironmentWrapper(
            wrapper="rlcl.data.environments.offsets:ObservationOffset", kwargs={"offset": offset}
        )
        return attrs.evolve(environment, wrappers=(*environment.wrappers, wrapper))

    def _visits(self, names: list[str]) -> list[int]:
        """Return the index of the task of each visit."""
        visits = []
        for index, entry in enumerate(self.sequence or range(len(self.tasks))):
            if isinstance(entry, str) and names.count(entry) > 1:
                raise Problem(f"expected the name of one task; several are called {entry!r}", f"sequence[{index}]")
            found = names.index(entry) if isinstance(entry, str) and entry in names else entry
            if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < len(self.tasks):
                raise Problem(
                    f"expected an index from 0 to {len(self.tasks) - 1} or the name of a task, got {entry!r}"
                    f"{did_you_mean(str(entry), names)}",
                    f"sequence[{index}]",
                )
            visits.append(found)
        return visits * self.repeat

    def _environment(self, task: EnvironmentTask) -> Environment:
        return Environment(
            env=environment_class(task.env or self.env),
            kwargs={**self.kwargs, **task.kwargs},
            attributes={**self.attributes, **task.attributes},
            wrappers=(*self.wrappers, *task.wrappers),  # type: ignore[arg-type]  # the converter leaves no names
            score_range=task.score_range or self.score_range,
            continuing=self.episodes == "hidden",
            num_envs=self.num_envs,
            vectorization=self.vectorization,
            name=PurePath(task.env or self.env).name if ".py:" in (task.env or self.env) else task.env or self.env,
        )


@frozen
class EnvironmentMoments:
    """Values of the drifting parameters of a stream at its evaluations; see :class:`rlcl.types.Moments`.

    Args:
        drift: the drifting parameters.
    """

    drift: tuple[Drift, ...]

    def column(self, column: Experience, trained_on: int, step: int) -> Experience:
        return column.with_sources(lambda source: source.at(step) if source.kind == "environment" else source)

    def without_test(self) -> EnvironmentMoments:
        return self  # environments have no test data

    def values(self, trained_on: int, step: int) -> Mapping[str, float]:
        return drift_values(self.drift, step)


def _name(stream: Environments, task: EnvironmentTask) -> str:
    changes = ", ".join(f"{k} {v}" for k, v in {**task.kwargs, **task.attributes}.items())
    return task.name or " ".join(filter(None, [PurePath(task.env or stream.env).name, changes]))


def _visit_numbers(order: Sequence[int]) -> Iterator[int]:
    """Yield how often the task of each visit has been visited, from 1."""
    counts: Counter[int] = Counter()
    for task in order:
        counts[task] += 1
        yield counts[task]


def _visit_name(name: str, number: int) -> str:
    """Return the name of a visit: that of the task, so that a run can be continued with further visits."""
    return name if number == 1 else f"{name}, visit {number}"


def _spec(names: Sequence[str], environments: Sequence[Environment]) -> StreamSpec:
    """Return the spec of a stream of environments.

    Raises:
        DataError: the spaces of the tasks differ, so that one policy cannot act in all of them.
    """
    first: tuple[Any, Any] | None = None
    for index, (name, environment) in enumerate(zip(names, environments, strict=True)):
        spaces = environment.spaces()
        if first is None:
            first = spaces
        equal = (_same_form(spaces[0], first[0]), spaces[1] == first[1])
        for label, space, first_space, is_equal in zip(("observation", "action"), spaces, first, equal, strict=True):
            if not is_equal:
                raise DataError(
                    f"stream.tasks[{index}] ({name}): its {label} space {shorten(space)} differs from the first "
                    f"task's, {shorten(first_space)}; all tasks of a stream must have the same spaces, unless spaces: "
                    "pad is set"
                )
    assert first is not None
    observations = first[0]
    return StreamSpec(
        kind="environment",
        observation_shape=tuple(observations.shape or ()),
        encodable=isinstance(observations, gym.spaces.Box) and bool(observations.shape),
    )


def _same_form(a: gym.Space[Any], b: gym.Space[Any]) -> bool:
    """Return whether spaces are equal except for the bounds of boxes, which other physics may widen."""
    if isinstance(a, gym.spaces.Box) and isinstance(b, gym.spaces.Box):
        return a.shape == b.shape and np.dtype(a.dtype) == np.dtype(b.dtype)
    return a == b
