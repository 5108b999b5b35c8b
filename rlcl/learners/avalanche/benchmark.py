"""Benchmark of Avalanche over a stream of rlcl."""

from __future__ import annotations

from typing import Any

import torch
from attrs import define
from torch import Tensor

from rlcl.data.avalanche_import import import_avalanche
from rlcl.data.sources import LabelledArrays
from rlcl.types import Batch, Experience, Stream

__all__ = ["EncodedDataset", "build_benchmark"]


@define(eq=False)
class EncodedDataset:
    """Training data of one experience as a torch data set, whose inputs are set when the experience begins.

    The inputs are kept to the end of the run, because memories of Avalanche refer to the data set.

    Args:
        labels: (N,) int64.
        tasks: (N,) int64 task ids; 0 if they are hidden.
        inputs: (N, *encoded) float32; None before the experience.
    """

    labels: Tensor
    tasks: Tensor
    inputs: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        if self.inputs is None:
            raise RuntimeError("the data of an experience was read before the experience began")
        return self.inputs[row], int(self.labels[row])

    def batch(self, rows: Tensor, visible: bool, device: torch.device) -> Batch:
        """Return a batch of rows.

        Args:
            rows: (B,) int64 indices.
            visible: whether the batch contains task ids.
            device: of the batch.
        """
        assert self.inputs is not None
        tasks = self.tasks[rows].to(device) if visible else None
        return Batch(self.inputs[rows].to(device), self.labels[rows].to(device), tasks)


def build_benchmark(stream: Stream) -> tuple[list[EncodedDataset], Any]:
    """Build the data sets of all experiences, still without inputs, and a benchmark of Avalanche over them."""
    avalanche = import_avalanche()
    make_dataset = avalanche.benchmarks.utils._make_taskaware_classification_dataset
    data = [_encoded_dataset(experience, stream.visibility.in_training) for experience in stream]
    datasets = [make_dataset(d, targets=d.labels.tolist(), task_labels=_task_labels(d.tasks)) for d in data]
    benchmark = avalanche.benchmarks.dataset_benchmark(datasets, datasets)
    # iCaRL reads these attributes, which Avalanche sets only for class-incremental benchmarks.
    classes = [sorted(set(d.labels.tolist())) for d in data]
    benchmark.n_classes_per_exp = [len(labels) for labels in classes]
    benchmark.classes_order = [label for labels in classes for label in labels]
    return data, benchmark


def _encoded_dataset(experience: Experience, task_ids_visible: bool) -> EncodedDataset:
    source = experience.train
    assert isinstance(source, LabelledArrays)
    labels = source.targets
    if not task_ids_visible:
        return EncodedDataset(labels, torch.zeros_like(labels))
    tasks = source.task_ids
    return EncodedDataset(labels, torch.full_like(labels, experience.task_id or 0) if tasks is None else tasks)


def _task_labels(tasks: Tensor) -> int | list[int]:
    """Return one label if all are equal, as in Avalanche's benchmarks: its memories do not support a list then."""
    labels: list[int] = tasks.tolist()
    return labels[0] if len(set(labels)) == 1 else labels
