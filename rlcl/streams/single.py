"""The stationary stream: one experience."""

from __future__ import annotations

from attrs import frozen

from rlcl.config import option
from rlcl.data.readers.scikit import Digits
from rlcl.data.sources import loaded
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream, array_spec
from rlcl.types import Budget, DataSet, Experience

__all__ = ["Single"]


@frozen(kw_only=True)
class Single:
    """All of a data set as one experience: ordinary supervised or unsupervised learning.

    Args:
        data: the data set.
    """

    data: DataSet = option(factory=Digits)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        data = loaded(self.data)
        experience = Experience(index=0, name=data.name, train=data.train, test=data.test, budget=budget)
        return Stream((experience,), array_spec(data, (range(data.classes),)))
