"""Physical parameters, which can differ between environments and change during a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["Parameter", "parameters"]

Values = np.ndarray[Any, np.dtype[np.float64]]


class Parameter:
    """An attribute of a vector environment with one number for each environment, (num_envs,) float64.

    Assigning one number sets it for all environments. The array is read-only, so that values derived from it are
    always up to date.

    Args:
        default: Gymnasium's value.
        above: exclusive lower bound, if any.
        low: inclusive lower bound, if any.
        high: inclusive upper bound, if larger values would leave the observation or action space.
    """

    def __init__(
        self, default: float, *, above: float | None = None, low: float | None = None, high: float | None = None
    ) -> None:
        self.default, self.above, self.low, self.high = default, above, low, high
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, env: Any, owner: type) -> Any:
        return self if env is None else env._physics[self.name]

    def __set__(self, env: Any, value: Any) -> None:
        env.set_physics(**{self.name: value})

    def checked(self, value: Any, count: int) -> Values:
        """Return the checked values of ``count`` environments, (count,) and read-only.

        Raises:
            ValueError: ``value`` is neither one number nor ``count`` numbers, is not finite, or is out of range.
        """
        if type(value) is float and self._contains(value):  # a drifting parameter changes at each step
            values = np.full(count, value)
            values.flags.writeable = False
            return values
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.empty((0, 0))
        if array.shape not in {(), (1,), (count,)}:
            raise ValueError(f"{self.name}: expected a number, or one for each of {count} environments, got {value!r}")
        invalid = ~self._is_allowed(array)
        if invalid.any():
            raise ValueError(f"{self.name}: expected {self._range()}, got {array[invalid].flat[0]:g}")
        values = np.broadcast_to(array, (count,)).copy()
        values.flags.writeable = False
        return values

    def _contains(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.above is None or value > self.above)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
        )

    def _is_allowed(self, values: Values) -> np.ndarray[Any, np.dtype[np.bool_]]:
        allowed = np.isfinite(values)
        if self.above is not None:
            allowed &= values > self.above
        if self.low is not None:
            allowed &= values >= self.low
        if self.high is not None:
            allowed &= values <= self.high
        return np.asarray(allowed)

    def _range(self) -> str:
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (("above", self.above), ("at least", self.low), ("at most", self.high))
            if bound is not None
        ]
        return f"a finite number {' and '.join(bounds)}".rstrip()


def parameters(owner: type) -> Mapping[str, Parameter]:
    """Return the parameters of the class of a vector environment, by name."""
    return {name: value for name, value in vars(owner).items() if isinstance(value, Parameter)}
