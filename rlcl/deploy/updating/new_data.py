"""New data for an update of a deployed model, split into training and held-out rows."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from rlcl.data.cells import natural_key
from rlcl.data.readers.files import held_out_mask
from rlcl.deploy.log import RequestLog
from rlcl.deploy.signature import Signature
from rlcl.errors import BundleError, DataError

__all__ = [
    "LABELLED",
    "MIN_ROWS",
    "NewData",
    "TrainingSummary",
    "check_classes",
    "read_log",
    "split_rows",
    "without_inputs",
]

Array = np.ndarray[Any, Any]
MIN_ROWS = 4  # so that there are both training and held-out rows
MIN_NEW_CLASS_ROWS = 10  # rows of an unknown class
LABELLED = ("classifier", "regressor")  # kinds of model that are trained on labels


@frozen(kw_only=True)
class TrainingSummary:
    """Summary of training rows, which is stored in their place.

    Args:
        classes: indices of their classes in ascending order.
        low, high: minimum and maximum of the inputs, per feature for vectors; infinite if all values are missing.
    """

    classes: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, inputs: Tensor, labels: Tensor | None) -> TrainingSummary:
        """Summarize rows (N, *shape) and their labels: class indices (N,), other labels, or None."""
        classes = () if labels is None or labels.is_floating_point() else tuple(torch.unique(labels).tolist())
        values = inputs.reshape(len(inputs), -1) if inputs.ndim == 2 else inputs.reshape(-1, 1)
        low = values.nan_to_num(math.inf).amin(0) if values.is_floating_point() else values.amin(0)
        high = values.nan_to_num(-math.inf).amax(0) if values.is_floating_point() else values.amax(0)
        return cls(classes=classes, low=tuple(map(float, low)), high=tuple(map(float, high)))


@frozen(kw_only=True, eq=False)
class NewData:
    """New arrays, split into training and held-out rows.

    Args:
        name: name in reports, for example ``log 1-2,400``.
        train: inputs (N, *shape), and class indices (N,), numbers (N, K), or None for unlabelled data.
        test: held-out inputs (M, *shape) and labels (M, ...).
        classes: names of all classes, the known ones first.
        last_number: number of the last used feedback in the log (for an autoencoder of the last answer); 0 for a file.
        log_id: identifier of the log; empty if it has none.
        stored_summary: summary of the training rows of an earlier update, which are not stored; ``train`` is then a
            substitute.
    """

    name: str
    train: tuple[Tensor, Tensor | None]
    test: tuple[Tensor, Tensor | None]
    classes: tuple[str, ...] = ()
    last_number: int = 0
    log_id: str = ""
    stored_summary: TrainingSummary | None = None

    @property
    def summary(self) -> TrainingSummary:
        """Summary of the training rows."""
        return TrainingSummary.of(*self.train) if self.stored_summary is None else self.stored_summary


def read_log(log: RequestLog, signature: Signature, added: Sequence[NewData], fraction: float) -> NewData:
    """Read all answers that received feedback since the last update; for autoencoders all answers since then.

    Args:
        log: log of the deployment.
        signature: signature of the deployed model.
        added: data of earlier updates, from this log or from others.
        fraction: fraction of held-out rows, stratified by class.

    Raises:
        BundleError: there are too few rows.
    """
    numbers = [data.last_number for data in added if data.last_number and log.has_id(data.log_id)]
    after = max(numbers, default=0)
    wants_labels = signature.kind in LABELLED
    inputs, labels, last = [], [], log.last_feedback if wants_labels else after
    pages = log.pages(feedback_after=after) if wants_labels else log.pages(after)
    for page in pages:
        if not _same_inputs(page.signature, signature):
            continue  # requests to a model with other inputs
        inputs.append(next(iter(page.inputs.values())))
        labels += page.feedback
        last = last if wants_labels else int(page.numbers[-1])
    rows = sum(map(len, inputs))
    if rows < MIN_ROWS:
        content = "answers with new feedback" if wants_labels else "new answers"
        remedy = "send more feedback" if wants_labels else "send more requests"
        raise BundleError(f"the log contains {rows} {content}; an update needs at least {MIN_ROWS}; {remedy}")
    y: Any = None
    if signature.kind == "classifier":
        y = [_class_name(label) for label in labels]
    elif wants_labels:
        y = _numbers(labels, signature)
    data = split_rows(f"log {after + 1}-{last}", np.concatenate(inputs), y, signature, fraction)
    return evolve(data, last_number=last, log_id=log.id)


def _same_inputs(first: Signature, second: Signature) -> bool:
    pairs = zip(first.inputs, second.inputs, strict=False)
    return len(first.inputs) == len(second.inputs) and all(one.same_rows(other) for one, other in pairs)


def split_rows(name: str, x: Array, labels: Any, signature: Signature, fraction: float) -> NewData:
    """Remove duplicate inputs and split the remaining rows into training and held-out rows.

    The last row of equal inputs is kept, with the latest label. Otherwise equal inputs could be in both parts.

    Args:
        name: name in reports.
        x: inputs (N, *shape) in the form of the signature.
        labels: N class names, numbers (N, K) float32, or None.
        signature: signature of the deployed model.
        fraction: fraction of held-out rows, stratified by class.

    Raises:
        BundleError: there are too few distinct inputs.
    """
    x, rows_kept = _without_duplicates(x)
    if len(x) < MIN_ROWS:
        raise BundleError(f"{name}: {len(x)} distinct inputs; an update needs at least {MIN_ROWS}; send more")
    classes, y, strata = signature.classes, None, np.zeros(len(x))
    if labels is not None and signature.kind == "classifier":
        names = [labels[row] for row in rows_kept]
        classes = (*classes, *sorted(set(names) - set(classes), key=natural_key))
        indices = {label: index for index, label in enumerate(classes)}
        strata = np.array([indices[label] for label in names])
        y = torch.from_numpy(strata)
    elif labels is not None:
        y = torch.from_numpy(labels[rows_kept])
    test = held_out_mask(strata, fraction)
    if test.all() or not test.any():
        test = held_out_mask(np.zeros(len(x)), fraction)
    inputs, held_out = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(test)
    return NewData(
        name=name,
        train=(inputs[~held_out], None if y is None else y[~held_out]),
        test=(inputs[held_out], None if y is None else y[held_out]),
        classes=classes,
    )


def check_classes(new_data: NewData, known: Sequence[str]) -> None:
    """Check that new classes have enough rows, and that no name differs from another only in case or white space.

    Args:
        new_data: new data.
        known: names of the known classes.

    Raises:
        BundleError: a new class is not valid.
    """
    normalized = {_normalize(name): name for name in known}
    for index, new in enumerate(new_data.classes[len(known) :], len(known)):
        similar = normalized.setdefault(_normalize(new), new)
        if similar != new:
            raise BundleError(
                f"{new_data.name}: the class {new!r} differs from {similar!r} only in case or white space; use one "
                "name for both"
            )
        count = sum(int((labels == index).sum()) for _, labels in (new_data.train, new_data.test) if labels is not None)
        if count < MIN_NEW_CLASS_ROWS:
            raise BundleError(
                f"{new_data.name}: {count} row{'s' * (count != 1)} of {new!r}, a class that the model does not know; "
                f"expected at least {MIN_NEW_CLASS_ROWS}; correct the label if it is wrong, remove the rows, or send "
                "more"
            )


def _normalize(name: str) -> str:
    """Return a name without case and white space, in Unicode normal form."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def _without_duplicates(x: Array) -> tuple[Array, Array]:
    """Return the last row of each set of equal rows, and the indices of these rows."""
    last_index = {row.tobytes(): index for index, row in enumerate(np.ascontiguousarray(x))}
    indices = np.array(sorted(last_index.values()), np.int64)
    return x[indices], indices


