"""Classes that arrive a few at a time, the task's number hidden."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.readers.scikit import Digits
from rlcl.data.sources import Data, loaded
from rlcl.errors import DataError, Problem
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream, array_spec, describe_classes
from rlcl.types import Budget, DataSet, Experience, Visibility

__all__ = ["ClassIncremental", "ClassOrder", "split_by_class"]

ClassOrder = Literal["ascending", "shuffled"] | tuple[int, ...]


@frozen(kw_only=True)
class ClassIncremental:
    """Each experience brings new classes; all outputs are active and no task id is shown.

    Args:
        data: a labelled data set.
        experiences: into how many the classes are divided, as evenly as they go.
        class_order: ``ascending``, ``shuffled`` by the run's seed, or a list of all classes.
        visibility: what the protocol shows.

    Source: van de Ven et al. 2022, Three types of incremental learning.
    """

    data: DataSet = option(factory=Digits)
    experiences: int = option(5, ge=1)
    class_order: Literal["ascending", "shuffled"] | tuple[int, ...] = option("ascending")
    visibility: Visibility = option(factory=Visibility)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        data = loaded(self.data)
        groups = divide_classes(data, self.experiences, self.class_order, seeds)
        return split_by_class(data, groups, budget, self.visibility)


def divide_classes(data: Data, experiences: int, order: ClassOrder, seeds: Seeds) -> list[list[int]]:
    """Classes by experience.

    Raises:
        DataError: the data set has no labels.
        Problem: more experiences than classes, or an order that is not all classes once.
    """
    if not data.classes:
        raise DataError(f"data {data.name!r} has no classes, and this stream divides them; use permuted or single")
    if experiences > data.classes:
        raise Problem(f"experiences: expected at most {data.classes}, the classes of {data.name}, got {experiences}")
    if order == "ascending":
        classes = list(range(data.classes))
    elif order == "shuffled":
        classes = seeds.child("class order").numpy().permutation(data.classes).tolist()
    else:
        classes = list(order)
        if sorted(classes) != list(range(data.classes)):
            raise Problem(f"class_order: expected each class of 0..{data.classes - 1} once, got {classes}")
    bounds = [round(i * data.classes / experiences) for i in range(experiences + 1)]
    return [classes[start:end] for start, end in pairwise(bounds)]


def split_by_class(data: Data, groups: Sequence[Sequence[int]], budget: Budget, visibility: Visibility) -> Stream:
    """A stream whose experience ``i`` holds the classes ``groups[i]``."""
    train, test = data.labelled()
    experiences = tuple(
        Experience(
            index=index,
            name=describe_classes(data, classes),
            train=train.subset(_rows(train.labels, classes)),
            test=test.subset(_rows(test.labels, classes)),
            budget=budget,
            task_id=index,
        )
        for index, classes in enumerate(groups)
    )
    return Stream(experiences, array_spec(data, groups), visibility)


def _rows(labels: Tensor, classes: Sequence[int]) -> Tensor:
    return torch.isin(labels, torch.tensor(classes)).nonzero().flatten()
