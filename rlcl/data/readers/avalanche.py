"""Classic benchmarks of Avalanche: their experiences as arrays, and all their data as one data set."""

from __future__ import annotations

import inspect
import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.avalanche_import import check_options, construct, import_avalanche, look_up
from rlcl.data.expect import Expectation
from rlcl.data.root import data_root, root_origin
from rlcl.data.sources import Data, LabelledArrays
from rlcl.errors import DataError, Problem
from rlcl.seeding import preserved_global_state
from rlcl.types import DataSet

__all__ = ["MAX_BYTES_IN_MEMORY", "AvalancheData", "array_sources", "load_benchmark"]

MAX_BYTES_IN_MEMORY = 2**30  # larger inputs of a stream are not kept in memory, but read on demand

RESERVED = {
    "dataset_root": "the data root is $RLCL_DATA",
    "return_task_id": "set the stream's visibility: {task_ids: visible}",
}


def load_benchmark(name: str, options: Mapping[str, Any], seed: int, where: str) -> tuple[list[Any], list[Any]]:
    """Load the training and test data sets of a benchmark's experiences, with its transforms for evaluation.

    Args:
        name: name of a function of ``avalanche.benchmarks.classic``.
        options: keyword arguments of the benchmark.
        seed: seed of the benchmark, if it has one and ``options`` does not set it.
        where: key path of the options in the config.

    Raises:
        Problem: the benchmark or an option does not exist.
        DataError: files are missing and cannot be downloaded.
    """
    classic = vars(import_avalanche().benchmarks.classic)
    # Benchmarks start with an upper-case letter, including CORe50 and CLStream51; helper functions do not.
    known = {key: value for key, value in classic.items() if inspect.isfunction(value) and key[0].isupper()}
    benchmark = look_up(name, known, "benchmark", f"{where.rpartition('options')[0]}benchmark")
    parameters = inspect.signature(benchmark).parameters
    check_options(benchmark, name, options, {k: v for k, v in RESERVED.items() if k in parameters}, where)
    defaults = {"dataset_root": str(data_root()), "seed": seed}
    arguments = {**{key: value for key, value in defaults.items() if key in parameters}, **options}
    try:
        # The benchmark seeds torch's global generator and prints messages.
        with preserved_global_state(), redirect_stdout(io.StringIO()):
            loaded = construct(benchmark, name, arguments)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise DataError(
            f"benchmark {name!r}: its files are not complete in {data_root().resolve()} ({root_origin()}) and could "
            f"not be downloaded ({reason}); copy them there, or set RLCL_DATA"
        ) from error
    streams = (loaded.train_stream, loaded.test_stream)
    train, test = ([experience.dataset.eval() for experience in stream] for stream in streams)
    if len(test) not in (1, len(train)):
        raise Problem(
            f"{where}: expected one test experience, or as many as training experiences ({len(train)}), got "
            f"{len(test)}; use another benchmark"
        )
    return train, test


def array_sources(datasets: Sequence[Any]) -> list[LabelledArrays]:
    """Convert Avalanche's data sets to sources: views of one shared tensor, or rows that are read on demand.

    If the experiences are parts of one data set, the shared tensor has the size of that data set. If each experience
    transforms the whole data set (PermutedMNIST), the tensor may exceed ``MAX_BYTES_IN_MEMORY``.
    """
    labels = [torch.tensor([int(y) for y in dataset.targets]) for dataset in datasets]
    rows = [torch.arange(len(dataset)) for dataset in datasets]
    if 4 * DatasetItems(datasets[0])(rows[0][:1]).numel() * sum(map(len, rows)) > MAX_BYTES_IN_MEMORY:
        parts = zip(rows, labels, datasets, strict=True)
        return [LabelledArrays(indices, y, transform=DatasetItems(dataset)) for indices, y, dataset in parts]
    inputs = torch.cat([DatasetItems(dataset)(indices) for indices, dataset in zip(rows, datasets, strict=True)])
    whole, all_rows = LabelledArrays(inputs, torch.cat(labels)), torch.arange(len(inputs))
    return [whole.subset(part) for part in torch.split(all_rows, [len(indices) for indices in rows])]


@frozen
class DatasetItems:
    """A transform from row indices (B,) int64 of one of Avalanche's data sets to inputs (B, *observation) float32."""

    dataset: Any

    def __call__(self, rows: Tensor) -> Tensor:
        items = [self.dataset[int(row)][0] for row in rows]
        if not all(isinstance(item, Tensor) for item in items):
            raise DataError(
                f"Avalanche's data set: expected tensors, got {type(items[0]).__name__}; do not change its transforms"
            )
        return torch.stack(items)


@frozen(kw_only=True)
class AvalancheData(DataSet):
    """All data of a classic benchmark of Avalanche, as one data set for any stream.

    Args:
        benchmark: name of a function of ``avalanche.benchmarks.classic``, for example ``SplitMNIST``.
        options: keyword arguments of the benchmark.
        expect: expected properties of the data, checked on loading.

    Source: Carta et al. 2023, Avalanche: a PyTorch library for deep continual learning.
    """

    benchmark: str = option()
    options: Mapping[str, Any] = option(factory=dict)
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        train, test = load_benchmark(self.benchmark, self.options, 0, "data.options")
        return Data(*_concatenate(train), *_concatenate(test), name=self.benchmark)


def _concatenate(datasets: Sequence[Any]) -> tuple[Tensor, Tensor]:
    parts = [source.read() for source in array_sources(datasets)]
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
