"""Online regression of R runs at once in NumPy: small networks, plain SGD, one example per step.

A step of one run takes a few dozen multiplications, and the call overhead exceeds their cost. Therefore all runs
step together. The result of a run is bitwise independent of the other runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from attrs import define, field

__all__ = [
    "Array",
    "ContinualBackpropEdit",
    "HiddenLayerRegressions",
    "LinearRegressions",
    "ShrinkAndPerturbEdit",
    "WeightEdit",
]

Array = np.ndarray[Any, np.dtype[np.float32]]

NOISE_STEPS = 500  # number of steps whose noise is sampled at once


class WeightEdit(Protocol):
    """Change of the weights after each step."""

    def __call__(self, networks: LinearRegressions | HiddenLayerRegressions, h: Array) -> None:
        """Change the weights in place.

        Args:
            networks: the networks after the step.
            h: (R, U) hidden activations before the step; (R, 0) without hidden units.
        """
        ...


@define(kw_only=True, eq=False)
class LinearRegressions:
    """R linear regressions with m inputs and one output.

    Args:
        theta: (R, m + 1) float32, weights and bias of each run; each step changes it in place.
        lr: learning rate.
        weight_decay: this number times the weights is added to the gradient.
        edits: changes of the weights after each step, applied in order.
    """

    theta: Array
    lr: float
    weight_decay: float = 0.0
    edits: Sequence[WeightEdit] = ()

    def step(self, x: Array, y: Array) -> Array:
        """Take one step on x (R, m) and y (R,); return the errors (R,) before the step."""
        weights, bias = self.theta[:, :-1], self.theta[:, -1]
        error: Array = (weights * x).sum(1) + bias - y
        gradient = np.concatenate((x, np.ones_like(y)[:, None]), 1) * (2 * error)[:, None]
        descend(self, gradient)
        for edit in self.edits:
            edit(self, x[:, :0])
        return error


@define(kw_only=True, eq=False)
class HiddenLayerRegressions:
    """R networks with one hidden layer of U rectified units and one output.

    Args:
        theta: (R, P) float32: hidden weights (U, m), hidden biases, output weights and output bias of each run;
            each step changes it in place.
        inputs: number of inputs m.
        lr: learning rate.
        weight_decay: this number times the weights is added to the gradient.
        edits: changes of the weights after each step, applied in order.
        w, b, v, c: views (R, U, m), (R, U), (R, U) and (R,) of the four parts of ``theta``.
    """

    theta: Array
    inputs: int
    lr: float
    weight_decay: float = 0.0
    edits: Sequence[WeightEdit] = ()
    w: Array = field(init=False)
    b: Array = field(init=False)
    v: Array = field(init=False)
    c: Array = field(init=False)
    _gradient: Array = field(init=False)
    _gradient_views: tuple[Array, Array, Array, Array] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._gradient = np.zeros_like(self.theta)
        # The views are created once, because this takes half the time of a step.
        self.w, self.b, self.v, self.c = self._views(self.theta)
        self._gradient_views = self._views(self._gradient)

    def _views(self, flat: Array) -> tuple[Array, Array, Array, Array]:
        units = (flat.shape[1] - 1) // (self.inputs + 2)
        w, b, v, c = np.split(flat, np.cumsum([units * self.inputs, units, units]), axis=1)
        return w.reshape(-1, units, self.inputs), b, v, c[:, 0]

    def step(self, x: Array, y: Array) -> Array:
        """Take one step on x (R, m) and y (R,); return the errors (R,) before the step."""
        h = np.maximum((self.w @ x[:, :, None])[:, :, 0] + self.b, 0)
        error: Array = (self.v * h).sum(1) + self.c - y
        w, b, v, c = self._gradient_views
        np.multiply(2, error, out=c)
        np.multiply(c[:, None], h, out=v)
        np.multiply(c[:, None] * self.v, h > 0, out=b)
        np.multiply(b[:, :, None], x[:, None, :], out=w)
        descend(self, self._gradient)
        for edit in self.edits:
            edit(self, h)
        return error


def descend(networks: LinearRegressions | HiddenLayerRegressions, gradient: Array) -> None:
    """Take a step of plain SGD; with a weight decay, the gradient (R, P) is changed in place."""
    if networks.weight_decay:
        gradient += np.float32(networks.weight_decay) * networks.theta
    networks.theta -= np.float32(networks.lr) * gradient  # in place like all edits, because theta has views


@define(eq=False)
class ShrinkAndPerturbEdit:
    """Shrink and perturb; see :class:`rlcl.methods.shrink_and_perturb.ShrinkAndPerturb`.

    Args:
        rngs: generators of the R runs; each samples the same noise as the method of its run.
        decay: share of each weight that is subtracted.
        noise: standard deviation of the added noise.
    """

    rngs: Sequence[np.random.Generator]
    decay: float
    noise: float
    _samples: Array = field(init=False, factory=lambda: np.zeros((0, 0, 0), dtype=np.float32))
    _used: int = field(init=False, default=0)

    def __call__(self, networks: LinearRegressions | HiddenLayerRegressions, h: Array) -> None:
        networks.theta *= np.float32(1 - self.decay)
        if self.noise:
            networks.theta += np.float32(self.noise) * self._next_noise(networks.theta.shape[1])

    def _next_noise(self, size: int) -> Array:
        """Return the next standard normal noise (R, P)."""
        if self._used == len(self._samples):
            samples = [rng.standard_normal((NOISE_STEPS, size), dtype=np.float32) for rng in self.rngs]
            self._samples, self._used = np.stack(samples, axis=1), 0
        self._used += 1
        noise: Array = self._samples[self._used - 1]
        return noise


@define(kw_only=True, eq=False)
class ContinualBackpropEdit:
    """Continual backprop; see :class:`rlcl.methods.continual_backprop.ContinualBackprop`.

    Args:
        redraws: functions of the R runs that sample hidden weights (U, m) and biases (U,) for the replaced units.
        units: number of hidden units U.
        rate: share of the mature units that is replaced at each step; fractions of a unit accumulate.
        maturity: steps after its replacement for which a unit is not replaced again.
        decay: decay of the running means.
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

    def __call__(self, networks: LinearRegressions | HiddenLayerRegressions, h: Array) -> None:
        assert isinstance(networks, HiddenLayerRegressions)
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
