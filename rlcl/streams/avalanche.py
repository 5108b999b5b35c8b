"""Streams of the classic benchmarks of Avalanche."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from rlcl.config import option
from rlcl.data.readers.avalanche import array_sources, load_benchmark
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream
from rlcl.types import Budget, Experience, StreamSpec, Visibility

__all__ = ["AvalancheStream"]


@frozen(kw_only=True)
class AvalancheStream:
    """Classic benchmark of Avalanche, with its transforms for evaluation.

    These transforms are not random, so that they are applied only once. Use the setting ``augment`` of a learner for
    random augmentation.

    Args:
        benchmark: name of a function of ``avalanche.benchmarks.classic``: ``SplitMNIST``, ``PermutedMNIST``,
            ``RotatedMNIST``, ``SplitFMNIST``, ``SplitCIFAR10``, ...
        options: keyword arguments of the benchmark; by default ``seed`` is derived from the seed of the run.
        visibility: information about tasks and boundaries that the learner receives; the task id is the index of
            the experience.

    Source: Carta et al. 2023, Avalanche: a PyTorch library for deep continual learning.
    """

    benchmark: str = option()
    options: Mapping[str, Any] = option(factory=dict)
    visibility: Visibility = option(factory=Visibility)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        seed = seeds.child("avalanche").integer()
        train, test = map(array_sources, load_benchmark(self.benchmark, self.options, seed, "options"))
        test = test * len(train) if len(test) == 1 else test
        classes = [tuple(sorted(set(source.targets.tolist()))) for source in train]
        experiences = tuple(
            Experience(index, self._name(index, classes), train_source, test_source, budget, task_id=index)
            for index, (train_source, test_source) in enumerate(zip(train, test, strict=True))
        )
        count = 1 + max(int(source.targets.max()) for source in [*train, *test])
        shape = tuple(train[0].subset(train[0].targets.new_zeros(1)).read()[0].shape[1:])
        names = tuple(map(str, range(count)))
        spec = StreamSpec("labelled", shape, classes=count, task_classes=tuple(classes), class_names=names)
        return Stream(experiences, spec, self.visibility)

    def _name(self, index: int, classes: list[tuple[int, ...]]) -> str:
        numbered = len(set(classes)) < len(classes) or len(classes[index]) > 10
        return f"{self.benchmark} {index if numbered else ', '.join(map(str, classes[index]))}"
