"""What is said of an experiment before it runs, where it can run and yet is hardly meant so."""

from __future__ import annotations

import logging
from functools import cache

from rlcl.registry import name_of
from rlcl.training.trainer import Trainer
from rlcl.types import Cautious, Warming

__all__ = ["remark"]

MANY_TIMES = 2  # a budget that is rounded up so much is hardly meant
logger = logging.getLogger(__name__)


def remark(trainer: Trainer, steps: int | None) -> None:
    """Says, once a process, what is suspicious in a learner's settings.

    Args:
        trainer: built.
        steps: of the whole run; None where the learner does not tell.
    """
    learner = trainer.learner
    if isinstance(learner, Warming) and steps is not None and 0 < steps <= learner.learning_starts:
        _say(
            f"learning_starts: {learner.learning_starts:,} env steps at random come before the first update, "
            f"and the whole budget is {steps:,}: nothing will be learned; set it lower, or raise the budget"
        )
    budgets = [part.budget.env_steps for experience in trainer.stream for part in experience.parts]
    planned = sum(amount for amount in budgets if amount is not None)
    if steps is not None and planned and steps >= MANY_TIMES * planned:
        _say(
            f"budget.env_steps: {planned:,} env steps are rounded up to {steps:,}, for learner "
            f"{name_of('learner', learner)} acts so long between two updates; lower n_steps or train_every, or raise it"
        )
    for caution in learner.cautions() if isinstance(learner, Cautious) else ():
        _say(caution)


@cache
def _say(text: str) -> None:
    logger.warning("%s", text)
