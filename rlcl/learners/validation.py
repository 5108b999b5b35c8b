"""The loss on validation data, by which an experience may be stopped early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rlcl.errors import UnsupportedError
from rlcl.learners.minibatches import ROWS_AT_ONCE, Loader
from rlcl.seeding import preserved_global_state
from rlcl.types import Experience, Stream

if TYPE_CHECKING:
    from rlcl.learners.gradient import GradientLearner

__all__ = ["check_validation", "validation_loss"]

SEED = 0  # of codes and views drawn for the validation loss: the same ones at each check


def validation_loss(learner: GradientLearner, loader: Loader, part: Experience) -> float:
    """Mean of a learner's own loss over a part's validation data, with the same randomness each time."""
    source = part.validation
    assert source is not None
    assert source.kind == "arrays"
    data = loader.load(source, source.targets, part.task_id)
    total = 0.0
    with preserved_global_state(), learner.predicting(part.task_id), learner.changed.seeded(SEED):
        torch.manual_seed(SEED)
        for rows in torch.split(torch.arange(len(data)), ROWS_AT_ONCE):
            total += float(learner.loss(data.at(rows))) * len(rows)
    return total / len(data)


def check_validation(stream: Stream) -> None:
    """Every experience must have held something out, and its end must be known.

    Raises:
        UnsupportedError: one has not.
    """
    if stream.visibility.boundaries == "hidden":
        raise UnsupportedError(
            "learner.early_stopping: it ends an experience, and this stream hides where one ends "
            "(stream.visibility.boundaries)"
        )
    for experience in stream:
        for part in experience.parts:
            if part.validation is None:
                raise UnsupportedError(
                    f"learner.early_stopping: experience {part.index} ({part.name}) has no validation data; set "
                    f"validation, for example to 0.1, so that one at least of its {len(part.arrays)} rows is held out"
                )
