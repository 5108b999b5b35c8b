"""Parameters of environments and data that drift with the step of a stream, and the functions that they follow."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache

import attrs
import numpy as np
from attrs import frozen

from rlcl.config import option
from rlcl.errors import Problem
from rlcl.types import DriftFunction

__all__ = [
    "Constant",
    "CyclicDrift",
    "Drift",
    "LinearDrift",
    "Piecewise",
    "RandomWalk",
    "Sinusoid",
    "change_steps",
    "drift_values",
    "numbered_permutation",
]

CHUNK = 4096  # moves of a random walk that are sampled together


@frozen(kw_only=True)
class Constant(DriftFunction):
    """A constant.

    Args:
        value: the value.
    """

    value: float = option()

    def __call__(self, step: int) -> float:
        return self.value


@frozen(kw_only=True)
class Piecewise(DriftFunction):
    """Constant pieces.

    Args:
        values: values of the pieces, in order.
        steps: first step of each piece after the first one, in ascending order.
    """

    values: tuple[float, ...] = option()
    steps: tuple[int, ...] = option(ge=1)

    def __attrs_post_init__(self) -> None:
        if len(self.values) != len(self.steps) + 1:
            raise Problem(f"expected {len(self.values) - 1}, one less than values, got {len(self.steps)}", "steps")
        if list(self.steps) != sorted(set(self.steps)):
            raise Problem(f"expected ascending steps, got {list(self.steps)}", "steps")

    def __call__(self, step: int) -> float:
        return self.values[bisect_right(self.steps, step)]

    def changes(self, steps: int) -> Sequence[int]:
        return [step for step in self.steps if step < steps]


@frozen(kw_only=True)
class LinearDrift(DriftFunction):
    """A linear change from one value to another, which are kept before and after it.

    Args:
        start: value before the change.
        end: value after the change.
        steps: steps that the change takes.
        begin: first step of the change.
    """

    start: float = option()
    end: float = option()
    steps: int = option(ge=1)
    begin: int = option(0, ge=0)

    def __call__(self, step: int) -> float:
        progress = min(max((step - self.begin) / self.steps, 0.0), 1.0)
        return self.start + (self.end - self.start) * progress


@frozen(kw_only=True)
class Sinusoid(DriftFunction):
    """A sinusoid, ``mean + amplitude sin(2 pi (step / period + phase))``.

    Args:
        mean: mean value.
        amplitude: maximum distance from the mean.
        period: steps of one period.
        phase: phase at step 0, as a fraction of the period.
    """

    mean: float = option()
    amplitude: float = option()
    period: int = option(ge=1)
    phase: float = option(0.0)

    def __call__(self, step: int) -> float:
        return self.mean + self.amplitude * math.sin(2 * math.pi * (step / self.period + self.phase))


@frozen(kw_only=True)
class RandomWalk(DriftFunction):
    """A random walk with normally distributed moves, reflected at its bounds.

    The value at a step depends on the seed and the step only.

    Args:
        start: first value.
        deviation: standard deviation of a move.
        interval: steps between two moves.
        low: lower bound; null for none.
        high: upper bound; null for none.
        seed: seed of the moves; null for the seed of the run.
    """

    start: float = option()
    deviation: float = option(gt=0)
    interval: int = option(1, ge=1)
    low: float | None = option(None)
    high: float | None = option(None)
    seed: int | None = option(None, ge=0)

    def __attrs_post_init__(self) -> None:
        low, high = self._bounds
        if not low <= self.start <= high or low == high:
            raise Problem(
                f"expected low <= start <= high and low < high, got {low:g}, {self.start:g}, {high:g}", "start"
            )

    @property
    def _bounds(self) -> tuple[float, float]:
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high

    def __call__(self, step: int) -> float:
        moves = step // self.interval
        position = _walked(self.seed or 0, moves // CHUNK)[moves % CHUNK]
        return _reflected(self.start + self.deviation * float(position), *self._bounds)

    def seeded(self, seed: int) -> RandomWalk:
        return self if self.seed is not None else attrs.evolve(self, seed=seed)


@frozen(kw_only=True)
class CyclicDrift(DriftFunction):
    """Values that follow each other in a cycle.

    Args:
        values: values of a cycle.
        interval: steps for which each value is kept.
    """

    values: tuple[float, ...] = option()
    interval: int = option(ge=1)

    def __attrs_post_init__(self) -> None:
        if not self.values:
            raise Problem("expected at least one value, got none", "values")

    def __call__(self, step: int) -> float:
        return self.values[step // self.interval % len(self.values)]

    def changes(self, steps: int) -> Sequence[int]:
        return range(self.interval, steps, self.interval)


@lru_cache(maxsize=64)
def _walked(seed: int, chunk: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the positions (CHUNK,) of a standard walk after the moves of a chunk, of which the first is at 0."""
    before = 0.0 if chunk == 0 else float(_walked(seed, chunk - 1)[-1])
    moves = np.random.default_rng([seed, chunk]).standard_normal(CHUNK)
    if chunk == 0:
        moves[0] = 0.0
    walked: np.ndarray[tuple[int], np.dtype[np.float64]] = before + np.cumsum(moves)
    return walked


def _reflected(value: float, low: float, high: float) -> float:
    """Return a value on the real line, folded into [low, high] by reflections at the bounds."""
    if low <= value <= high:
        return value
    if math.isinf(low):
        return 2 * high - value
    if math.isinf(high):
        return 2 * low - value
    span = high - low
    position = (value - low) % (2 * span)
    return low + (position if position <= span else 2 * span - position)


@frozen(kw_only=True)
class Drift:
    """A parameter that drifts.

    Args:
        parameter: name of the parameter; see the stream.
        function: value of the parameter as a function of the step.
        probes: values at which the learner is evaluated, in addition to the present value.
    """

    parameter: str = option()
    function: DriftFunction = option()
    probes: tuple[float, ...] = option(())

    def at(self, value: float) -> Drift:
        """Return the parameter with a constant value."""
        return attrs.evolve(self, function=Constant(value=value))


def numbered_permutation(number: float, size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
    """Return the permutation (size,) with a number, rounded to a whole one; None for number 0, the original order."""
    index = round(number)
    return None if index == 0 else np.random.default_rng([abs(index), size]).permutation(size)


def drift_values(drifts: Sequence[Drift], step: int) -> dict[str, float]:
    """Return the values of drifting parameters at a step, by the name of the parameter."""
    return {drift.parameter: float(drift.function(step)) for drift in drifts}


def change_steps(drifts: Sequence[Drift], steps: int) -> list[int]:
    """Return the steps in (0, ``steps``) at which any parameter jumps, in ascending order."""
    return sorted({step for drift in drifts for step in drift.function.changes(steps)})
