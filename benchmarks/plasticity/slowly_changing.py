"""Loss of plasticity on the slowly changing regression: five learners, many independent runs in one network.

The stream is rlcl's, a seed a run. A step of one run is a few dozen multiplications, and calling them costs far
more than they do: so all runs step together, in NumPy. A test holds these steps equal to rlcl's own regressor
under sgd, shrink_and_perturb and continual_backprop, on one run.

    python benchmarks/plasticity/slowly_changing.py [examples] [runs] [flipped | redrawn]

Errors are online: each example's before the update it serves. Expected order of the last 100,000 of a million
(Dohare et al. 2024): continual backprop below shrink and perturb and L2, those below linear, and that below
backprop, which ends worse than it began.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import define, field, frozen

from rlcl.data.sources import LabelledArrays
from rlcl.seeding import Seeds
from rlcl.streams.slowly_changing_regression import SlowlyChangingRegression
from rlcl.streams.stream import Stream
from rlcl.types import Budget

RESULTS = Path(__file__).parents[1] / "results" / "plasticity_slowly_changing.json"
LR, UNITS, PERIOD = 0.01, 5, 10_000
WEIGHT_DECAY, SHRINK, NOISE = 1e-2, 1e-3, 1e-3  # the weight decay is times the learning rate, the shrinking is not
RATE, MATURITY, DECAY = 1e-4, 100, 0.99

Array = np.ndarray[Any, np.dtype[np.float32]]


@define(eq=False)
class Linear:
    """R linear regressions of m bits.

    Args:
        theta: (R, m + 1) float32, weights and then the bias of each run.
        weight_decay: added to the gradient, times the weight.
    """

    theta: Array
    weight_decay: float = 0.0

    def step(self, x: Array, y: Array) -> Array:
        """One step on x (R, m) and y (R,); returns the errors (R,) before it."""
        weights, bias = self.theta[:, :-1], self.theta[:, -1]
        error = (weights * x).sum(1) + bias - y
        gradient = np.concatenate((x, np.ones_like(y)[:, None]), 1) * (2 * error)[:, None]
        self.theta -= LR * (gradient + self.weight_decay * self.theta)
        return error


@define(eq=False)
class Networks:
    """R networks of one hidden layer of U rectified units.

    Args:
        theta: (R, P) float32: of each run the hidden weights (U, m), their biases, the output's weights and bias.
        bits: m.
        weight_decay: added to the gradient, times the weight.
        edit: changes them after each step, told the activations (R, U) before it.
    """

    theta: Array
    bits: int
    weight_decay: float = 0.0
    edit: Callable[[Networks, Array], None] | None = None
    active: Any = field(init=False)  # (R, U) units that were above 0 since this was last cleared
    _gradient: Array = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._gradient = np.zeros_like(self.theta)
        self.active = np.zeros(self.parts(self.theta)[1].shape, dtype=bool)

    def parts(self, flat: Array) -> tuple[Array, Array, Array, Array]:
        """Views (R, U, m), (R, U), (R, U), (R,) of (R, P)."""
        units = (flat.shape[1] - 1) // (self.bits + 2)
        ends = np.cumsum([units * self.bits, units, units])
        w, b, v, c = np.split(flat, ends, axis=1)
        return w.reshape(-1, units, self.bits), b, v, c[:, 0]

    def step(self, x: Array, y: Array) -> Array:
        """One step on x (R, m) and y (R,); returns the errors (R,) before it."""
        w, b, v, c = self.parts(self.theta)
        h = np.maximum((w @ x[:, :, None])[:, :, 0] + b, 0)
        error = (v * h).sum(1) + c - y
        gw, gb, gv, gc = self.parts(self._gradient)
        gc[:] = 2 * error
        gv[:] = gc[:, None] * h
        gb[:] = gc[:, None] * v * (h > 0)
        np.multiply(gb[:, :, None], x[:, None, :], out=gw)
        if self.weight_decay:
            self._gradient += self.weight_decay * self.theta
        self.theta -= LR * self._gradient
        self.active |= h > 0
        if self.edit is not None:
            self.edit(self, h)
        return error


@frozen(eq=False)
class Perturbing:
    """Shrink and perturb after each step."""

    rng: np.random.Generator
    shrink: float = SHRINK
    noise: float = NOISE

    def __call__(self, networks: Networks, h: Array) -> None:
        networks.theta *= np.float32(1 - self.shrink)
        networks.theta += np.float32(self.noise) * self.rng.standard_normal(networks.theta.shape, dtype=np.float32)


@define(eq=False)
class Replacing:
    """Continual backprop.

    Args:
        draw: fresh hidden weights (U, m) of one run, of which the replaced unit's are taken.
        shape: (R, U).
        rate, maturity: of the replacement.
    """

    draw: Callable[[], Array]
    shape: tuple[int, int]
    rate: float = RATE
    maturity: int = MATURITY
    age: Array = field(init=False)
    mean: Array = field(init=False)
    value: Array = field(init=False)
    owed: Any = field(init=False)
    replaced: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.age, self.mean, self.value = (np.zeros(self.shape, dtype=np.float32) for _ in range(3))
        self.owed = np.zeros(self.shape[0])

    def __call__(self, networks: Networks, h: Array) -> None:
        w, b, v, c = networks.parts(networks.theta)
        self.age += 1
        correction = 1 - np.float32(DECAY) ** self.age
        self.mean += (1 - DECAY) * (h - self.mean)
        contribution = np.abs(h - self.mean / correction) * np.abs(v) / np.abs(w).mean(2)
        self.value += (1 - DECAY) * (contribution - self.value)
        mature = self.age > self.maturity
        self.owed += self.rate * mature.sum(1)
        for run in np.flatnonzero(self.owed >= 1):
            self.owed[run] -= 1
            unit = np.where(mature[run], self.value[run] / correction[run], np.inf).argmin()
            c[run] += v[run, unit] * self.mean[run, unit] / correction[run, unit]
            w[run, unit], b[run, unit], v[run, unit] = self.draw()[unit], 0, 0
            self.age[run, unit] = self.mean[run, unit] = self.value[run, unit] = 0
            self.replaced += 1


def kaiming(rng: np.random.Generator, *shape: int) -> Array:
    """He et al.'s uniform initialisation of weights (..., inputs)."""
    return rng.uniform(-1, 1, shape).astype(np.float32) * np.float32(np.sqrt(6 / shape[-1]))


