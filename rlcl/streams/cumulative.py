"""Everything seen so far, again and again: the bound of rehearsing without limit."""

from __future__ import annotations

import attrs
from attrs import frozen

from rlcl.config import option
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.joint import joined
from rlcl.types import Budget, Scenario, Stream

__all__ = ["Cumulative"]


@frozen(kw_only=True)
class Cumulative:
    """Experience t trains on the data of experiences 0 to t of another stream, and is evaluated on its own.

    Args:
        of: the stream whose experiences accumulate.
    """

    of: Scenario = option(factory=ClassIncremental)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        stream = self.of.make(seeds, budget)
        if stream.spec.kind == "environment":
            raise Problem("of: environments cannot be joined into one source; list them as tasks instead")
        return stream.arranged(
            lambda experiences: tuple(
                attrs.evolve(e, train=joined(experiences[: t + 1], budget).train) for t, e in enumerate(experiences)
            )
        )
