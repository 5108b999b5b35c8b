"""One data set with a different fixed permutation of the features in each experience."""

from __future__ import annotations

import attrs
import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.readers.scikit import Digits
from rlcl.data.sources import loaded
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream, array_spec
from rlcl.types import Budget, DataSet, Experience, Visibility

__all__ = ["Permuted"]


@frozen
class Permutation:
    """A permutation of the features of inputs (B, *observation).

    Args:
        order: (F,) int64 indices of the features in their new order.
    """

    order: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1).index_select(1, self.order).reshape(x.shape)


@frozen(kw_only=True)
class Permuted:
    """Permuted features: each experience has the whole data set, with its features in a different order.

    Args:
        data: data set.
        experiences: number of permutations.
        first_as_is: whether the first experience keeps the original order.
        visibility: information about tasks and boundaries that the learner receives.

    Source: Goodfellow et al. 2013; Kirkpatrick et al. 2017.
    """

    data: DataSet = option(factory=Digits)
    experiences: int = option(10, ge=1, le=100_000)
    first_as_is: bool = option(False)
    visibility: Visibility = option(factory=Visibility)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        data = loaded(self.data)
        features = data.train_inputs.shape[1:].numel()

        def permutation(index: int) -> Permutation:
            if index == 0 and self.first_as_is:
                return Permutation(torch.arange(features))
            return Permutation(torch.from_numpy(seeds.child(f"permutation {index}").numpy().permutation(features)))

        experiences = tuple(
            Experience(
                index=index,
                name=f"{data.name} permutation {index}",
                train=data.train.transformed(permutation(index)),
                test=data.test.transformed(permutation(index)),
                budget=budget,
                task_id=index,
            )
            for index in range(self.experiences)
        )
        spec = array_spec(data, [range(data.classes)] * self.experiences)
        # Columns have a different position in each experience, so that the spec has none.
        return Stream(experiences, attrs.evolve(spec, columns=()), self.visibility)
