"""What a learner met while it played, with what it did: what the graph of a policy is checked on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import gymnasium as gym
import numpy as np
from attrs import field, frozen

from rlcl.data.environments.action_masks import random_action, tells_masks
from rlcl.data.sources import Environment
from rlcl.deploy.exporting.fields import space_fields
from rlcl.deploy.exporting.held_out import ROWS, Reference, shown_task
from rlcl.deploy.signature import Field
from rlcl.errors import UnsupportedError
from rlcl.evaluation.measures import source_of
from rlcl.training.trainer import Trainer
from rlcl.types import Graph, masks_actions

__all__ = ["Observed", "observed", "played"]

Array = np.ndarray[Any, Any]
RANDOM = 500  # env steps that are enough to compare by


@frozen(eq=False)
class Observed:
    """How observations reach a bundle.

    Args:
        space: of one environment, as a client meets it.
        fields: the bundle's inputs.
        actions: the space of one environment's.
        flat: whether the learner sees them flattened into one vector; then the graph does it.
    """

    space: gym.Space[Any]
    fields: tuple[Field, ...]
    actions: gym.Space[Any]
    flat: bool

    def source(self, source: Environment) -> Environment:
        """The environment whose observations a client meets."""
        return attrs.evolve(source, flat=False) if self.flat else source

    def rows(self, observation: Any) -> dict[str, Array]:
        """(1, *shape) by the names of fields."""
        return {name: array[None] for name, array in self.batch(observation).items()}

    def batch(self, observations: Any) -> dict[str, Array]:
        """The same of observations side by side, (B, *shape)."""
        named: Mapping[str, Any] = observations if isinstance(self.space, gym.spaces.Dict) else {"input": observations}
        return {f.name: np.asarray(named[f.name]).astype(f.dtype, copy=False) for f in self.fields}

    def seen(self, observation: Any) -> Any:
        """What the learner is given, in a batch of one."""
        if self.flat:
            return np.asarray(gym.spaces.flatten(self.space, observation))[None]
        if isinstance(observation, Mapping):
            return {key: np.asarray(value)[None] for key, value in observation.items()}
        return np.asarray(observation)[None]


def observed(trainer: Trainer) -> Observed:
    """How a client meets the observations of a run's environments.

    Raises:
        UnsupportedError: they are of a kind that no bundle takes, or come with masks of actions.
    """
    source = trainer.stream[0].train
    assert isinstance(source, Environment)
    if masks_actions(trainer.learner) and tells_masks(source):
        raise UnsupportedError(
            f"environment {source.name} tells which actions it allows, and a bundle is told observations alone: it "
            "would act otherwise than it was evaluated; learn without them (ppo has action_masks: false, sb3 the "
            "algorithm PPO)"
        )
    space, actions = source.spaces()
    if source.flat and source.frames == 1:
        parts = attrs.evolve(source, flat=False).spaces()[0]
        try:
            return Observed(parts, space_fields(parts), actions, True)
        except UnsupportedError:  # parts within parts: a client flattens them
            pass
    return Observed(space, space_fields(space), actions, False)


@frozen(eq=False)
class _Steps:
    """Columns of a reference while it grows."""

    inputs: dict[str, list[Array]] = field(factory=dict)
    states: dict[str, list[Array]] = field(factory=dict)
    following: dict[str, list[Array]] = field(factory=dict)
    predicted: list[Array] = field(factory=list)
    experiences: list[int] = field(factory=list)


def played(trainer: Trainer, graph: Graph, how: Observed, *, at_random: bool) -> Reference:
    """At most 2,000 env steps, 500 at random, over all experiences, each in its evaluation environment.

    Args:
        trainer: with the learner's state loaded.
        graph: whose states are named.
        how: observations reach the bundle.
        at_random: whether actions are random, and not the learner's; it answers either way.
    """
    experiences, steps = trainer.stream.evaluated, _Steps()
    count = (RANDOM if at_random else ROWS) // len(experiences)
    for experience in experiences:
        source = source_of(experience, trainer.evaluation)
        assert isinstance(source, Environment)
        task = shown_task(experience, trainer.stream)
        for _ in _play(trainer.learner, how, source, task, at_random, steps, graph, count):
            steps.experiences.append(experience.index)
    joined = ({k: np.concatenate(v) for k, v in c.items()} for c in (steps.inputs, steps.states, steps.following))
    inputs, states, following = joined
    return Reference(
        inputs=inputs,
        labels=None,
        experiences=np.array(steps.experiences, np.int64),
        task_ids=None,
        states=states,
        predicted=np.concatenate(steps.predicted),
        following=following,
    )


def _play(
    learner: Any,
    how: Observed,
    source: Environment,
    task: int | None,
    at_random: bool,
    steps: _Steps,
    graph: Graph,
    count: int,
) -> Iterator[None]:
    env = how.source(source).make()
    env.action_space.seed(source.seed)
    try:
        observation, state, info = None, None, dict[str, Any]()
        seed: int | None = source.seed
        for _ in range(max(count, 1)):
            if observation is None:
                (observation, info), state = env.reset(seed=seed), None
                seed = None
            action, following = learner.predict(how.seen(observation), task, state)
            _append(steps.inputs, how.rows(observation))
            _append(steps.states, _named(graph, state))
            _append(steps.following, _named(graph, following))
            steps.predicted.append(np.asarray(action))
            yield
            allowed = info.get("action_mask")
            chosen = random_action(env.action_space, allowed) if at_random else np.asarray(action)[0]
            observation, _, terminated, truncated, info = env.step(chosen)
            state = following
            if terminated or truncated:
                observation = None
    finally:
        env.close()


def _append(columns: dict[str, list[Array]], rows: Mapping[str, Array]) -> None:
    for name, row in rows.items():
        columns.setdefault(name, []).append(row.copy())


def _named(graph: Graph, state: Sequence[Array] | None) -> dict[str, Array]:
    """A recurrent learner's state (2, 1, K) by name, zeros at the start of an episode."""
    if state is None:
        return {name: np.zeros((1, size), np.float32) for name, size in graph.state.items()}
    return dict(zip(graph.state, state, strict=True)) if graph.state else {}
