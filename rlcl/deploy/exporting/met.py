"""What a policy is watched against: whole episodes that it played, asked as a server would ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import gymnasium as gym
import numpy as np
from attrs import define, field, frozen

from rlcl.data.sources import Environment
from rlcl.deploy.exporting.held_out import ROWS
from rlcl.deploy.exporting.played import Observed
from rlcl.deploy.model import Model
from rlcl.deploy.monitoring.reference import KINDS, is_discrete, steps_of
from rlcl.deploy.monitoring.summaries import LONGEST, Summary
from rlcl.evaluation.measures import source_of
from rlcl.training.trainer import Trainer

__all__ = ["EPISODES", "met"]

Array = np.ndarray[Any, Any]

EPISODES = 50  # side by side, as in evaluation: the more, the surer is a window of twenty


@frozen(eq=False)
class Step:
    """One env step of one episode.

    Args:
        place: of the episode and of the step in it, both from 0.
        arrays: (*shape) by the names of inputs, of ``output.NAME``, and ``experience``.
    """

    place: tuple[int, int]
    arrays: Mapping[str, Array]


@define(eq=False)
class Spread:
    """At most 2,000 steps, evenly spread over all that were met, however many will be."""

    spacing: int = field(init=False, default=1)
    _steps: list[Step] = field(init=False, factory=list)

    def add(self, step: Step) -> None:
        if self._chosen(step):
            self._steps.append(step)
        while len(self._steps) > ROWS:
            self.spacing *= 2
            self._steps = [step for step in self._steps if self._chosen(step)]

    def _chosen(self, step: Step) -> bool:
        """Each episode begins at another of the first steps."""
        return sum(step.place) % self.spacing == 0

    def arrays(self) -> dict[str, Array]:
        """(N, *shape) by name, episode by episode."""
        steps = sorted(self._steps, key=lambda step: step.place)
        return {name: np.stack([step.arrays[name] for step in steps]) for name in steps[0].arrays}


def met(trainer: Trainer, model: Model, how: Observed) -> dict[str, Array]:
    """What ``reference.safetensors`` holds of a policy.

    At least 50 episodes over all experiences alike, and as many more as make 2,000 env steps. The graph itself is
    asked, so what it makes of an observation is what it will make of it in service.

    Args:
        trainer: of the stream.
        model: the bundle's.
        how: observations reach it.
    """
    known = _actions(how, model)
    spread, summaries, experiences = Spread(), list[Summary](), trainer.stream.evaluated
    count, steps, first = -(-EPISODES // len(experiences)), 0, 0
    while steps < ROWS:
        for experience in experiences:
            source = source_of(experience, trainer.evaluation)
            assert isinstance(source, Environment)
            begun, running = len(summaries), [Summary() for _ in range(count)]
            for alive, inputs, outputs in _played(model, how, source, first, count):
                tables = steps_of(model.signature, model, inputs, outputs, known)
                named = {**inputs, **{f"output.{name}": array for name, array in outputs.items()}}
                for row in alive.tolist():
                    own = {name: array[row] for name, array in named.items()}
                    own["experience"] = np.array(experience.index)
                    spread.add(Step((begun + row, running[row].steps), own))
                    running[row].add({kind: table[row] for kind, table in tables.items()})
                steps += len(alive)
            summaries += running
        first += count
    rows = [summary.rows(known is not None) for summary in summaries]
    tables = {f"episodes.{kind}": np.stack([row[kind] for row in rows]) for kind in KINDS}
    actions = {} if known is None else {"episodes.actions": known}
    return {**spread.arrays(), **tables, **actions, "spacing": np.array([spread.spacing])}


def _played(
    model: Model, how: Observed, source: Environment, first: int, count: int
) -> Iterator[tuple[Array, dict[str, Array], dict[str, Array]]]:
    """One episode in each of so many environments, to its end or to 500 env steps.

    Yields:
        Which of them still run, and all their observations and the model's answers, by name.
    """
    vector = attrs.evolve(how.source(source), vectorization="sync").make_vector(count)
    signature, running = model.signature, np.ones(count, bool)
    state = {part.name: np.zeros((count, *part.shape), part.dtype) for part in signature.state}
    try:
        observations, _ = vector.reset(seed=source.seed + first)
        for _ in range(LONGEST):
            inputs = how.batch(observations)
            found = model.run({**inputs, **state})
            yield np.flatnonzero(running), inputs, {part.name: found[part.name] for part in signature.outputs}
            state = {name: found[f"{name}.next"] for name in state}
            observations, _, terminated, truncated, _ = vector.step(found[signature.outputs[0].name])
            running &= ~(terminated | truncated)
            if not running.any():
                return
    finally:
        vector.close()


def _actions(how: Observed, model: Model) -> Array | None:
    """All actions, where one is a whole number."""
    if not isinstance(how.actions, gym.spaces.Discrete) or not is_discrete(model.signature.outputs[0]):
        return None
    return np.arange(int(how.actions.n), dtype=np.int64) + int(how.actions.start)
