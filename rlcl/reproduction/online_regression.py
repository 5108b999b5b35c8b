"""Online regression of R runs at once: small networks under plain SGD, an example a step, in NumPy.

A step of one run is a few dozen multiplications, and calling them costs far more than they do: so all runs step
together. What a run comes to does not depend on the others, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from attrs import define, field

__all__ = ["Array", "Edit", "Lines", "Networks", "Perturbing", "Replacing"]

Array = np.ndarray[Any, np.dtype[np.float32]]

STEPS_DRAWN = 500  # whose noise is drawn at a time


class Edit(Protocol):
    """What changes the weights after each step."""

    def __call__(self, networks: Lines | Networks, h: Array) -> None:
        """
        Args:
            networks: after the step.
            h: (R, U) hidden activations before it; (R, 0) without hidden units.
        """
        ...


@define(kw_only=True, eq=False)
class Lines:
    """R linear regressions of m inputs on one number.

    Args:
        theta: (R, m + 1) float32, weights and then the bias of each run; changes in place with each step.
        lr: learning rate.
        weight_decay: added to the gradient, times the weight.
        edits: after each step, in turn.
    """

    theta: Array
    lr: float
    weight_decay: float = 0.0
    edits: Sequence[Edit] = ()

    def step(self, x: Array, y: Array) -> Array:
        """One step on x (R, m) and y (R,); returns the errors (R,) before it."""
        weights, bias = self.theta[:, :-1], self.theta[:, -1]
        error: Array = (weights * x).sum(1) + bias - y
        gradient = np.concatenate((x, np.ones_like(y)[:, None]), 1) * (2 * error)[:, None]
        descend(self, gradient)
        for edit in self.edits:
            edit(self, x[:, :0])
        return error


@define(kw_only=True, eq=False)
class Networks:
    """R networks of one hidden layer of U rectified units and one output.

    Args:
        theta: (R, P) float32: of each run the hidden weights (U, m), their biases, the output's weights and bias;
            changes in place with each step.
        inputs: m.
        lr: learning rate.
        weight_decay: added to the gradient, times the weight.
        edits: after each step, in turn.
        w, b, v, c: views (R, U, m), (R, U), (R, U) and (R,) of its four parts.
    """

    theta: Array
    inputs: int
    lr: float
    weight_decay: float = 0.0
    edits: Sequence[Edit] = ()
    w: Array = field(init=False)
    b: Array = field(init=False)
    v: Array = field(init=False)
    c: Array = field(init=False)
    _gradient: Array = field(init=False)
    _parts: tuple[Array, Array, Array, Array] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._gradient = np.zeros_like(self.theta)
        self.w, self.b, self.v, self.c = self._views(self.theta)  # once: making them takes half of a step's time
        self._parts = self._views(self._gradient)

    def _views(self, flat: Array) -> tuple[Array, Array, Array, Array]:
        units = (flat.shape[1] - 1) // (self.inputs + 2)
        w, b, v, c = np.split(flat, np.cumsum([units * self.inputs, units, units]), axis=1)
        return w.reshape(-1, units, self.inputs), b, v, c[:, 0]

    def step(self, x: Array, y: Array) -> Array:
        """One step on x (R, m) and y (R,); returns the errors (R,) before it."""
        h = np.maximum((self.w @ x[:, :, None])[:, :, 0] + self.b, 0)
        error: Array = (self.v * h).sum(1) + self.c - y
        w, b, v, c = self._parts
        np.multiply(2, error, out=c)
        np.multiply(c[:, None], h, out=v)
        np.multiply(c[:, None] * self.v, h > 0, out=b)
        np.multiply(b[:, :, None], x[:, None, :], out=w)
        descend(self, self._gradient)
        for edit in self.edits:
            edit(self, h)
        return error


def descend(networks: Lines | Networks, gradient: Array) -> None:
    """A step of plain SGD; the gradient (R, P) is changed where there is a weight decay."""
    if networks.weight_decay:
        gradient += np.float32(networks.weight_decay) * networks.theta
    networks.theta -= np.float32(networks.lr) * gradient  # in place, as in all edits: there are views of it


@define(eq=False)
class Perturbing:
    """Shrink and perturb; see :class:`rlcl.methods.shrink_and_perturb.ShrinkAndPerturb`.

    Args:
        rngs: of the R runs; each draws what the method of its run would.
        decay: share of each weight that is taken off.
        noise: standard deviation of what is added.
    """

    rngs: Sequence[np.random.Generator]
    decay: float
    noise: float
    _drawn: Array = field(init=False, factory=lambda: np.zeros((0, 0, 0), dtype=np.float32))
    _used: int = field(init=False, default=0)

    def __call__(self, networks: Lines | Networks, h: Array) -> None:
        networks.theta *= np.float32(1 - self.decay)
        if self.noise:
            networks.theta += np.float32(self.noise) * self._next(networks.theta.shape[1])

    def _next(self, size: int) -> Array:
        """(R, P) standard normal numbers."""
        if self._used == len(self._drawn):
            drawn = [rng.standard_normal((STEPS_DRAWN, size), dtype=np.float32) for rng in self.rngs]
            self._drawn, self._used = np.stack(drawn, axis=1), 0
        self._used += 1
        found: Array = self._drawn[self._used - 1]
        return found


@define(kw_only=True, eq=False)
class Replacing:
    """Continual backprop; see :class:`rlcl.methods.continual_backprop.ContinualBackprop`.

    Args:
        redraws: of the R runs: fresh hidden weights (U, m) and biases (U,), of which the replaced units' are taken.
        units: U.
        rate: share of the mature units that is replaced at each step; fractions add up.
        maturity: steps for which a fresh unit is left alone.
        decay: of the running means.
    """

    redraws: Sequence[Callable[[], tuple[Array, Array]]]
    units: int
    rate: float
    maturity: int
    decay: float
    replaced: int = field(init=False, default=0)
    _age: Array = field(init=False)
    _mean: Array = field(init=False)
    _value: Array = field(init=False)
    _owed: np.ndarray[Any, np.dtype[np.float64]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        shape = (len(self.redraws), self.units)
        self._age, self._mean, self._value = (np.zeros(shape, dtype=np.float32) for _ in range(3))
        self._owed = np.zeros(len(self.redraws))

    def __call__(self, networks: Lines | Networks, h: Array) -> None:
        assert isinstance(networks, Networks)
        w, v = networks.w, networks.v
        fresh = np.float32(1 - self.decay)
        self._age += 1
        correction = 1 - np.float32(self.decay) ** self._age
        self._mean += fresh * (h - self._mean)
        contribution = np.abs(h - self._mean / correction) * np.abs(v) / np.maximum(np.abs(w).mean(2), 1e-12)
        self._value += fresh * (contribution - self._value)
        mature = self._age > self.maturity
        self._owed += self.rate * mature.sum(1)
        for run in map(int, np.flatnonzero(self._owed >= 1)):
            count = int(self._owed[run])
            self._owed[run] -= count
            useful = np.where(mature[run], self._value[run] / correction[run], np.inf)
            units = useful.argsort(kind="stable")[:count]
            networks.c[run] += (v[run, units] * self._mean[run, units] / correction[run, units]).sum()
            weights, biases = self.redraws[run]()
            w[run, units], networks.b[run, units], v[run, units] = weights[units], biases[units], 0
            self._age[run, units] = self._mean[run, units] = self._value[run, units] = 0
            self.replaced += len(units)
