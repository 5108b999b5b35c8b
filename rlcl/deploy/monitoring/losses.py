"""What feedback says of answers, as losses: the smaller the better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlcl.deploy.log import Page
from rlcl.deploy.signature import Signature

__all__ = ["losses_of", "reference_losses"]

Array = np.ndarray[Any, Any]


def losses_of(page: Page) -> Array:
    """The loss of every answer of a page.

    Returns:
        (B,) float64: of a classifier 0 or 1 (also for a label that is none of its classes), of a regressor the mean
        squared error, of a policy the reward negated; NaN where the feedback says nothing of that kind.
    """
    if page.signature.kind == "classifier":
        return np.array([_wrong(page, row, value) for row, value in enumerate(page.feedback)])
    if page.signature.kind == "policy":
        return np.array([-_numbers(value, 1)[0] for value in page.feedback])
    if page.signature.kind == "regressor":
        outputs = page.outputs[page.signature.outputs[0].name].reshape(len(page.feedback), -1).astype(np.float64)
        labels = np.stack([_numbers(value, outputs.shape[1]) for value in page.feedback])
        return np.asarray(((outputs - labels) ** 2).mean(1))
    return np.full(len(page.feedback), np.nan)


def reference_losses(signature: Signature, outputs: Mapping[str, Array], labels: Array | None) -> Array:
    """The losses of the held-out sample, where it has labels; (N,) or (0,)."""
    said = outputs[signature.outputs[0].name]
    if labels is None or signature.kind not in ("classifier", "regressor"):
        return np.empty(0)
    if signature.kind == "classifier":
        return np.asarray(labels != said, np.float64)
    errors = (said.reshape(len(said), -1) - labels.reshape(len(said), -1)).astype(np.float64)
    return np.asarray((errors**2).mean(1))


def _wrong(page: Page, row: int, value: Any) -> float:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return np.nan
    number = int(page.outputs["class"][row])
    classes = page.signature.classes
    return float(str(value) != (classes[number] if number < len(classes) else str(number)))


def _numbers(value: Any, count: int) -> Array:
    """A number or a list of them, NaN where it is something else."""
    flat = value if isinstance(value, list) else [value]
    fits = len(flat) == count and all(isinstance(v, int | float) and not isinstance(v, bool) for v in flat)
    return np.array(flat if fits else [np.nan] * count, np.float64)
