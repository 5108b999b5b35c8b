"""Slowly changing regression: a fixed target of drifting inputs, on which networks lose plasticity."""

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

__all__ = ["SlowlyChangingRegression", "ThresholdNetwork"]

ENUMERATED_BITS = 10  # maximum number of fast bits for which the test set has all inputs of a period


@frozen(kw_only=True)
class SlowlyChangingRegression:
    """Bit-flipping problem: regression on binary inputs, most of whose bits change slowly.

    The target is a fixed network of linear threshold units with weights and biases -1 or 1. The slow bits are constant
    for a period; then a random one of them flips. The other bits are sampled for each example. Each period is an
    experience; boundaries are hidden by default. The test set has each input that is possible in the period once (with
    more than 10 fast bits: 1,024 random inputs), so that the squared error on it is the expected error. An example
    takes 24 bytes.

    Args:
        examples: total number of examples; the budget is one pass.
        period: number of examples between two changes of the slow bits.
        bits: number of bits of an input (m).
        slow_bits: number of slow bits, which are the first ones (f).
        change: change between two periods: one slow bit is ``flipped`` (as in the paper), or all are ``redrawn`` (the
            default of its code).
        target_units: number of linear threshold units of the target.
        threshold: share of a unit's m + 1 inputs that must agree with its weights so that it is active (beta).
        visibility: information about tasks and boundaries that the learner receives.

    Source: Dohare et al. 2024, Loss of plasticity in deep continual learning, methods, slowly-changing regression,
    with the thresholds of their code; see :class:`ThresholdNetwork`.
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
            raise Problem(f"expected a budget of one epoch, got {budget}; set budget: {{epochs: 1}}")
        target = ThresholdNetwork.sample(self.bits, self.target_units, self.threshold, seeds.child("target").numpy())
        periods = -(-self.examples // self.period)
        experiences = []
        for index, slow in enumerate(self._sample_slow_bits(periods, seeds.child("slow bits").numpy())):
            rows = min(self.period, self.examples - index * self.period)
            fast_bits = self._sample_fast_bits(rows, seeds.child(f"period {index}"))
            train, test = (self._join_bits(slow, fast) for fast in fast_bits)
            name = f"period {index}, slow bits {''.join(map(str, slow))}"
            sources = [LabelledArrays(x, target(x)) for x in (train, test)]
            experiences.append(Experience(index, name, sources[0], sources[1], budget, task_id=index))
        spec = StreamSpec("regression", (self.bits,), task_classes=((),) * periods, targets=1)
        return Stream(tuple(experiences), spec, self.visibility)

    def _sample_slow_bits(
        self, periods: int, rng: np.random.Generator
    ) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        """Sample the slow bits of all periods, (periods, f)."""
        bits = rng.integers(0, 2, (periods, self.slow_bits), dtype=np.uint8)
        if self.change == "redrawn":
            return bits
        flips = np.eye(self.slow_bits, dtype=np.uint8)[rng.integers(0, self.slow_bits, periods - 1)]
        return np.bitwise_xor.accumulate(np.concatenate((bits[:1], flips)))

    def _sample_fast_bits(self, rows: int, seeds: Seeds) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.uint8]], ...]:
        """Sample the fast bits of the training set (rows, m - f), and return those of the test set, too."""
        rng, fast = seeds.numpy(), self.bits - self.slow_bits
        bits = rng.integers(0, 2, (rows, fast), dtype=np.uint8)
        if fast > ENUMERATED_BITS:
            return bits, rng.integers(0, 2, (2**ENUMERATED_BITS, fast), dtype=np.uint8)
        return bits, (np.arange(2**fast)[:, None] >> np.arange(fast) & 1).astype(np.uint8)

    def _join_bits(
        self, slow: np.ndarray[tuple[int], np.dtype[np.uint8]], fast: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    ) -> Tensor:
        repeated = np.broadcast_to(slow, (len(fast), len(slow)))
        return torch.from_numpy(np.concatenate((repeated, fast), axis=1))


@frozen(eq=False)
class ThresholdNetwork:
    """A network of U linear threshold units on m bits.

    A unit is 1 if w x + b is above beta (m + 1) - S, else 0. In the paper, S is the number of negative weights. This
    class follows its code, in which S is (m - sum w + b) / 2. A unit is therefore active if more than
    beta (m + 1) - 3 b / 2 bits agree with its weights.

    Args:
        weights: (U, m) float32, -1 or 1.
        biases: (U,) float32, -1 or 1.
        outgoing: (U,) float32, -1 or 1.
        offset: -1 or 1, added to the output.
        threshold: beta.
    """

    weights: Tensor
    biases: Tensor
    outgoing: Tensor
    offset: float
    threshold: float

    @classmethod
    def sample(cls, bits: int, units: int, threshold: float, rng: np.random.Generator) -> ThresholdNetwork:
        """Sample the weights and biases uniformly."""
        signs = torch.from_numpy(rng.choice(np.array([-1, 1], dtype=np.float32), units * (bits + 2) + 1))
        weights, biases, outgoing, offset = signs.split([units * bits, units, units, 1])  # type: ignore[no-untyped-call]
        return cls(weights.view(units, bits), biases, outgoing, float(offset), threshold)

    def __call__(self, x: Tensor) -> Tensor:
        """Compute the outputs (N, 1) float32 for bits (N, m)."""
        bits = self.weights.shape[1]
        negative = (bits - self.weights.sum(1) + self.biases) / 2
        active = x.float() @ self.weights.T + self.biases > self.threshold * (bits + 1) - negative
        return (active.float() @ self.outgoing + self.offset)[:, None]
