"""How a reinforcement learner comes from one yield to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rlcl.learners.reinforcement.collecting import Collector
    from rlcl.learners.reinforcement.learner import ReinforcementLearner

__all__ = ["Advance", "by_itself"]


class Advance(Protocol):
    """Makes a learner act for ``steps_per_round`` env steps, and learn from them."""

    def __call__(self, learner: ReinforcementLearner, collector: Collector, progress: float, /) -> Iterator[None]:
        """
        Args:
            learner: which.
            collector: its environments.
            progress: share of what schedules run over that is behind, in [0, 1).

        Yields:
            While it waits; never where the learner goes by itself.
        """
        ...


def by_itself(learner: ReinforcementLearner, collector: Collector, progress: float) -> Iterator[None]:
    """Act, then learn from each lesson in turn."""
    for lesson in learner.lessons(learner.collect(collector, progress), collector, progress):
        learner.learned(learner.improve(lesson))
    learner.batch = None
    yield from ()
