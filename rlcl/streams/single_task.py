"""One experience of a stream alone, for comparison with continual learning."""

from __future__ import annotations

import attrs
from attrs import frozen

from rlcl.config import option
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.stream import Stream
from rlcl.types import Budget, Scenario

__all__ = ["SingleTask"]


@frozen(kw_only=True)
class SingleTask:
    """One task of another stream alone: with the same data, classes, task id and budget.

    Args:
        of: the other stream.
        task: index of the task, which is the column of its result matrix R.
    """

    of: Scenario = option(factory=ClassIncremental)
    task: int = option(0, ge=0)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        stream = self.of.make(seeds, budget)
        if stream.moments is not None:
            raise Problem("of: a drifting stream has no task that could be trained alone")
        columns = stream.evaluated
        if self.task >= len(columns):
            raise Problem(f"expected at most {len(columns) - 1}, the index of the last task, got {self.task}", "task")
        return Stream((attrs.evolve(columns[self.task], index=0),), stream.spec, stream.visibility)
