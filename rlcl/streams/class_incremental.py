"""Class-incremental learning: new classes in each experience, without task ids."""

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
    """Class-incremental learning: each experience has new classes, all outputs are active, and task ids are hidden.

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
    visibility: Visibility = option(factory=Visibility)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        data = loaded(self.data)
        groups = divide_classes(data, self.experiences, self.class_order, seeds)
        return split_by_class(data, groups, budget, self.visibility)


def divide_classes(data: Data, experiences: int, order: ClassOrder, seeds: Seeds) -> list[list[int]]:
    """Divide the classes among the experiences.

    Args:
        data: labelled data set.
        experiences: number of experiences.
        order: order of the classes.
        seeds: source of randomness of the run.

    Returns:
        The classes of each experience.

    Raises:
        DataError: the data set has no labels.
        Problem: there are more experiences than classes, or the order does not contain each class once.
    """
    if not data.classes:
        raise DataError(f"data {data.name!r} has no classes, which this stream needs; use stream permuted or single")
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
    """Return a stream in which experience ``i`` has the classes ``groups[i]``."""
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
