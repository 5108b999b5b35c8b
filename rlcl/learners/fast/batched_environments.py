"""Batched stepping of the environments and generators of several learners, with the same results as one by one."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from rlcl_envs.vector import ClassicVector

from rlcl.learners.reinforcement.collector import Collector, StepResult

__all__ = ["BatchedCollector", "BatchedGenerators"]

Array = np.ndarray[Any, Any]

PER_ENVIRONMENT = ("observations", "_returns", "_lengths", "_discounted")  # attributes of a collector, (N, ...) each


class BatchedGenerators:
    """Random numbers for S * N rows, of which each of S generators samples N consecutive rows.

    The methods are those of ``numpy.random.Generator``.
    """

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self._generators = generators

    def _rows_per_generator(self, rows: int) -> int:
        return rows // len(self._generators)

    def random(self, size: int) -> Array:
        return np.concatenate([g.random(self._rows_per_generator(size)) for g in self._generators])

    def integers(self, high: int, size: int) -> Array:
        return np.concatenate([g.integers(high, size=self._rows_per_generator(size)) for g in self._generators])

    def gumbel(self, size: tuple[int, int]) -> Array:
        return np.concatenate([g.gumbel(size=(self._rows_per_generator(size[0]), size[1])) for g in self._generators])

    def standard_normal(self, size: tuple[int, int], dtype: Any) -> Array:
        shape = self._rows_per_generator(size[0]), size[1]
        return np.concatenate([g.standard_normal(shape, dtype=dtype) for g in self._generators])


class StepCounter:
    """Replacement of a collector's environment checks that only counts steps.

    Each learner's own collector checks the values of its environments at its events. A check of the joint collector
    would fail for all learners.
    """

    steps = 0

    def check_step(self, *_: Any) -> None:
        self.steps += 1


class BatchedCollector:
    """Collector that steps the environments of several collectors together.

    Args:
        collectors: collectors of S learners, each with N environments.
        joint: collector with S * N environments.
    """

    def __init__(self, collectors: Sequence[Collector], joint: Collector) -> None:
        self.collectors = list(collectors)
        self._joint = joint
        self._vectors = [collector.vector.unwrapped for collector in collectors]
        self._num_envs = len(collectors[0])

    @classmethod
    def of(cls, collectors: Sequence[Collector]) -> BatchedCollector | None:
        """Combine collectors, or return None if their environments cannot step together.

        Not supported are environments other than :class:`ClassicVector`, wrappers that act on them (drift, hidden ends
        of episodes), encoders that keep fitting, and action masks.
        """
        vectors = [collector.vector.unwrapped for collector in collectors]
        supported = all(isinstance(vector, ClassicVector) for vector in vectors) and not any(
            collector.source.drift or collector.source.continuing for collector in collectors
        )
        if not supported or any(collector.fits_encoder or collector.masks is not None for collector in collectors):
            return None
        joint = copy.copy(collectors[0])
        joint.vector = collectors[0].source.make_vector(sum(map(len, collectors)))
        return cls(collectors, joint)

    @contextmanager
    def synchronized(self) -> Iterator[BatchedCollector]:
        """Load the states of the collectors, and write the new states back at the end of the context."""
        joint, vector = self._joint, self._joint.vector.unwrapped
        vector.gather(self._vectors)  # type: ignore[attr-defined]
        for name in PER_ENVIRONMENT:
            setattr(joint, name, np.concatenate([getattr(collector, name) for collector in self.collectors]))
        joint.episodes, joint.fresh = deque(), self.collectors[0].fresh
        joint._checks = StepCounter()  # type: ignore[assignment]
        yield self
        vector.scatter(self._vectors)  # type: ignore[attr-defined]
        for i, collector in enumerate(self.collectors):
            rows = slice(i * self._num_envs, (i + 1) * self._num_envs)
            for name in PER_ENVIRONMENT:
                setattr(collector, name, getattr(joint, name)[rows].copy())
            collector.fresh = joint.fresh
            collector._checks.steps += joint._checks.steps

    masks = None

    @property
    def fresh(self) -> bool:
        """See :class:`rlcl.learners.reinforcement.collector.Collector`."""
        return self._joint.fresh

    @property
    def observations(self) -> Array:
        """Observations (S * N, *observation) of all environments."""
        return self._joint.observations

    def encode(self, observations: Array) -> Array:
        """See :class:`rlcl.learners.reinforcement.collector.Collector`."""
        return self._joint.encode(observations)

    def step(self, actions: Array) -> StepResult:
        """Step all environments with actions (S * N, *action)."""
        joint = self._joint
        step = joint.step(actions)
        if joint.episodes:
            for i, episode in zip(np.flatnonzero(step.ended).tolist(), joint.episodes, strict=True):
                collector = self.collectors[i // self._num_envs]
                collector.episodes.append(episode)
                collector.finished += 1
                collector.finished_rewards += episode[0]
            joint.episodes.clear()
        return step
