"""Learners and methods for data-parallel updates; as a script, the processes that torchrun starts train them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from harness import HOSTS, HostCase, classifier, digit_stream, learn_all, weights
from method_settings import METHODS, method
from safetensors.torch import save_file
from torch import Tensor

from rlcl.encoders.scale import Scale
from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Sgd
from rlcl.networks.progressive import Progressive
from rlcl.process_group import joined
from rlcl.types import Method

OWN = ("classifier_sgd", "classifier_task_ids", "regressor", "autoencoder")
OPTIONS: dict[str, dict[str, Any]] = {
    "one row in the last minibatch": {"batch_size": 5},
    "accumulate": {"accumulate": 2},
    "clip_norm": {"clip_norm": 0.1},
    "ema": {"ema": 0.9},
    "class weights": {"class_weights": "balanced"},
}


def _heads(*methods: Method) -> Any:
    return classifier(*methods, network=Progressive(hidden=(8,)), optimizer=Sgd(lr=0.1, momentum=0.9))


def cases() -> Iterator[tuple[str, Callable[[], Any], HostCase]]:
    """Yield the name, the learner and the host of each case."""
    for host in OWN:
        case = HOSTS[host]
        yield host, lambda case=case: case.prepared(), case  # type: ignore[misc]
        for name in METHODS:
            yield f"{host} {name}", lambda case=case, name=name: case.prepared(method(name)), case  # type: ignore[misc]
    for name, settings in OPTIONS.items():
        make = lambda *m, settings=settings: classifier(*m, optimizer=Sgd(lr=0.1), **settings)  # noqa: E731
        case = HostCase(make, digit_stream, "categorical", frozenset(), Scale)
        yield name, lambda case=case: case.prepared(), case  # type: ignore[misc]
    case = HostCase(_heads, lambda: digit_stream(task_ids=True), "categorical", frozenset(), Scale)
    yield "progressive", case.prepared, case


def trained(only: Collection[str] | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Train all cases, or those that are named, in float64; return their weights, and why the others are refused."""
    torch.set_default_dtype(torch.float64)
    found, refused = {}, {}
    try:
        for name, make, case in cases():
            if only is not None and name not in only:
                continue
            try:
                learner = make()
            except UnsupportedError as error:
                refused[name] = str(error)
                continue
            if (reason := learner.indivisible()) is not None:
                refused[name] = reason
                continue
            learn_all(learner, case.stream())
            found.update({f"{name}: {key}": tensor.clone() for key, tensor in weights(learner).items()})
    finally:
        torch.set_default_dtype(torch.float32)
    return found, refused


if __name__ == "__main__":
    with joined() as group:
        assert group.size == 2
        result, reasons = trained()
        if group.rank == 0:
            save_file(result, Path(sys.argv[1]), metadata=reasons)
