"""Round of a reinforcement learner: collecting env steps and updating on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rlcl.learners.reinforcement.collector import Collector
    from rlcl.learners.reinforcement.learner import ReinforcementLearner

__all__ = ["RoundFunction", "collect_and_update"]


class RoundFunction(Protocol):
    """Function that lets a learner collect ``steps_per_round`` env steps and update on them."""

    def __call__(self, learner: ReinforcementLearner, collector: Collector, progress: float, /) -> Iterator[None]:
        """Run one round.

        Args:
            learner: a prepared learner.
            collector: its training environments.
            progress: used fraction of the budget that schedules cover (see ``schedule_over``), in [0, 1).

        Yields:
            None while the round waits for other learners (batched seeds); nothing for a single learner.
        """
        ...


def collect_and_update(learner: ReinforcementLearner, collector: Collector, progress: float) -> Iterator[None]:
    """Collect env steps, then update on each batch in turn."""
    for batch in learner.batches(learner.collect(collector, progress), collector, progress):
        learner.after_update(learner.update_on(batch))
    learner.batch = None
    learner.round.end()
    yield from ()
