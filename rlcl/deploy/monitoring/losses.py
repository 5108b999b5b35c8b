"""Losses of predictions, from feedback and from held-out labels; smaller is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlcl.deploy.log import AnswerPage
from rlcl.deploy.signature import Signature

__all__ = ["feedback_losses", "reference_losses"]

Array = np.ndarray[Any, Any]


def feedback_losses(page: AnswerPage) -> Array:
    """Compute the loss of each answer of a page from its feedback.

    Returns:
        (B,) float64. For a classifier 0 or 1 (1 also for a label that is none of its classes), for a regressor the
        mean squared error, for a policy the negative reward; NaN if the feedback has another form.
    """
    if page.signature.kind == "classifier":
        return np.array([_classification_error(page, row, value) for row, value in enumerate(page.feedback)])
    if page.signature.kind == "policy":
        return np.array([-_numbers(value, 1)[0] for value in page.feedback])
    if page.signature.kind == "regressor":
        outputs = page.outputs[page.signature.outputs[0].name].reshape(len(page.feedback), -1).astype(np.float64)
        labels = np.stack([_numbers(value, outputs.shape[1]) for value in page.feedback])
        return np.asarray(((outputs - labels) ** 2).mean(1))
    return np.full(len(page.feedback), np.nan)


def reference_losses(signature: Signature, outputs: Mapping[str, Array], labels: Array | None) -> Array:
    """Compute the (N,) losses of the reference sample, or return (0,) if it has no labels."""
    predictions = outputs[signature.outputs[0].name]
    if labels is None or signature.kind not in ("classifier", "regressor"):
        return np.empty(0)
    if signature.kind == "classifier":
        return np.asarray(labels != predictions, np.float64)
    errors = (predictions.reshape(len(predictions), -1) - labels.reshape(len(predictions), -1)).astype(np.float64)
    return np.asarray((errors**2).mean(1))


def _classification_error(page: AnswerPage, row: int, value: Any) -> float:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return np.nan
    predicted = int(page.outputs["class"][row])
    classes = page.signature.classes
    return float(str(value) != (classes[predicted] if predicted < len(classes) else str(predicted)))


def _numbers(value: Any, count: int) -> Array:
    """Return ``count`` numbers from a number or a list of numbers, NaN if the value has another form."""
    flat = value if isinstance(value, list) else [value]
    fits = len(flat) == count and all(isinstance(v, int | float) and not isinstance(v, bool) for v in flat)
    return np.array(flat if fits else [np.nan] * count, np.float64)
