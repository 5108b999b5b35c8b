"""Metrics of the rewards that a reinforcement learner earns during training, in its whole life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlcl.evaluation.metrics.metric import Metric, Undefined
from rlcl.evaluation.metrics.visits import visits_of

if TYPE_CHECKING:
    from rlcl.evaluation.results import Results

__all__ = ["REGRET", "RETURN_LIFETIME"]

NO_REWARDS = "no rewards of training were recorded; it is defined for reinforcement learners"


def return_lifetime(results: Results) -> float:
    """Compute the mean reward per env step of training, over the whole stream.

    Source: Khetarpal et al. 2022, Towards continual reinforcement learning, section 2 (average reward of a life); the
    estimate from all steps is ours.
    """
    rewards, steps = results.rewards, results.samples
    if not rewards:
        raise Undefined(NO_REWARDS)
    return sum(rewards.values()) / sum(steps[t] for t in rewards)


RETURN_LIFETIME = Metric("return.lifetime", return_lifetime, scope="training")


def regret(results: Results) -> float:
    """Compute the reward per env step by which single-task runs earn more, over the whole stream.

    It is the sum over visits of the reward that the single-task run on its task earned, minus the reward of the visit,
    divided by the env steps. Every visit is compared with a run that starts without experience and has the same budget.

    Source: regret against the best fixed comparator, Zinkevich 2003; with single-task runs as comparators it is ours.
    """
    visited = visits_of(results)
    rewards, steps = results.rewards, results.samples
    if not rewards:
        raise Undefined(NO_REWARDS)
    alone = {task: results.baseline_reward(task) for task in visited.tasks}
    if None in alone.values():
        raise Undefined("there are no single-task runs; set evaluation.baselines: single_task")
    lost = [_reward_of(alone[task], steps[row]) - rewards[row] for row, task in enumerate(visited.visits)]
    return sum(lost) / sum(steps[row] for row in range(len(visited.visits)))


REGRET = Metric("regret", regret, better="lower", scope="training")


def _reward_of(earned: tuple[float, float] | None, steps: float) -> float:
    """Return the reward of a single-task run in a number of env steps, from its total reward and env steps."""
    assert earned is not None
    total, count = earned
    return total * (steps / count)
