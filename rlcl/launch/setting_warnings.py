"""Warnings about settings that are valid but probably not intended."""

from __future__ import annotations

import logging
from functools import cache

from rlcl.registry import name_of
from rlcl.training.trainer import Trainer
from rlcl.types import Cautious, Warming

__all__ = ["warn_about_settings"]

MIN_ROUNDING_FACTOR = 2  # a budget that is rounded up by at least this factor is probably not intended
logger = logging.getLogger(__name__)


def warn_about_settings(trainer: Trainer, steps: int | None) -> None:
    """Log a warning for each suspicious setting of a learner, once per process.

    Args:
        trainer: the trainer with the learner.
        steps: steps of the whole run; None if the learner does not report them.
    """
    learner = trainer.learner
    if isinstance(learner, Warming) and steps is not None and 0 < steps <= learner.learning_starts:
        _warn_once(
            f"learning_starts: {learner.learning_starts:,} env steps with random actions precede the first update, "
            f"and the whole budget is {steps:,} env steps: nothing will be learned; lower it, or raise the budget"
        )
    budgets = [part.budget.env_steps for experience in trainer.stream for part in experience.parts]
    planned = sum(amount for amount in budgets if amount is not None)
    if steps is not None and planned and steps >= MIN_ROUNDING_FACTOR * planned:
        _warn_once(
            f"budget.env_steps: {planned:,} env steps are rounded up to {steps:,}, because learner "
            f"{name_of('learner', learner)} takes that many env steps before an update; lower n_steps or train_every, "
            "or raise the budget"
        )
    for warning in learner.cautions() if isinstance(learner, Cautious) else ():
        _warn_once(warning)


@cache
def _warn_once(text: str) -> None:
    logger.warning("%s", text)
