"""A stream of rlcl as a benchmark of Avalanche."""

from __future__ import annotations

from typing import Any

import torch
from attrs import define
from torch import Tensor

from rlcl.data.avalanche_import import import_avalanche
from rlcl.data.sources import LabelledArrays
from rlcl.types import Batch, Experience, Stream

__all__ = ["Encoded", "benchmark"]


@define(eq=False)
class Encoded:
    """One experience's training data as a torch data set, whose inputs are there once it is learned.

    Memories of Avalanche refer to it long after, so that it keeps them to the end of the run.

    Args:
        labels: (N,) int64.
        tasks: (N,) int64, 0 where the protocol hides them.
        inputs: (N, *encoded) float32.
    """

    labels: Tensor
    tasks: Tensor
    inputs: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        if self.inputs is None:
            raise RuntimeError("an experience is read before it is learned")
        return self.inputs[row], int(self.labels[row])

    def batch(self, rows: Tensor, visible: bool, device: torch.device) -> Batch:
        """Those rows, with their task ids where the protocol shows them."""
        assert self.inputs is not None
        tasks = self.tasks[rows].to(device) if visible else None
        return Batch(self.inputs[rows].to(device), self.labels[rows].to(device), tasks)


def benchmark(stream: Stream) -> tuple[list[Encoded], Any]:
    """The experiences' data, still without inputs, and Avalanche's benchmark over them."""
    avalanche = import_avalanche()
    decorate = avalanche.benchmarks.utils._make_taskaware_classification_dataset
    held = [_held(experience, stream.visibility.in_training) for experience in stream]
    datasets = [decorate(e, targets=e.labels.tolist(), task_labels=_labels(e.tasks)) for e in held]
    made = avalanche.benchmarks.dataset_benchmark(datasets, datasets)
    # What iCaRL reads; Avalanche itself gives it to benchmarks that divide classes alone.
    classes = [sorted(set(e.labels.tolist())) for e in held]
    made.n_classes_per_exp = [len(found) for found in classes]
    made.classes_order = [label for found in classes for label in found]
    return held, made


def _held(experience: Experience, shows_task_ids: bool) -> Encoded:
    source = experience.train
    assert isinstance(source, LabelledArrays)
    labels = source.targets
    if not shows_task_ids:
        return Encoded(labels, torch.zeros_like(labels))
    tasks = source.task_ids
    return Encoded(labels, torch.full_like(labels, experience.task_id or 0) if tasks is None else tasks)


def _labels(tasks: Tensor) -> int | list[int]:
    """One label where all are equal, as Avalanche's benchmarks have it: its memories cannot be joined to a list."""
    found: list[int] = tasks.tolist()
    return found[0] if len(set(found)) == 1 else found
