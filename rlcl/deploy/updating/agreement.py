"""Whether new labels contradict the deployed model, asked before anything learns from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from rlcl.deploy.model import Model
from rlcl.deploy.updating.gate import Condition, Verdict
from rlcl.deploy.updating.held_out import scores, scores_of
from rlcl.deploy.updating.incoming import Incoming
from rlcl.evaluation.plan import Plan
from rlcl.statistics.intervals import normal_quantile
from rlcl.streams.stream import Stream

__all__ = ["FAR", "agreement", "difference", "wilson"]

Array = np.ndarray[Any, Any]

FAR = 0.2  # below the share of right answers on held-out samples
NAME = "agreement with the deployed model"


def agreement(model: Model, incoming: Incoming, stream: Stream, plan: Plan) -> Condition:
    """Compares how often the deployed model agrees with new labels with how often it is right on held-out samples.

    Only rows of classes that it knows count. Labels disagree where the share is smaller by more than ``FAR`` with the
    whole 95 % interval: labels that somebody has flipped and a world that has changed look alike, and a candidate that
    learns flipped labels gains on others that are flipped, too. Regressors, autoencoders, and models of task ids are
    not asked.

    Args:
        model: that answers now.
        incoming: what is new.
        stream: with the former experiences, and ``incoming`` as the last one.
        plan: names the split that is judged on.
    """
    if model.signature.kind != "classifier" or model.signature.tasks:
        return _condition("passed", "not asked of this kind of model")
    new = np.concatenate([_known(model, *rows) for rows in (incoming.train, incoming.test)])
    if not len(new):
        return _condition("passed", "no row is of a class that the model knows")
    before = np.concatenate([scores(model, experience, plan) for experience in stream.evaluated[:-1]])
    low, high = difference(new, before)
    told = (
        f"right on {new.mean():.1%} of {len(new):,} new rows of classes that it knows, and on {before.mean():.1%} of "
        f"{len(before):,} held-out samples: {new.mean() - before.mean():+.3f} ({low:+.3f} to {high:+.3f})"
    )
    if high >= -FAR:
        return _condition("passed", told, float(new.mean() - before.mean()), low, high, len(new))
    remedy = (
        "; wrong labels and a real change look alike: look at the labels, then judge by rows whose labels are sure "
        "with --trusted FILE.npz, or learn from these with --accept-labels"
    )
    return _condition("labels disagree", told + remedy, float(new.mean() - before.mean()), low, high, len(new))


def difference(first: Array, second: Array) -> tuple[float, float]:
    """The 95 % interval of the difference of two shares, first minus second, on different samples.

    Args:
        first, second: (N,) of 0 and 1, not the same N; N at least 1.

    Source: Newcombe 1998, Interval estimation for the difference between independent proportions, method 10.
    """
    (low1, high1), (low2, high2) = wilson(first), wilson(second)
    one, two = float(first.mean()), float(second.mean())
    return one - two - math.hypot(one - low1, high2 - two), one - two + math.hypot(high1 - one, two - low2)


def wilson(found: Array) -> tuple[float, float]:
    """The 95 % interval of a share of (N,) zeros and ones; Wilson 1927."""
    n, share, z = len(found), float(found.mean()), normal_quantile()
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return centre - half, centre + half


def _known(model: Model, x: torch.Tensor, y: torch.Tensor | None) -> Array:
    """Scores of the rows whose class the model knows."""
    assert y is not None
    rows = y < len(model.signature.classes)
    if not rows.any():
        return np.empty(0)
    return scores_of(model, x[rows].numpy(), y[rows], None)


def _condition(
    verdict: Verdict, reason: str, value: float = 0.0, low: float | None = None, high: float | None = None,
    samples: int | None = None,
) -> Condition:  # fmt: skip
    return Condition(
        name=NAME, verdict=verdict, value=value, limit=-FAR, reason=reason, low=low, high=high, samples=samples
    )
