"""Online learning: one pass over a stream with hidden boundaries."""

from __future__ import annotations

import attrs
from attrs import frozen

from rlcl.config import option
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.types import Budget, Scenario, Stream

__all__ = ["Online"]


@frozen(kw_only=True)
class Online:
    """Online learning: one pass over another stream, in its order, with hidden boundaries.

    The budget must be one epoch; minibatches may have any size. Methods that need boundaries are not supported.

    Args:
        of: stream that is passed through once.

    Source: Aljundi et al. 2019, Task-free continual learning.
    """

    of: Scenario = option(factory=ClassIncremental)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        stream = self.of.make(seeds, budget)
        if stream.spec.kind != "environment" and budget != Budget(epochs=1):
            raise Problem(
                f"expected a budget of one epoch for an online stream, got {budget}; set budget: {{epochs: 1}}"
            )
        return stream.changed(visibility=attrs.evolve(stream.visibility, boundaries="hidden"))
