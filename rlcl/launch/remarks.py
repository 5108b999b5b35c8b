"""What is said of an experiment before it runs, where it can run and yet is hardly meant so."""

from __future__ import annotations

import logging
from functools import cache

from rlcl.training.trainer import Trainer
from rlcl.types import Cautious, Warming

__all__ = ["remark"]

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
    for caution in learner.cautions() if isinstance(learner, Cautious) else ():
        _say(caution)


@cache
def _say(text: str) -> None:
    logger.warning("%s", text)
