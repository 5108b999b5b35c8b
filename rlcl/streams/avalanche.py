"""A classic benchmark of Avalanche, as it is defined there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from rlcl.config import option
from rlcl.data.readers.avalanche import load_benchmark, sources
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream
from rlcl.types import Budget, Experience, StreamSpec, Visibility

__all__ = ["AvalancheStream"]


@frozen(kw_only=True)
class AvalancheStream:
    """The experiences of a benchmark of Avalanche, under its transforms for evaluation.

    They draw nothing, so that they are applied once; a learner's ``augment`` changes images at random.

    Args:
        benchmark: a function of ``avalanche.benchmarks.classic`` by name: ``SplitMNIST``,
            ``PermutedMNIST``, ``RotatedMNIST``, ``SplitFMNIST``, ``SplitCIFAR10``, ...
        options: the benchmark's own keyword arguments, checked by name; ``seed`` comes from the run's where it
            is not said.
        visibility: what the protocol shows; task ids are the experiences' numbers.

    Source: Carta et al. 2023, Avalanche: a PyTorch library for deep continual learning.
    """

    benchmark: str = option()
    options: Mapping[str, Any] = option(factory=dict)
    visibility: Visibility = option(factory=Visibility)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        seed = seeds.child("avalanche").integer()
        train, test = map(sources, load_benchmark(self.benchmark, self.options, seed, "options"))
        test = test * len(train) if len(test) == 1 else test
        classes = [tuple(sorted(set(source.targets.tolist()))) for source in train]
        experiences = tuple(
            Experience(index, self._name(index, classes), learned, tested, budget, task_id=index)
            for index, (learned, tested) in enumerate(zip(train, test, strict=True))
        )
        count = 1 + max(int(source.targets.max()) for source in [*train, *test])
        shape = tuple(train[0].subset(train[0].targets.new_zeros(1)).read()[0].shape[1:])
        names = tuple(map(str, range(count)))
        spec = StreamSpec("labelled", shape, classes=count, task_classes=tuple(classes), class_names=names)
        return Stream(experiences, spec, self.visibility)

    def _name(self, index: int, classes: list[tuple[int, ...]]) -> str:
        alike = len(set(classes)) < len(classes) or len(classes[index]) > 10
        return f"{self.benchmark} {index if alike else ', '.join(map(str, classes[index]))}"
