"""Validation loss for early stopping, and the check of its requirements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rlcl.errors import UnsupportedError
from rlcl.learners.minibatches import ROWS_AT_ONCE, MinibatchLoader
from rlcl.seeding import preserved_global_state
from rlcl.types import Experience, Stream

if TYPE_CHECKING:
    from rlcl.learners.gradient import GradientLearner

__all__ = ["check_validation", "validation_loss"]

SEED = 0  # seed of random codes and views for the validation loss, the same at each check


def validation_loss(learner: GradientLearner, loader: MinibatchLoader, part: Experience) -> float:
    """Return the mean loss of a learner over the validation data of a part, with the same random numbers each time."""
    source = part.validation
    assert source is not None
    assert source.kind == "arrays"
    data = loader.load(source, source.targets, part.task_id)
    total = 0.0
    with preserved_global_state(), learner.predicting(part.task_id), learner.augmentations.seeded(SEED):
        torch.manual_seed(SEED)
        for rows in torch.split(torch.arange(len(data)), ROWS_AT_ONCE):
            total += float(learner.loss(data.at(rows))) * len(rows)
    return total / len(data)


def check_validation(stream: Stream) -> None:
    """Check that every experience has validation data and that the ends of experiences are known.

    Raises:
        UnsupportedError: boundaries are hidden, or a part of an experience has no validation data.
    """
    if stream.visibility.boundaries == "hidden":
        raise UnsupportedError(
            "learner.early_stopping: it stops an experience early, but this stream hides where an experience ends "
            "(stream.visibility.boundaries); remove it"
        )
    for experience in stream:
        for part in experience.parts:
            if part.validation is None:
                raise UnsupportedError(
                    f"learner.early_stopping: experience {part.index} ({part.name}) has no validation data; set "
                    f"validation, for example to 0.1, so that at least one of its {len(part.arrays)} rows is held out"
                )
