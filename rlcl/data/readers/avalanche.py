"""The classic benchmarks of Avalanche: their streams as arrays, and the whole of one as a data set."""

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
from rlcl.data.avalanche_import import check_options, import_avalanche, make, named
from rlcl.data.expect import Expectation
from rlcl.data.root import data_root, root_origin
from rlcl.data.sources import Data, LabelledArrays
from rlcl.errors import DataError, Problem
from rlcl.seeding import preserved_global_state
from rlcl.types import DataSet

__all__ = ["HELD", "AvalancheData", "load_benchmark", "sources"]

HELD = 2**30  # bytes of one stream's inputs that are held in memory; larger ones are read anew when they are asked for

RESERVED = {
    "dataset_root": "the data root is $RLCL_DATA",
    "return_task_id": "set the stream's visibility: {task_ids: visible}",
}


def load_benchmark(name: str, options: Mapping[str, Any], seed: int, where: str) -> tuple[list[Any], list[Any]]:
    """The data sets of a benchmark's experiences, to train and to test on, under its transforms for evaluation.

    Args:
        name: a function of ``avalanche.benchmarks.classic``.
        options: the benchmark's own keyword arguments.
        seed: its seed, where it has one and the options do not say it.
        where: the options' key path.

    Raises:
        Problem: a benchmark or an option that does not exist.
        DataError: files that are missing and cannot be downloaded.
    """
    classic = vars(import_avalanche().benchmarks.classic)
    # Also CORe50 and CLStream51, but not the helpers that stand beside them.
    known = {key: value for key, value in classic.items() if inspect.isfunction(value) and key[0].isupper()}
    benchmark = named(name, known, "benchmark", f"{where.rpartition('options')[0]}benchmark")
    parameters = inspect.signature(benchmark).parameters
    check_options(benchmark, name, options, {k: v for k, v in RESERVED.items() if k in parameters}, where)
    given = {"dataset_root": str(data_root()), "seed": seed}
    arguments = {**{key: value for key, value in given.items() if key in parameters}, **options}
    try:
        # It seeds torch's global generator, and prints.
        with preserved_global_state(), redirect_stdout(io.StringIO()):
            made = make(benchmark, name, arguments)
    except (OSError, RuntimeError) as error:
        told = str(error).strip().splitlines()[-1]
        raise DataError(
            f"benchmark {name!r}: its files are not complete in {data_root().resolve()} ({root_origin()}) and could "
            f"not be downloaded ({told}); put them there, or set RLCL_DATA"
        ) from error
    streams = (made.train_stream, made.test_stream)
    train, test = ([experience.dataset.eval() for experience in stream] for stream in streams)
    if len(test) not in (1, len(train)):
        raise Problem(f"{where}: {len(train)} experiences to train and {len(test)} to test on; use another benchmark")
    return train, test


def sources(datasets: Sequence[Any]) -> list[LabelledArrays]:
    """Avalanche's data sets as arrays: one tensor that they share, or rows that are read when they are asked for.

    A stream whose experiences are parts of one data set takes as much memory as that data set. Where
    each experience transforms the whole (PermutedMNIST), they are soon too large to be held.
    """
    labels = [torch.tensor([int(y) for y in dataset.targets]) for dataset in datasets]
    rows = [torch.arange(len(dataset)) for dataset in datasets]
    if 4 * Items(datasets[0])(rows[0][:1]).numel() * sum(map(len, rows)) > HELD:
        parts = zip(rows, labels, datasets, strict=True)
        return [LabelledArrays(numbers, y, transform=Items(dataset)) for numbers, y, dataset in parts]
    inputs = torch.cat([Items(dataset)(numbers) for numbers, dataset in zip(rows, datasets, strict=True)])
    whole, places = LabelledArrays(inputs, torch.cat(labels)), torch.arange(len(inputs))
    return [whole.subset(part) for part in torch.split(places, [len(numbers) for numbers in rows])]


@frozen
class Items:
    """Reads rows (B,) int64 of one of Avalanche's data sets, to (B, *observation) float32."""

    dataset: Any

    def __call__(self, rows: Tensor) -> Tensor:
        items = [self.dataset[int(row)][0] for row in rows]
        if not all(isinstance(item, Tensor) for item in items):
            raise DataError(
                f"Avalanche's data set gives {type(items[0]).__name__}, expected tensors; leave its transforms as "
                "they are"
            )
        return torch.stack(items)


@frozen(kw_only=True)
class AvalancheData(DataSet):
    """All that a classic benchmark of Avalanche holds, as one data set for any stream of rlcl.

    Args:
        benchmark: a function of ``avalanche.benchmarks.classic`` by name, for example ``SplitMNIST``.
        options: the benchmark's own keyword arguments.
        expect: what the data must be, checked when they are loaded.

    Source: Carta et al. 2023, Avalanche: a PyTorch library for deep continual learning.
    """

    benchmark: str = option()
    options: Mapping[str, Any] = option(factory=dict)
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        train, test = load_benchmark(self.benchmark, self.options, 0, "data.options")
        return Data(*_joined(train), *_joined(test), name=self.benchmark)


def _joined(datasets: Sequence[Any]) -> tuple[Tensor, Tensor]:
    parts = [source.read() for source in sources(datasets)]
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
