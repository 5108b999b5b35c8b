"""Reference data for monitoring a policy: whole episodes with the actions of the ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import gymnasium as gym
import numpy as np
from attrs import define, field, frozen

from rlcl.data.sources import Environment
from rlcl.deploy.exporting.policy_rollouts import ObservationFormat
from rlcl.deploy.exporting.reference_rows import MAX_ROWS
from rlcl.deploy.model import Model
from rlcl.deploy.monitoring.episode_summaries import MAX_STEPS, EpisodeSummary
from rlcl.deploy.monitoring.reference import KINDS, is_discrete, step_tables
from rlcl.evaluation.measures import source_of
from rlcl.training.trainer import Trainer

__all__ = ["MIN_EPISODES", "policy_reference"]

Array = np.ndarray[Any, Any]

MIN_EPISODES = 50  # more episodes make the comparison with a window of twenty more precise


@frozen(eq=False)
class RolloutStep:
    """One env step of one episode.

    Args:
        index: indices of the episode and of the step in it, both from 0.
        arrays: (*shape) arrays by name: the names of the inputs, ``output.NAME`` for each output, and ``experience``.
    """

    index: tuple[int, int]
    arrays: Mapping[str, Array]


@define(eq=False)
class StepSample:
    """Sample of at most 2,000 evenly spaced steps; the total number of steps need not be known in advance."""

    spacing: int = field(init=False, default=1)
    _steps: list[RolloutStep] = field(init=False, factory=list)

    def add(self, step: RolloutStep) -> None:
        """Add a step if the present spacing selects it; double the spacing if there are too many steps."""
        if self._selects(step):
            self._steps.append(step)
        while len(self._steps) > MAX_ROWS:
            self.spacing *= 2
            self._steps = [step for step in self._steps if self._selects(step)]

    def _selects(self, step: RolloutStep) -> bool:
        """Return True for every ``spacing``-th step, with another first step in each episode."""
        return sum(step.index) % self.spacing == 0

    def arrays(self) -> dict[str, Array]:
        """Return the sample as arrays (N, *shape) by name, in the order of episodes and steps."""
        steps = sorted(self._steps, key=lambda step: step.index)
        return {name: np.stack([step.arrays[name] for step in steps]) for name in steps[0].arrays}


def policy_reference(trainer: Trainer, model: Model, observations: ObservationFormat) -> dict[str, Array]:
    """Return the arrays of a policy's ``reference.safetensors``.

    They describe at least 50 episodes and at least 2,000 env steps, with equally many episodes in every experience.
    Actions come from the ONNX graph, so the reference data have the format of served requests.

    Args:
        trainer: trainer with the stream.
        model: model of the bundle.
        observations: format of the observations in requests.
    """
    actions = _discrete_actions(observations, model)
    sample, summaries, experiences = StepSample(), list[EpisodeSummary](), trainer.stream.evaluated
    count, steps, first = -(-MIN_EPISODES // len(experiences)), 0, 0
    while steps < MAX_ROWS:
        for experience in experiences:
            source = source_of(experience, trainer.evaluation)
            assert isinstance(source, Environment)
            first_episode, episodes = len(summaries), [EpisodeSummary() for _ in range(count)]
            for running, inputs, outputs in _run_episodes(model, observations, source, first, count):
                tables = step_tables(model.signature, model, inputs, outputs, actions)
                arrays = {**inputs, **{f"output.{name}": array for name, array in outputs.items()}}
                for row in running.tolist():
                    step_arrays = {name: array[row] for name, array in arrays.items()}
                    step_arrays["experience"] = np.array(experience.index)
                    sample.add(RolloutStep((first_episode + row, episodes[row].steps), step_arrays))
                    episodes[row].add({kind: table[row] for kind, table in tables.items()})
                steps += len(running)
            summaries += episodes
        first += count
    rows = [summary.rows(actions is not None) for summary in summaries]
    episode_tables = {f"episodes.{kind}": np.stack([row[kind] for row in rows]) for kind in KINDS}
    action_values = {} if actions is None else {"episodes.actions": actions}
    return {**sample.arrays(), **episode_tables, **action_values, "spacing": np.array([sample.spacing])}


def _run_episodes(
    model: Model, observations: ObservationFormat, source: Environment, first: int, count: int
) -> Iterator[tuple[Array, dict[str, Array], dict[str, Array]]]:
    """Run one episode in each of ``count`` environments until it ends, or for at most 500 env steps.

    Yields:
        The indices of the environments whose episode has not ended, and the observations and model outputs of all
        environments by name.
    """
    vector = attrs.evolve(observations.source(source), vectorization="sync").make_vector(count)
    signature, running = model.signature, np.ones(count, bool)
    state = {part.name: np.zeros((count, *part.shape), part.dtype) for part in signature.state}
    try:
        batch, _ = vector.reset(seed=source.seed + first)
        for _ in range(MAX_STEPS):
            inputs = observations.batch(batch)
            outputs = model.run({**inputs, **state})
            yield np.flatnonzero(running), inputs, {part.name: outputs[part.name] for part in signature.outputs}
            state = {name: outputs[f"{name}.next"] for name in state}
            batch, _, terminated, truncated, _ = vector.step(outputs[signature.outputs[0].name])
            running &= ~(terminated | truncated)
            if not running.any():
                return
    finally:
        vector.close()


def _discrete_actions(observations: ObservationFormat, model: Model) -> Array | None:
    """Return all actions of a discrete action space; None for other spaces."""
    if not isinstance(observations.actions, gym.spaces.Discrete) or not is_discrete(model.signature.outputs[0]):
        return None
    return np.arange(int(observations.actions.n), dtype=np.int64) + int(observations.actions.start)
