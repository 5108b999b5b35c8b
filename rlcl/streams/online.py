"""One pass over a stream whose boundaries are not announced."""

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
    """Shows every sample of another stream once, in the stream's order, without announcing boundaries.

    The budget must be one epoch; the minibatch may have any size. Methods that need boundaries are
    refused.

    Args:
        of: the stream that is passed through once.

    Source: Aljundi et al. 2019, Task-free continual learning.
    """

    of: Scenario = option(factory=ClassIncremental)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        stream = self.of.make(seeds, budget)
        if stream.spec.kind != "environment" and budget != Budget(epochs=1):
            raise Problem(f"an online stream is one pass; set budget: {{epochs: 1}}, got {budget}")
        return stream.changed(visibility=attrs.evolve(stream.visibility, boundaries="hidden"))
