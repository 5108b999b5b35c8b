"""A target that never changes, of inputs that drift: what a network loses its plasticity on."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.sources import LabelledArrays
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream
from rlcl.types import Budget, Experience, StreamSpec, Visibility

__all__ = ["SlowlyChangingRegression", "Target"]

ENUMERATED_BITS = 10  # up to which a period's test set is every input that it can show


@frozen(kw_only=True)
class SlowlyChangingRegression:
    """The bit-flipping problem: numbers to predict from bits, most of which change only now and then.

    The target is a fixed network of linear threshold units, all of whose weights and biases are -1 or
    1. The slow bits stay as they are for a period, then one of them, drawn at random, flips; the other
    bits are drawn anew for each example. A period is an experience, whose boundaries are hidden by
    default. Its test set is every input that the period can show, once (beyond 10 fast bits: 1,024
    draws), so that the squared error on it is the expected one. It takes 24 bytes an example.

    Args:
        examples: in all; the budget is one pass.
        period: examples between two changes of the slow bits.
        bits: of an input (m).
        slow_bits: the first ones, that change slowly (f).
        change: what happens between two periods: one slow bit is ``flipped`` (the paper), or all are
            ``redrawn`` (the default of its code).
        target_units: linear threshold units of the target.
        threshold: share of a unit's m + 1 inputs that must agree with its weights for it to fire (beta).
        visibility: what the protocol shows.

    Source: Dohare et al. 2024, Loss of plasticity in deep continual learning, methods, slowly-changing regression,
    with the thresholds of their code; see :class:`Target`.
    """

    examples: int = option(1_000_000, ge=1)
    period: int = option(10_000, ge=1)
    bits: int = option(20, ge=1)
    slow_bits: int = option(15, ge=1)
    change: Literal["flipped", "redrawn"] = option("flipped")
    target_units: int = option(100, ge=1)
    threshold: float = option(0.7, ge=0, le=1)
    visibility: Visibility = option(factory=lambda: Visibility(boundaries="hidden"))

    def __attrs_post_init__(self) -> None:
        if self.slow_bits > self.bits:
            raise Problem(f"slow_bits: expected at most {self.bits}, the bits of an input, got {self.slow_bits}")

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        if budget != Budget(epochs=1):
            raise Problem(f"every example is shown once; set budget: {{epochs: 1}}, got {budget}")
        target = Target.drawn(self.bits, self.target_units, self.threshold, seeds.child("target").numpy())
        periods = -(-self.examples // self.period)
        experiences = []
        for index, slow in enumerate(self._slow(periods, seeds.child("slow bits").numpy())):
            rows = min(self.period, self.examples - index * self.period)
            train, test = (self._with_fast(slow, fast) for fast in self._fast(rows, seeds.child(f"period {index}")))
            name = f"period {index}, slow bits {''.join(map(str, slow))}"
            sources = [LabelledArrays(x, target(x)) for x in (train, test)]
            experiences.append(Experience(index, name, sources[0], sources[1], budget, task_id=index))
        spec = StreamSpec("regression", (self.bits,), task_classes=((),) * periods, targets=1)
        return Stream(tuple(experiences), spec, self.visibility)

    def _slow(self, periods: int, rng: np.random.Generator) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        """(periods, f) of the slow bits."""
        drawn = rng.integers(0, 2, (periods, self.slow_bits), dtype=np.uint8)
        if self.change == "redrawn":
            return drawn
        flips = np.eye(self.slow_bits, dtype=np.uint8)[rng.integers(0, self.slow_bits, periods - 1)]
        return np.bitwise_xor.accumulate(np.concatenate((drawn[:1], flips)))

    def _fast(self, rows: int, seeds: Seeds) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.uint8]], ...]:
        """(rows, m - f) drawn for training, and for the test."""
        rng, fast = seeds.numpy(), self.bits - self.slow_bits
        drawn = rng.integers(0, 2, (rows, fast), dtype=np.uint8)
        if fast > ENUMERATED_BITS:
            return drawn, rng.integers(0, 2, (2**ENUMERATED_BITS, fast), dtype=np.uint8)
        return drawn, (np.arange(2**fast)[:, None] >> np.arange(fast) & 1).astype(np.uint8)

    def _with_fast(
        self, slow: np.ndarray[tuple[int], np.dtype[np.uint8]], fast: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    ) -> Tensor:
        repeated = np.broadcast_to(slow, (len(fast), len(slow)))
        return torch.from_numpy(np.concatenate((repeated, fast), axis=1))


@frozen(eq=False)
class Target:
    """A network of U linear threshold units on m bits.

    A unit is 1 where w x + b is above beta (m + 1) - S, else 0. The paper's S is the number of negative
    weights; its code, which is followed here, has (m - sum w + b) / 2. So a unit fires where more than
    beta (m + 1) - 3 b / 2 bits agree with its weights.

    Args:
        weights: (U, m) float32 of -1 and 1.
        biases: (U,) the same.
        outgoing: (U,) the same.
        offset: -1 or 1, added to the output.
        threshold: beta.
    """

    weights: Tensor
    biases: Tensor
    outgoing: Tensor
    offset: float
    threshold: float

    @classmethod
    def drawn(cls, bits: int, units: int, threshold: float, rng: np.random.Generator) -> Target:
        """Weights and biases at random."""
        signs = torch.from_numpy(rng.choice(np.array([-1, 1], dtype=np.float32), units * (bits + 2) + 1))
        weights, biases, outgoing, offset = signs.split([units * bits, units, units, 1])  # type: ignore[no-untyped-call]
        return cls(weights.view(units, bits), biases, outgoing, float(offset), threshold)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, 1) float32 of bits (N, m)."""
        bits = self.weights.shape[1]
        negative = (bits - self.weights.sum(1) + self.biases) / 2
        active = x.float() @ self.weights.T + self.biases > self.threshold * (bits + 1) - negative
        return (active.float() @ self.outgoing + self.offset)[:, None]
