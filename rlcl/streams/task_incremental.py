"""Task-incremental learning: new classes in each experience, with task ids."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from rlcl.config import option
from rlcl.data.readers.scikit import Digits
from rlcl.data.sources import loaded
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import divide_classes, split_by_class
from rlcl.streams.stream import Stream
from rlcl.types import Budget, DataSet, Visibility

__all__ = ["TaskIncremental"]


@frozen(kw_only=True)
class TaskIncremental:
    """Task-incremental learning: each experience has new classes, and the task id determines the possible ones.

    Args:
        data: labelled data set.
        experiences: number of experiences; the classes are divided as evenly as possible.
        class_order: ``ascending``, ``shuffled`` with the seed of the run, or a list of all classes.
        visibility: information about tasks and boundaries that the learner receives.

    Source: van de Ven et al. 2022, Three types of incremental learning.
    """

    data: DataSet = option(factory=Digits)
    experiences: int = option(5, ge=1)
    class_order: Literal["ascending", "shuffled"] | tuple[int, ...] = option("ascending")
    visibility: Visibility = option(factory=lambda: Visibility(task_ids="visible"))

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        data = loaded(self.data)
        groups = divide_classes(data, self.experiences, self.class_order, seeds)
        return split_by_class(data, groups, budget, self.visibility)
