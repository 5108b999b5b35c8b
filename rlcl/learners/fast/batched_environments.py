"""Environments and generators of several learners at work at once, each as it would be alone."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from rlcl_envs.vector import ClassicVector

from rlcl.learners.reinforcement.collecting import Collector, Step

__all__ = ["Collectors", "Generators"]

Array = np.ndarray[Any, Any]

OF_EACH = ("observations", "_returns", "_lengths", "_discounted")  # (N, ...) of each environment


class Generators:
    """Draws for S * N rows: those of each generator, for N rows, one after the other."""

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self._generators = generators

    def _each(self, rows: int) -> int:
        return rows // len(self._generators)

    def random(self, size: int) -> Array:
        return np.concatenate([g.random(self._each(size)) for g in self._generators])

    def integers(self, high: int, size: int) -> Array:
        return np.concatenate([g.integers(high, size=self._each(size)) for g in self._generators])

    def gumbel(self, size: tuple[int, int]) -> Array:
        return np.concatenate([g.gumbel(size=(self._each(size[0]), size[1])) for g in self._generators])

    def standard_normal(self, size: tuple[int, int], dtype: Any) -> Array:
        shape = self._each(size[0]), size[1]
        return np.concatenate([g.standard_normal(shape, dtype=dtype) for g in self._generators])


class Unwatched:
    """Counts steps; what environments give is looked at by the collector whose they are, at its events.

    Here it would be an error of all of them.
    """

    steps = 0

    def step(self, *_: Any) -> None:
        self.steps += 1


class Collectors:
    """Collectors whose environments step together.

    Args:
        parts: the collectors.
        whole: of as many environments as all of them have.
    """

    def __init__(self, parts: Sequence[Collector], whole: Collector) -> None:
        self.parts = list(parts)
        self._whole = whole
        self._vectors = [part.vector.unwrapped for part in parts]
        self._each = len(parts[0])

    @classmethod
    def of(cls, parts: Sequence[Collector]) -> Collectors | None:
        """None where each must step alone: other environments than ours, encoders that go on learning, masks."""
        vectors = [part.vector.unwrapped for part in parts]
        alike = all(isinstance(vector, ClassicVector) for vector in vectors)
        if not alike or any(part.learns or part.masks is not None for part in parts):
            return None
        whole = copy.copy(parts[0])
        whole.vector = parts[0].source.make_vector(sum(map(len, parts)))
        return cls(parts, whole)

    @contextmanager
    def at_work(self) -> Iterator[Collectors]:
        """Goes on where the parts are, and leaves them where it has come to."""
        whole, vector = self._whole, self._whole.vector.unwrapped
        vector.take(self._vectors)  # type: ignore[attr-defined]
        for name in OF_EACH:
            setattr(whole, name, np.concatenate([getattr(part, name) for part in self.parts]))
        whole.episodes, whole.fresh = deque(), self.parts[0].fresh
        whole._watch = Unwatched()  # type: ignore[assignment]
        yield self
        vector.give(self._vectors)  # type: ignore[attr-defined]
        for i, part in enumerate(self.parts):
            rows = slice(i * self._each, (i + 1) * self._each)
            for name in OF_EACH:
                setattr(part, name, getattr(whole, name)[rows].copy())
            part.fresh = whole.fresh
            part._watch.steps += whole._watch.steps

    masks = None

    @property
    def fresh(self) -> bool:
        """See :class:`rlcl.learners.reinforcement.collecting.Collector`."""
        return self._whole.fresh

    @property
    def observations(self) -> Array:
        """(S * N, *observation)."""
        return self._whole.observations

    def encode(self, observations: Array) -> Array:
        """See :class:`rlcl.learners.reinforcement.collecting.Collector`."""
        return self._whole.encode(observations)

    def step(self, actions: Array) -> Step:
        """Acts in every environment of all; actions (S * N, *action)."""
        whole = self._whole
        step = whole.step(actions)
        if whole.episodes:
            for i, episode in zip(np.flatnonzero(step.ended).tolist(), whole.episodes, strict=True):
                part = self.parts[i // self._each]
                part.episodes.append(episode)
                part.finished += 1
            whole.episodes.clear()
        return step
