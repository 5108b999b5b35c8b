"""Blurry task boundaries: experiences that share some of their data."""

from __future__ import annotations

import attrs
import torch
from attrs import frozen

from rlcl.config import option
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.types import Budget, Scenario, Stream

__all__ = ["Blurry"]


@frozen(kw_only=True)
class Blurry:
    """Blurry boundaries: a share of the training data of each experience is spread evenly over the other experiences.

    A moved sample has the task id of its new experience. Test sets are not changed.

    Args:
        of: stream whose boundaries are blurred.
        share: share of each experience's training data that is moved, selected with the seed of the run.

    Source: Bang et al. 2021, Rainbow memory, blurry-M with M = 100 * share.
    """

    of: Scenario = option(factory=ClassIncremental)
    share: float = option(0.1, ge=0, lt=1)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        stream = self.of.make(seeds, budget)
        if stream.spec.kind == "environment" or any(e.arrays.transform is not None for e in stream):
            raise Problem(
                "of: expected a stream whose experiences are subsets of one data set, such as class_incremental"
            )
        sources = [e.arrays for e in stream]
        remaining, added = list[torch.Tensor](), [list[torch.Tensor]() for _ in sources]
        for index, source in enumerate(sources):
            rows = torch.arange(len(source)) if source.indices is None else source.indices
            order = rows[torch.from_numpy(seeds.child(f"blur {index}").numpy().permutation(len(rows)))]
            moved = round(self.share * len(rows)) if len(sources) > 1 else 0
            remaining.append(order[moved:])
            others = [i for i in range(len(sources)) if i != index]
            for other, part in zip(others, torch.tensor_split(order[:moved], max(len(others), 1)), strict=False):
                added[other].append(part)
        mixed = [torch.cat([own, *parts]).sort().values for own, parts in zip(remaining, added, strict=True)]
        pairs = zip(stream, mixed, strict=True)
        return stream.changed(experiences=tuple(attrs.evolve(e, train=e.arrays.viewing(rows)) for e, rows in pairs))
