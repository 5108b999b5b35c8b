"""Repeated cycles through the experiences of a stream."""

from __future__ import annotations

import attrs
from attrs import frozen

from rlcl.config import option
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.types import Budget, Scenario, Stream

__all__ = ["Cyclic"]


@frozen(kw_only=True)
class Cyclic:
    """Repeated cycles through another stream. The result matrix R has one row per visit and one column per experience.

    Args:
        of: stream that is repeated.
        cycles: number of cycles.

    Source: Powers et al. 2022 (CORA), section 3.1: repeated cycles through the tasks.
    """

    of: Scenario = option(factory=ClassIncremental)
    cycles: int = option(2, ge=1, le=100_000)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        stream = self.of.make(seeds, budget)
        return stream.arranged(
            lambda experiences: tuple(
                attrs.evolve(e, index=cycle * len(experiences) + e.index, name=f"{e.name}, visit {cycle + 1}")
                for cycle in range(self.cycles)
                for e in experiences
            )
        )
