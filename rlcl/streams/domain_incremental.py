"""Domain-incremental learning: the same labels in each experience, for inputs of changing domains."""

from __future__ import annotations

from typing import Literal

import attrs
import torch
from attrs import frozen

from rlcl.config import option
from rlcl.data.readers.scikit import Digits
from rlcl.data.sources import LabelledArrays, loaded
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import divide_classes, split_by_class
from rlcl.streams.stream import Stream
from rlcl.types import Budget, DataSet, Source, Visibility

__all__ = ["DomainIncremental"]


@frozen(kw_only=True)
class DomainIncremental:
    """Domain-incremental learning: each experience has new classes, relabelled 0, 1, ... within the experience.

    Args:
        data: labelled data set.
        experiences: number of experiences; it must divide the number of classes.
        class_order: ``ascending``, ``shuffled`` with the seed of the run, or a list of all classes.
        visibility: information about tasks and boundaries that the learner receives.

    Source: van de Ven et al. 2022, Three types of incremental learning.
    """

    data: DataSet = option(factory=Digits)
    experiences: int = option(5, ge=1)
    class_order: Literal["ascending", "shuffled"] | tuple[int, ...] = option("ascending")
    visibility: Visibility = option(factory=Visibility)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        data = loaded(self.data)
        groups = divide_classes(data, self.experiences, self.class_order, seeds)
        size = len(groups[0])
        if any(len(group) != size for group in groups):
            raise Problem(f"experiences: expected a divisor of {data.classes} classes, got {self.experiences}")
        stream = split_by_class(data, groups, budget, self.visibility)
        new_labels = torch.zeros(data.classes, dtype=torch.int64)
        for group in groups:
            new_labels[list(group)] = torch.arange(size)
        return attrs.evolve(
            stream,
            experiences=tuple(e.with_sources(lambda source: _relabel(source, new_labels)) for e in stream),
            spec=attrs.evolve(
                stream.spec,
                classes=size,
                task_classes=(tuple(range(size)),) * len(groups),
                class_names=tuple(f"place {i}" for i in range(size)),
            ),
        )


def _relabel(source: Source, new_labels: torch.Tensor) -> LabelledArrays:
    assert isinstance(source, LabelledArrays)
    return attrs.evolve(source, labels=new_labels[source.labels])
