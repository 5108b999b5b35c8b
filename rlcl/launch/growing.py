"""A learner's state after its stream has grown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlcl.learners.gradient import GradientLearner
from rlcl.learners.growth import grown
from rlcl.learners.supervised.gdumb import GDumb
from rlcl.types import Learner

__all__ = ["grown_for"]


def grown_for(learner: Learner, state: Mapping[str, Any], fresh: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """The state of a learner of a shorter stream, made to fit one of a longer stream; as it is where nothing grows.

    Args:
        learner: of the longer stream, prepared.
        state: to be grown.
        fresh: of ``learner``, which has learned nothing.
        classes: of the longer stream.

    Raises:
        UnsupportedError: its network does not grow by its outputs alone.
    """
    if isinstance(learner, GradientLearner):
        names = [name for name, p in learner.module.named_parameters() if p.requires_grad]
        return grown(state, fresh, names, _told_apart(state, fresh, classes), classes)
    return learner.grown(state) if isinstance(learner, GDumb) else dict(state)


def _told_apart(state: Mapping[str, Any], fresh: Mapping[str, Any], classes: int) -> int:
    """How many classes the state's network tells apart: what the new network's last widened weight had."""
    for name, tensor in fresh["module"].items():
        before = state["module"].get(name)
        if before is not None and before.shape != tensor.shape and tensor.shape[0] == classes:
            return int(before.shape[0])
    return classes
