"""Sequences of environments, for continual reinforcement learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import gymnasium as gym
import numpy as np
from attrs import frozen

from rlcl.config import option
from rlcl.data.environments.contract import shorten
from rlcl.data.environments.environment import Environment, Vectorization, environment_class
from rlcl.data.environments.wrappers import EnvironmentWrapper, check_wrapper
from rlcl.errors import DataError, Problem
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


@frozen(kw_only=True)
class EnvironmentTask:
    """One experience of a stream of environments.

    Args:
        env: Gymnasium id, ``module:Id``, or a class or function (``file.py:name``); by default that of the stream.
        kwargs: keyword arguments, in addition to those of the stream.
        attributes: attributes of the unwrapped environment, in addition to those of the stream.
        wrappers: wrappers, outside of those of the stream.
        name: human-readable name.
    """

    env: str | None = option(None)
    kwargs: Mapping[str, Any] = option(factory=dict)
    attributes: Mapping[str, Any] = option(factory=dict)
    wrappers: tuple[str | EnvironmentWrapper, ...] = option((), converter=_wrappers)
    name: str = option("")


@frozen(kw_only=True)
class Environments:
    """Sequence of Gymnasium environments: each task is an experience with its own kwargs and attributes.

    Args:
        env: Gymnasium id, ``module:Id``, or a class or function that makes an environment (``file.py:name``,
            ``module:name``).
        kwargs: keyword arguments of every environment.
        attributes: attributes of every unwrapped environment, for example ``{gravity: 20}``; a key may be a path
            (``model.opt.gravity``).
        wrappers: wrappers around every environment, the innermost first: names of ``gymnasium.wrappers``,
            ``module:Class`` or ``file.py:Class``; with keyword arguments ``{wrapper: TimeLimit, kwargs: {...}}``.
        tasks: differences of each task from these settings; by default one task without differences.
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
    num_envs: int = option(1, ge=1)
    vectorization: Vectorization = option("sync")
    visibility: Visibility = option(factory=Visibility)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        if not self.tasks:
            raise Problem("tasks: expected at least one task")
        experiences = tuple(
            Experience(
                index=index,
                name=_name(self, task),
                train=self._environment(task, seeds.child(f"environment {index}").integer()),
                test=self._environment(task, seeds.child(f"test environment {index}").integer()),
                validation=self._environment(task, seeds.child(f"validation environment {index}").integer()),
                budget=budget,
                task_id=index,
            )
            for index, task in enumerate(self.tasks)
        )
        return Stream(experiences, _spec(experiences), self.visibility)

    def _environment(self, task: EnvironmentTask, seed: int) -> Environment:
        return Environment(
            env=environment_class(task.env or self.env),
            kwargs={**self.kwargs, **task.kwargs},
            attributes={**self.attributes, **task.attributes},
            wrappers=(*self.wrappers, *task.wrappers),  # type: ignore[arg-type]  # the converter leaves no names
            num_envs=self.num_envs,
            vectorization=self.vectorization,
            seed=seed,
            name=PurePath(task.env or self.env).name if ".py:" in (task.env or self.env) else task.env or self.env,
        )


def _name(stream: Environments, task: EnvironmentTask) -> str:
    changes = ", ".join(f"{k} {v}" for k, v in {**task.kwargs, **task.attributes}.items())
    return task.name or " ".join(filter(None, [PurePath(task.env or stream.env).name, changes]))


def _spec(experiences: tuple[Experience, ...]) -> StreamSpec:
    """Return the spec of a stream of environments.

    Raises:
        DataError: the spaces of the tasks differ, so that one policy cannot act in all of them.
    """
    first: tuple[Any, Any] | None = None
    for experience in experiences:
        spaces = experience.environment.spaces()
        if first is None:
            first = spaces
        equal = (_same_form(spaces[0], first[0]), spaces[1] == first[1])
        for label, space, first_space, is_equal in zip(("observation", "action"), spaces, first, equal, strict=True):
            if not is_equal:
                raise DataError(
                    f"stream.tasks[{experience.index}] ({experience.name}): its {label} space {shorten(space)} "
                    f"differs from the first task's, {shorten(first_space)}; all tasks of a stream must have the same "
                    "spaces"
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
