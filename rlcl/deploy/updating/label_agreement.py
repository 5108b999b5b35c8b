"""Check before an update whether new labels contradict the deployed model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from rlcl.deploy.model import Model
from rlcl.deploy.updating.gate import GateCondition, Verdict
from rlcl.deploy.updating.held_out_scores import held_out_scores, row_scores
from rlcl.deploy.updating.new_data import NewData
from rlcl.evaluation.plan import Plan
from rlcl.statistics.intervals import normal_quantile
from rlcl.streams.stream import Stream

__all__ = ["MAX_DROP", "difference_interval", "label_agreement", "wilson_interval"]

Array = np.ndarray[Any, Any]

MAX_DROP = 0.2  # from the accuracy on held-out samples to the agreement with new labels
NAME = "agreement with the deployed model"


def label_agreement(model: Model, new_data: NewData, stream: Stream, plan: Plan) -> GateCondition:
    """Compare the deployed model's agreement with new labels to its accuracy on held-out samples.

    Only rows of known classes count. The verdict is ``labels disagree`` if the whole 95 % interval of the difference is
    below ``-MAX_DROP``. Flipped labels cannot be distinguished from a real change of the data, and a candidate that
    is trained on flipped labels gains on held-out rows with flipped labels. Regressors, autoencoders, and models that
    take task ids are not checked.

    Args:
        model: deployed model.
        new_data: new data.
        stream: stream with the earlier experiences, and ``new_data`` as the last one.
        plan: evaluation plan, which selects the split.
    """
    if model.signature.kind != "classifier" or model.signature.tasks:
        return _condition("passed", "not checked for this kind of model")
    new = np.concatenate([_known_class_scores(model, *rows) for rows in (new_data.train, new_data.test)])
    if not len(new):
        return _condition("passed", "no row has a class that the model knows")
    held_out = np.concatenate([held_out_scores(model, experience, plan) for experience in stream.evaluated[:-1]])
    low, high = difference_interval(new, held_out)
    difference = float(new.mean() - held_out.mean())
    reason = (
        f"agrees with {new.mean():.1%} of {len(new):,} new labels of known classes; accuracy on {len(held_out):,} "
        f"held-out samples {held_out.mean():.1%}; difference {difference:+.3f} ({low:+.3f} to {high:+.3f})"
    )
    if high >= -MAX_DROP:
        return _condition("passed", reason, difference, low, high, len(new))
    remedy = (
        "; the labels are wrong or the data have changed: inspect the labels, then judge the candidate on verified "
        "labels with --trusted FILE.npz, or train on the new labels with --accept-labels"
    )
    return _condition("labels disagree", reason + remedy, difference, low, high, len(new))


def difference_interval(first: Array, second: Array) -> tuple[float, float]:
    """Return the 95 % confidence interval of the difference of two proportions, first minus second.

    Args:
        first, second: (N,) independent samples of 0 and 1; N at least 1, may differ.

    Source: Newcombe 1998, Interval estimation for the difference between independent proportions, method 10.
    """
    (low1, high1), (low2, high2) = wilson_interval(first), wilson_interval(second)
    one, two = float(first.mean()), float(second.mean())
    return one - two - math.hypot(one - low1, high2 - two), one - two + math.hypot(high1 - one, two - low2)


def wilson_interval(sample: Array) -> tuple[float, float]:
    """Return the 95 % confidence interval of a proportion from (N,) zeros and ones.

    Source: Wilson 1927.
    """
    n, share, z = len(sample), float(sample.mean()), normal_quantile()
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return centre - half, centre + half


def _known_class_scores(model: Model, x: torch.Tensor, y: torch.Tensor | None) -> Array:
    """Return the scores of the rows whose class the model knows."""
    assert y is not None
    rows = y < len(model.signature.classes)
    if not rows.any():
        return np.empty(0)
    return row_scores(model, x[rows].numpy(), y[rows], None)


def _condition(
    verdict: Verdict, reason: str, value: float = 0.0, low: float | None = None, high: float | None = None,
    samples: int | None = None,
) -> GateCondition:  # fmt: skip
    return GateCondition(
        name=NAME, verdict=verdict, value=value, limit=-MAX_DROP, reason=reason, low=low, high=high, samples=samples
    )
