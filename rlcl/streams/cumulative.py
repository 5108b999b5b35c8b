"""Cumulative training on all data so far: the upper bound of rehearsal with unlimited memory."""

from __future__ import annotations

import attrs
from attrs import frozen

from rlcl.config import option
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.joint import join_experiences
from rlcl.types import Budget, Scenario, Stream

__all__ = ["Cumulative"]


@frozen(kw_only=True)
class Cumulative:
    """Cumulative training: experience t trains on the data of experiences 0 to t; the test data are its own.

    Args:
        of: stream whose experiences are accumulated.
    """

    of: Scenario = option(factory=ClassIncremental)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        stream = self.of.make(seeds, budget)
        if stream.spec.kind == "environment":
            raise Problem("of: environments cannot be joined into one source; list them as tasks instead")
        return stream.arranged(
            lambda experiences: tuple(
                attrs.evolve(e, train=join_experiences(experiences[: t + 1], budget).train)
                for t, e in enumerate(experiences)
            )
        )
