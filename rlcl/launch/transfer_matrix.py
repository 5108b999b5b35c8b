"""Returns of single-task policies on all tasks of a stream, which show whether the tasks interfere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from rich.console import Console

from rlcl.errors import UnsupportedError
from rlcl.evaluation.episodes import RandomPolicy, run_episodes
from rlcl.evaluation.measures import environment_of
from rlcl.evaluation.plan import Plan
from rlcl.experiment import Experiment
from rlcl.launch.baselines import single_task_experiment
from rlcl.launch.build import make_stream
from rlcl.launch.restored_run import restore_run
from rlcl.launch.seed_run import run_folder
from rlcl.launch.seeds import run_seed
from rlcl.tracking.runs import runs_at
from rlcl.types import Experience

__all__ = ["INTERFERING", "TransferMatrix", "transfer_matrix"]

Array = np.ndarray[Any, Any]

# Score below which a task is not solved by a policy of another task: 1 is that of its own policy, 0 of random actions.
INTERFERING = 0.8


@frozen(eq=False)
class TransferMatrix:
    """Returns of the single-task policy of each task on all tasks, mean over episodes and seeds.

    Args:
        tasks: names of the T tasks.
        returns: (T, T) return of the policy of task i on task j.
        random: (T,) return of random actions on each task.
    """

    tasks: tuple[str, ...]
    returns: Array
    random: Array

    @property
    def scores(self) -> Array:
        """(T, T) returns, scaled so that random actions have 0 and the own policy of a task has 1.

        The column of a task whose own policy is not better than random actions is NaN.
        """
        span = np.diag(self.returns) - self.random
        scaled: Array = (self.returns - self.random) / np.where(span > 0, span, np.nan)
        return scaled

    @property
    def best_common(self) -> tuple[int, float]:
        """The task whose policy has the highest minimum score over all tasks, and that score; NaN if unknown."""
        worst = np.array([np.nan if np.isnan(row).all() else np.nanmin(row) for row in self.scores])
        if np.isnan(worst).all():
            return 0, float("nan")
        best = int(np.nanargmax(worst))
        return best, float(worst[best])

    @property
    def interferes(self) -> bool | None:
        """Whether no single-task policy solves all tasks; None if no task was learned."""
        score = self.best_common[1]
        return None if np.isnan(score) else score < INTERFERING

    @property
    def statement(self) -> str:
        """The finding as a sentence."""
        if len(self.tasks) < 2:
            return "The stream has a single task."
        best, score = self.best_common
        if self.interferes is None:
            return "No single-task policy is better than random actions; increase the budget."
        if self.interferes:
            return (
                f"The tasks interfere: the best single-task policy for all tasks, that of {self.tasks[best]}, has a "
                f"score of {score:.2f} on its worst task (1 is the task's own policy, 0 random actions)."
            )
        return (
            f"The tasks hardly interfere: the policy of {self.tasks[best]} has a score of at least {score:.2f} on each "
            "task (1 is the task's own policy, 0 random actions), so that the stream says little about forgetting."
        )

    @property
    def facts(self) -> dict[str, Any]:
        """The content as plain values; null for NaN."""
        return {
            "tasks": list(self.tasks),
            "returns": self.returns.tolist(),
            "random": self.random.tolist(),
            "scores": [[None if np.isnan(v) else v for v in row] for row in self.scores.tolist()],
            "interferes": self.interferes,
            "statement": self.statement,
        }


def transfer_matrix(experiment: Experiment, root: Path, console: Console) -> TransferMatrix:
    """Train a policy on each task alone, or read finished runs, and evaluate it on all tasks.

    The policies are the single-task baselines of the experiment (``evaluation.baselines``), so that its runs reuse
    them.

    Args:
        experiment: an experiment with a stream of environments.
        root: folder of all runs.
        console: console for the progress.

    Raises:
        UnsupportedError: the stream has no environments, or it drifts.
    """
    by_seed = []
    for seed in experiment.seeds:
        stream = make_stream(experiment, seed)
        if stream.spec.kind != "environment" or stream.moments is not None:
            raise UnsupportedError("--transfer needs a stream of environments with separate tasks")
        tasks = _distinct_tasks(stream.evaluated)
        returns, plan = [], experiment.evaluation
        for task in tasks:
            alone = single_task_experiment(experiment, seed, task.index)
            run_seed(alone, seed, root, console)
            (run,) = runs_at(run_folder(root, alone, seed))
            trainer = restore_run(run).trainer
            own_id = trainer.stream[0].task_id if trainer.stream.visibility.at_evaluation else None
            returns.append([_mean_return(trainer.learner, other, plan, own_id) for other in tasks])
        random = [_mean_return(RandomPolicy(environment_of(task, plan)), task, plan, None) for task in tasks]
        by_seed.append((np.array(returns), np.array(random)))
    names = tuple(task.name for task in tasks)
    return TransferMatrix(names, np.mean([r for r, _ in by_seed], 0), np.mean([r for _, r in by_seed], 0))


def _distinct_tasks(columns: tuple[Experience, ...]) -> list[Experience]:
    """Return the columns of R without repeated tasks, of which ``matrix_columns: visits`` makes several columns."""
    tasks: dict[str, Experience] = {}
    for column in columns:
        tasks.setdefault(column.environment.recipe, column)
    return list(tasks.values())


def _mean_return(predictor: Any, task: Experience, plan: Plan, task_id: int | None) -> float:
    source = environment_of(task, plan)
    episodes = run_episodes(predictor, source, plan.episodes, plan.episode_steps, task_id)
    return float(episodes.returns.mean())