def without_inputs(new_data: NewData, excluded: Sequence[Tensor]) -> tuple[NewData, int]:
    """Remove training rows whose inputs are held out of earlier experiences.

    Args:
        new_data: new data.
        excluded: held-out inputs (N, *shape) of each earlier experience.

    Returns:
        The remaining data, and the number of removed rows.
    """
    excluded_rows = {row.tobytes() for inputs in excluded for row in np.ascontiguousarray(inputs.numpy())}
    x, y = new_data.train
    keep = np.array([row.tobytes() not in excluded_rows for row in np.ascontiguousarray(x.numpy())], bool)
    rows = torch.from_numpy(keep)
    return evolve(new_data, train=(x[rows], None if y is None else y[rows])), int((~keep).sum())


def _class_name(label: Any) -> str:
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _numbers(labels: Sequence[Any], signature: Signature) -> Array:
    """Convert N numbers, or lists of K numbers, to (N, K) float32."""
    width = signature.outputs[0].shape
    try:
        values = np.array(labels, np.float32).reshape(len(labels), *width)
    except (TypeError, ValueError):
        expected = f"{width[0]} numbers" if width and width[0] > 1 else "a number"
        raise DataError(f"feedback: expected {expected} for each answer; send corrected feedback") from None
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(1)))
        raise DataError(f"feedback: expected finite numbers, got {values[row].tolist()} in row {row}")
    return values