def fresh(rng: np.random.Generator, runs: int, bits: int) -> Array:
    """(R, P) of networks with biases of zero."""
    weights = kaiming(rng, runs, UNITS, bits).reshape(runs, -1)
    zeros = np.zeros((runs, UNITS), dtype=np.float32)
    return np.concatenate((weights, zeros, kaiming(rng, runs, UNITS), zeros[:, :1]), axis=1)


def learners(runs: int, bits: int) -> Mapping[str, Linear | Networks]:
    """The five of the comparison, from the same initial weights."""

    def start() -> Array:
        return fresh(np.random.default_rng(0), runs, bits)

    drawing = np.random.default_rng(1)
    replacing = Replacing(lambda: kaiming(drawing, UNITS, bits), (runs, UNITS))
    return {
        "backprop": Networks(start(), bits),
        "linear": Linear(np.zeros((runs, bits + 1), dtype=np.float32)),
        "l2": Networks(start(), bits, weight_decay=WEIGHT_DECAY),
        "shrink_and_perturb": Networks(start(), bits, edit=Perturbing(np.random.default_rng(2))),
        "continual_backprop": Networks(start(), bits, edit=replacing),
    }


def period(streams: list[Stream], index: int) -> tuple[Array, Array]:
    """Inputs (T, R, m) and targets (T, R) of every run's experience of that index."""
    sources = [stream[index].train for stream in streams]
    pairs = [source.read() for source in sources if isinstance(source, LabelledArrays)]
    x = np.stack([x.numpy() for x, _ in pairs], axis=1).astype(np.float32)
    return x, np.stack([y.numpy()[:, 0] for _, y in pairs], axis=1)


def run(learner: Linear | Networks, streams: list[Stream]) -> dict[str, Any]:
    """Means over runs, with their standard errors, of the online squared error of the beginning and of the end."""
    errors, dead, started = [], np.zeros(len(streams)), time.perf_counter()
    for index in range(len(streams[0])):
        x, y = period(streams, index)
        if isinstance(learner, Networks):
            learner.active[:] = False
        errors.append(np.mean([learner.step(*example) ** 2 for example in zip(x, y, strict=True)], axis=0))
        if isinstance(learner, Networks):
            dead = 1 - learner.active.mean(1)
    tenth = max(len(errors) // 10, 1)
    ends = {"first_20k": np.mean(errors[:2], axis=0), "last_tenth": np.mean(errors[-tenth:], axis=0), "dead": dead}
    summary = {
        name: [float(a.mean()), float(a.std(ddof=1) / np.sqrt(len(a))) if len(a) > 1 else 0.0]
        for name, a in ends.items()
    }
    curve = [float(e.mean()) for e in errors]
    return {**summary, "curve": curve, "seconds": round(time.perf_counter() - started, 1)}


def main(examples: int = 1_000_000, runs: int = 20, change: Literal["flipped", "redrawn"] = "flipped") -> None:
    scenario = SlowlyChangingRegression(examples=examples, period=PERIOD, change=change)
    streams = [scenario.make(Seeds(seed), Budget(epochs=1)) for seed in range(runs)]
    results: dict[str, Any] = {}
    for name, learner in learners(runs, scenario.bits).items():
        results[name] = run(learner, streams)
        shown = {key: f"{m:.3f} ± {e:.3f}" for key, (m, e) in list(results[name].items())[:3]}
        print(f"{name:20}", *(f"{key} {value}" for key, value in shown.items()), f"{results[name]['seconds']} s")
    if examples >= 1_000_000:  # less is a trial
        document = {"examples": examples, "runs": runs, "change": change, "learners": results}
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:4])  # type: ignore[arg-type]
