"""Rollouts of a policy, used to check that its ONNX graph gives the same outputs as the learner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import gymnasium as gym
import numpy as np
from attrs import field, frozen

from rlcl.data.environments.action_masks import provides_masks, random_action
from rlcl.data.sources import Environment
from rlcl.deploy.exporting.fields import space_fields
from rlcl.deploy.exporting.reference_rows import MAX_ROWS, ReferenceRows, visible_task_id
from rlcl.deploy.signature import Field
from rlcl.errors import UnsupportedError
from rlcl.evaluation.measures import source_of
from rlcl.training.trainer import Trainer
from rlcl.types import Graph, masks_actions

__all__ = ["ObservationFormat", "observation_format", "policy_rollouts"]

Array = np.ndarray[Any, Any]
RANDOM_STEPS = 500  # env steps with random actions


@frozen(eq=False)
class ObservationFormat:
    """Format in which clients send observations to a policy.

    Args:
        space: observation space of one environment, in the format of requests.
        fields: input fields of the bundle.
        actions: action space of one environment.
        flat: whether the learner receives flattened observations; the graph then flattens them.
    """

    space: gym.Space[Any]
    fields: tuple[Field, ...]
    actions: gym.Space[Any]
    flat: bool

    def source(self, source: Environment) -> Environment:
        """Return the environment with observations in the format of requests."""
        return attrs.evolve(source, flat=False) if self.flat else source

    def rows(self, observation: Any) -> dict[str, Array]:
        """Convert one observation to arrays (1, *shape) by the names of the fields."""
        return {name: array[None] for name, array in self.batch(observation).items()}

    def batch(self, observations: Any) -> dict[str, Array]:
        """Convert the observations of B environments to arrays (B, *shape) by the names of the fields."""
        named: Mapping[str, Any] = observations if isinstance(self.space, gym.spaces.Dict) else {"input": observations}
        return {f.name: np.asarray(named[f.name]).astype(f.dtype, copy=False) for f in self.fields}

    def learner_input(self, observation: Any) -> Any:
        """Return a batch of one observation in the format that the learner receives."""
        if self.flat:
            return np.asarray(gym.spaces.flatten(self.space, observation))[None]
        if isinstance(observation, Mapping):
            return {key: np.asarray(value)[None] for key, value in observation.items()}
        return np.asarray(observation)[None]


def observation_format(trainer: Trainer) -> ObservationFormat:
    """Return the format in which clients send the observations of a run's environments.

    Raises:
        UnsupportedError: the observation space is not supported, or the policy uses action masks.
    """
    source = trainer.stream[0].train
    assert isinstance(source, Environment)
    if source.requires_masks:
        raise UnsupportedError(
            "a policy of tasks with different actions (stream.spaces: pad) cannot be exported: it needs the mask of a "
            "task's actions, but a bundle receives observations only; use tasks with the same actions"
        )
    if masks_actions(trainer.learner) and provides_masks(source):
        raise UnsupportedError(
            f"a policy with action masks cannot be exported: environment {source.name} provides masks, but a bundle "
            "receives observations only; train without masks (ppo: set action_masks: false; sb3: use the algorithm PPO)"
        )
    space, actions = source.spaces()
    if source.flat and source.frames == 1:
        structured = attrs.evolve(source, flat=False).spaces()[0]
        try:
            return ObservationFormat(structured, space_fields(structured), actions, True)
        except UnsupportedError:  # nested spaces: the client flattens the observations
            pass
    return ObservationFormat(space, space_fields(space), actions, False)


@frozen(eq=False)
class _RolloutColumns:
    """Rows of the rollouts, collected step by step."""

    inputs: dict[str, list[Array]] = field(factory=dict)
    states: dict[str, list[Array]] = field(factory=dict)
    next_states: dict[str, list[Array]] = field(factory=dict)
    predicted: list[Array] = field(factory=list)
    experiences: list[int] = field(factory=list)


def policy_rollouts(trainer: Trainer, graph: Graph, observations: ObservationFormat, *, random: bool) -> ReferenceRows:
    """Collect rollouts in the evaluation environments of all experiences.

    Args:
        trainer: trainer with the learner's state loaded.
        graph: inference graph, which names the states.
        observations: format of the observations in requests.
        random: whether to step the environments with random actions (500 env steps) or with the learner's actions (at
            most 2,000 env steps). The learner's predictions are stored in both cases.
    """
    experiences, columns = trainer.stream.evaluated, _RolloutColumns()
    count = (RANDOM_STEPS if random else MAX_ROWS) // len(experiences)
    for experience in experiences:
        source = source_of(experience, trainer.evaluation)
        assert isinstance(source, Environment)
        task = visible_task_id(experience, trainer.stream)
        for _ in _rollout(trainer.learner, observations, source, task, random, columns, graph, count):
            columns.experiences.append(experience.index)
    inputs, states, next_states = (
        {name: np.concatenate(arrays) for name, arrays in column.items()}
        for column in (columns.inputs, columns.states, columns.next_states)
    )
    return ReferenceRows(
        inputs=inputs,
        labels=None,
        experiences=np.array(columns.experiences, np.int64),
        task_ids=None,
        states=states,
        predicted=np.concatenate(columns.predicted),
        next_states=next_states,
    )


def _rollout(
    learner: Any,
    observations: ObservationFormat,
    source: Environment,
    task: int | None,
    random: bool,
    columns: _RolloutColumns,
    graph: Graph,
    count: int,
) -> Iterator[None]:
    """Step one environment ``count`` times, append each step to ``columns``, and yield after each."""
    env = observations.source(source).make()
    env.action_space.seed(source.seed)
    try:
        observation, state, info = None, None, dict[str, Any]()
        seed: int | None = source.seed
        for _ in range(max(count, 1)):
            if observation is None:
                (observation, info), state = env.reset(seed=seed), None
                seed = None
            action, next_states = learner.predict(observations.learner_input(observation), task, state)
            _append(columns.inputs, observations.rows(observation))
            _append(columns.states, _named_states(graph, state))
            _append(columns.next_states, _named_states(graph, next_states))
            columns.predicted.append(np.asarray(action))
            yield
            mask = info.get("action_mask")
            env_action = random_action(env.action_space, mask) if random else np.asarray(action)[0]
            observation, _, terminated, truncated, info = env.step(env_action)
            state = next_states
            if terminated or truncated:
                observation = None
    finally:
        env.close()


def _append(columns: dict[str, list[Array]], rows: Mapping[str, Array]) -> None:
    for name, row in rows.items():
        columns.setdefault(name, []).append(row.copy())


def _named_states(graph: Graph, state: Sequence[Array] | None) -> dict[str, Array]:
    """Return a recurrent learner's state (2, 1, K) by name, zeros at the start of an episode."""
    if state is None:
        return {name: np.zeros((1, size), np.float32) for name, size in graph.state.items()}
    return dict(zip(graph.state, state, strict=True)) if graph.state else {}
