"""Stationary stream with a single experience."""

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
    """One experience with a whole data set, for supervised or unsupervised learning.

    Args:
        data: data set.
    """

    data: DataSet = option(factory=Digits)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        data = loaded(self.data)
        experience = Experience(index=0, name=data.name, train=data.train, test=data.test, budget=budget)
        return Stream((experience,), array_spec(data, (range(data.classes),)))
