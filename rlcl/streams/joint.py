"""The upper bound: everything of another stream at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.sources import LabelledArrays, UnlabelledArrays
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.stream import Stream
from rlcl.types import Budget, Experience, Scenario

__all__ = ["Joint"]


@frozen(kw_only=True)
class Joint:
    """Trains on all experiences of a stream together and is evaluated on each: R has one row.

    Args:
        of: the stream whose upper bound this is.
    """

    of: Scenario = option(factory=ClassIncremental, help="the stream whose upper bound this is")

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        stream = self.of.make(seeds, budget)
        if stream.spec.kind == "environment":
            raise Problem("of: environments cannot be joined into one source; list them as tasks instead")
        return stream.arranged(lambda experiences: (joined(experiences, budget),))


def joined(experiences: Sequence[Experience], budget: Budget) -> Experience:
    """One experience that trains on all of them; each row keeps its task."""
    return Experience(
        index=0,
        name="joint",
        train=_concatenate([e.train for e in experiences]),
        test=_concatenate([e.test for e in experiences]),
        budget=budget,
    )


def _concatenate(sources: Sequence[object]) -> LabelledArrays | UnlabelledArrays:
    inputs: list[Tensor] = []
    labels: list[Tensor] = []
    tasks: list[Tensor] = []
    for task, source in enumerate(sources):
        assert isinstance(source, LabelledArrays | UnlabelledArrays)
        x, y = source.read()
        inputs.append(x)
        tasks.append(torch.full((len(x),), task))
        if y is not None:
            labels.append(y)
    if not labels:
        return UnlabelledArrays(torch.cat(inputs))
    return LabelledArrays(torch.cat(inputs), torch.cat(labels), tasks=torch.cat(tasks))
