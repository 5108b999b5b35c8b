"""What a deployed model is to learn next: feedback from its log, a file, or another environment."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from rlcl.data.files import held_out, natural
from rlcl.deploy.log import Log
from rlcl.deploy.signature import Signature
from rlcl.errors import BundleError, DataError, Problem

__all__ = ["Incoming", "from_file", "from_log", "without"]

Array = np.ndarray[Any, Any]
AT_LEAST = 4  # rows, so that there are some to learn from and some to judge by


@frozen(kw_only=True, eq=False)
class Incoming:
    """New arrays, apart for learning and for judging.

    Args:
        name: for people, for example ``log 1-2,400``.
        train: (N, *shape) inputs and (N,) class numbers, (N, K) numbers, or None where nothing is labelled.
        test: (M, *shape) and (M, ...), held out of what is learned.
        classes: the names of all classes, those that the model knows first.
        last: the number in the log of the last feedback used (of an autoencoder, answer), 0 where it came from a file.
    """

    name: str
    train: tuple[Tensor, Tensor | None]
    test: tuple[Tensor, Tensor | None]
    classes: tuple[str, ...] = ()
    last: int = 0


def from_log(log: Log, signature: Signature, after: int, fraction: float) -> Incoming:
    """Everything that feedback has come for since, however late; of autoencoders all that was asked since.

    Args:
        log: of the deployment.
        signature: of the model that answers now.
        after: the last feedback (of an autoencoder, answer) that an earlier update has used.
        fraction: of the rows, held out evenly from each class.

    Raises:
        BundleError: there is too little.
    """
    wants_labels = signature.kind in ("classifier", "regressor")
    inputs, labels, last = [], [], log.last_feedback if wants_labels else after
    pages = log.pages(fed_after=after) if wants_labels else log.pages(after)
    for page in pages:
        if [f.to_json() for f in page.signature.inputs] != [f.to_json() for f in signature.inputs]:
            continue  # asked of a model whose inputs were others
        inputs.append(next(iter(page.inputs.values())))
        labels += page.feedback
        last = last if wants_labels else int(page.numbers[-1])
    rows = sum(map(len, inputs))
    if rows < AT_LEAST:
        what = "answers with new feedback" if wants_labels else "new answers"
        raise BundleError(f"the log holds {rows} {what}, and an update needs at least {AT_LEAST}; send more first")
    name = f"log {after + 1}-{last}"
    return _split(name, np.concatenate(inputs), labels if wants_labels else None, signature, fraction, last)


def from_file(path: Path, signature: Signature, fraction: float) -> Incoming:
    """Arrays ``x`` (N, *shape) and ``y`` (N,) or (N, K) of an npz file; y may hold names of classes.

    Args:
        path: of the file.
        signature: of the model that answers now.
        fraction: of the rows, held out evenly from each class.

    Raises:
        DataError: the file cannot be read, or its arrays do not fit.
    """
    try:
        with zipfile.ZipFile(path) as _, np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"--from {path} is no npz file of plain arrays: {error}") from error
    wants_labels = signature.kind in ("classifier", "regressor")
    missing = {"x", *(["y"] if wants_labels else [])} - set(arrays)
    if missing:
        raise DataError(f"--from {path}: expected the arrays {'x and y' if wants_labels else 'x'}, no {min(missing)}")
    x, y = arrays["x"], arrays.get("y")
    if y is not None and signature.kind == "classifier" and y.dtype.kind == "f" and (y != np.floor(y)).any():
        row = int(np.argmax(y != np.floor(y)))  # NaN as well
        raise DataError(f"--from {path}: y[{row}]: expected a class by name or whole number, got {y[row]}")
    if y is not None and len(y) != len(x):
        raise DataError(f"--from {path}: {len(x)} rows of x and {len(y)} of y")
    try:
        checked = signature.inputs[0].rows(x)
    except Problem as error:
        raise DataError(f"--from {path}: {error}") from error
    if len(x) < AT_LEAST:
        raise DataError(f"--from {path}: {len(x)} rows, and an update needs at least {AT_LEAST}")
    return _split(path.stem, checked, y.tolist() if wants_labels and y is not None else None, signature, fraction, 0)


def _split(
    name: str, x: Array, labels: Sequence[Any] | None, signature: Signature, fraction: float, last: int
) -> Incoming:
    """Each input once, with its latest label: what is asked often would be learned from and judged on at once."""
    x, kept = _once(x)
    labels = None if labels is None else [labels[row] for row in kept]
    if len(x) < AT_LEAST:
        raise BundleError(f"{name}: {len(x)} different inputs, and an update needs at least {AT_LEAST}; send more")
    classes, y, strata = signature.classes, None, np.zeros(len(x))
    if labels is not None and signature.kind == "classifier":
        names = [_name(label) for label in labels]
        classes = (*classes, *sorted(set(names) - set(classes), key=natural))
        number = {label: index for index, label in enumerate(classes)}
        strata = np.array([number[label] for label in names])
        y = torch.from_numpy(strata)
    elif labels is not None:
        y = _numbers(labels, signature)
    test = held_out(strata, fraction)
    if test.all() or not test.any():
        test = held_out(np.zeros(len(x)), fraction)
    inputs, rows = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(test)
    return Incoming(
        name=name,
        train=(inputs[~rows], None if y is None else y[~rows]),
        test=(inputs[rows], None if y is None else y[rows]),
        classes=classes,
        last=last,
    )


def _once(x: Array) -> tuple[Array, Array]:
    """The rows that differ, in the order they came last, and their places."""
    last = {row.tobytes(): place for place, row in enumerate(np.ascontiguousarray(x))}
    kept = np.array(sorted(last.values()), np.int64)
    return x[kept], kept


def without(incoming: Incoming, judged: Sequence[Tensor]) -> tuple[Incoming, int]:
    """What is new but for the training inputs that former experiences are judged on, and how many those were.

    Args:
        incoming: new arrays.
        judged: (N, *shape) held-out inputs of each former experience.
    """
    known = {row.tobytes() for inputs in judged for row in np.ascontiguousarray(inputs.numpy())}
    x, y = incoming.train
    keep = np.array([row.tobytes() not in known for row in np.ascontiguousarray(x.numpy())], bool)
    rows = torch.from_numpy(keep)
    return evolve(incoming, train=(x[rows], None if y is None else y[rows])), int((~keep).sum())


def _name(label: Any) -> str:
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _numbers(labels: Sequence[Any], signature: Signature) -> Tensor:
    width = signature.outputs[0].shape
    try:
        values = np.array(labels, np.float32).reshape(len(labels), *width)
    except (TypeError, ValueError):
        wanted = f"{width[0]} numbers" if width and width[0] > 1 else "a number"
        raise DataError(f"feedback: expected {wanted} for each answer") from None
    if not np.isfinite(values).all():
        raise DataError(
            f"feedback: number {int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(1)))} is not finite"
        )
    return torch.from_numpy(values)
