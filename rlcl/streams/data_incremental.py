"""Data-incremental learning: equal random shares of one data set."""

from __future__ import annotations

import torch
from attrs import frozen

from rlcl.config import option
from rlcl.data.readers.scikit import Digits
from rlcl.data.sources import loaded
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream, array_spec
from rlcl.types import Budget, DataSet, Experience, Visibility

__all__ = ["DataIncremental"]


@frozen(kw_only=True)
class DataIncremental:
    """Data-incremental learning: each experience has new samples of all classes; all share the whole test set.

    Args:
        data: data set.
        experiences: number of equal shares of the training data, selected with the seed of the run.
        visibility: information about tasks and boundaries that the learner receives.

    Source: De Lange & Tuytelaars 2021, Continual prototype evolution, data-incremental learning.
    """

    data: DataSet = option(factory=Digits)
    experiences: int = option(5, ge=1)
    visibility: Visibility = option(factory=Visibility)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        data = loaded(self.data)
        rows = len(data.train)
        if self.experiences > rows:
            raise Problem(f"experiences: expected at most {rows}, the rows of {data.name}, got {self.experiences}")
        order = torch.from_numpy(seeds.child("shares").numpy().permutation(rows))
        experiences = tuple(
            Experience(
                index=index,
                name=f"{data.name} share {index}",
                train=data.train.subset(share.sort().values),
                test=data.test,
                budget=budget,
                task_id=index,
            )
            for index, share in enumerate(torch.tensor_split(order, self.experiences))
        )
        return Stream(experiences, array_spec(data, [range(data.classes)] * self.experiences), self.visibility)
