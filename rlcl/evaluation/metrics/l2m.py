"""Metrics of lifelong learning of the L2M programme (New et al. 2022), as the package l2metrics computes them.

A visit of a task is a learning block, whose learning curve is that of the evaluations on the task during the visit
(``evaluation.every``). The evaluation before training and those at the boundaries are evaluation blocks. Single-task
runs are single-task experts (STE). As by default in l2metrics, learning curves are smoothed, and then all values of a
task are scaled to 1 to 101 by its lowest and highest value.

Source: New et al. 2022, Lifelong learning metrics; darpa-l2m/l2metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise, permutations
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from attrs import frozen

from rlcl.evaluation.metrics.metric import Metric, Undefined
from rlcl.evaluation.metrics.visits import visits_of

if TYPE_CHECKING:
    from rlcl.evaluation.results import Results

__all__ = [
    "BACKWARD_TRANSFER_CONTRAST",
    "BACKWARD_TRANSFER_RATIO",
    "FORWARD_TRANSFER_CONTRAST",
    "FORWARD_TRANSFER_RATIO",
    "PERFORMANCE_MAINTENANCE",
    "PERFORMANCE_RECOVERY",
    "RELATIVE_PERFORMANCE",
    "SAMPLE_EFFICIENCY",
]

Array = np.ndarray[Any, Any]
SCALE, OFFSET = 100.0, 1.0
TERMINAL = 0.1  # share of a learning curve whose mean is its terminal performance
UNSATURATED = 0.2  # share of the expert's saturation below which sample efficiency is 0


@frozen(eq=False)
class Lifetime:
    """Learning and evaluation blocks of a run, with scaled performances.

    Args:
        visits: task of each learning block.
        learning: learning curve (N,) of each learning block.
        evaluations: evaluations (T + 1, J) before training and after each learning block; NaN if not evaluated.
        experts: learning curve (M,) of the single-task expert of each task that has one.
    """

    visits: tuple[int, ...]
    learning: tuple[Array, ...]
    evaluations: Array
    experts: Mapping[int, Array]

    @classmethod
    def of(cls, results: Results) -> Self:
        """Return the lifetime of a run.

        Raises:
            Undefined: an experience does not train a single task.
        """
        visited = visits_of(results)
        width = visited.matrix.shape[1]
        before = np.full(width, np.nan)
        before[: len(results.before)] = results.before
        evaluations = np.vstack([before, visited.matrix])
        learning = [_smooth(results.curve(row, task)) for row, task in enumerate(visited.visits)]
        curves = {task: results.baseline("single_task", task) for task in visited.tasks}
        experts = {task: _smooth(curve) for task, curve in curves.items() if len(curve)}
        for task in range(width):
            own = [i for i, visit in enumerate(visited.visits) if visit == task]
            known = [evaluations[:, task], *(learning[i] for i in own), experts.get(task, np.empty(0))]
            values = np.concatenate(known)
            values = values[~np.isnan(values)]
            low, span = (values.min(), np.ptp(values)) if len(values) else (0.0, 0.0)

            def scaled(x: Array, low: float = low, span: float = span) -> Array:
                return (x - low) / (span or 1.0) * SCALE + OFFSET

            evaluations[:, task] = scaled(evaluations[:, task])
            for i in own:
                learning[i] = scaled(learning[i])
            if task in experts:
                experts[task] = scaled(experts[task])
        return cls(visited.visits, tuple(learning), evaluations, experts)

    def blocks_of(self, task: int) -> list[int]:
        """Return the indices of the learning blocks of a task."""
        return [block for block, visit in enumerate(self.visits) if visit == task]

    def whole_curve(self, task: int) -> Array:
        """Return the learning curve of a task over all its learning blocks."""
        return np.concatenate([self.learning[block] for block in self.blocks_of(task)])

    @property
    def tasks(self) -> list[int]:
        """Tasks with learning blocks, in ascending order."""
        return sorted(set(self.visits))


def performance_maintenance(results: Results) -> float:
    """Compute the mean change of the evaluations on a task since the evaluation after its last learning block.

    It is the mean over tasks of the mean over evaluations. Source: l2metrics, ``perf_maintenance_mrlep``.
    """
    life = Lifetime.of(results)
    by_task = []
    for task in life.tasks:
        references = [block + 1 for block in life.blocks_of(task)]  # rows of evaluations after learning blocks
        changes = [
            life.evaluations[row, task] - life.evaluations[max(r for r in references if r < row), task]
            for row in range(references[0] + 1, len(life.evaluations))
            if row not in references
        ]
        by_task.append(_mean(changes))
    return _lifetime_mean(by_task, "no task was evaluated after training on another one")


PERFORMANCE_MAINTENANCE = Metric(
    "l2m.performance_maintenance", performance_maintenance, topic="forgetting", default=False
)


def performance_recovery(results: Results) -> float:
    """Compute minus the Theil-Sen slope of the recovery times of a task, mean over tasks.

    The recovery time of a learning block is the number of evaluations until the terminal performance of the previous
    block of the task is reached; one more than their number if it is not reached.

    Source: l2metrics, ``perf_recovery``.
    """
    from scipy.stats import theilslopes

    life = Lifetime.of(results)
    times = {
        task: [_recovery_time(life.learning[b], _terminal(life.learning[a])) for a, b in pairwise(life.blocks_of(task))]
        for task in life.tasks
    }
    slopes = [-float(theilslopes(values)[0]) for values in times.values() if len(values) > 1]
    return _lifetime_mean(slopes, "no task is visited three times")


PERFORMANCE_RECOVERY = Metric(
    "l2m.performance_recovery", performance_recovery, topic="transfer", within=True, default=False
)


def _transfers(life: Lifetime, forward: bool, change: Callable[[float, float], float]) -> Iterator[float]:
    """Yield the first transfer from each task to each other one.

    Args:
        life: the lifetime.
        forward: whether the other task has not been learned before; else it has.
        change: function of the performances on the other task before and after a learning block.
    """
    for task, other in permutations(range(life.evaluations.shape[1]), 2):
        first = min(life.blocks_of(other), default=len(life.visits))
        blocks = [block for block in life.blocks_of(task) if (block < first) == forward]
        values = [change(life.evaluations[b, other], life.evaluations[b + 1, other]) for b in blocks]
        known = [value for value in values if not np.isnan(value)]
        if known:
            yield known[0]


def _ratio(before: float, after: float) -> float:
    return after / before if before else np.nan


def _contrast(before: float, after: float) -> float:
    return (after - before) / (after + before) if after + before else np.nan


def _transfer_metric(name: str, forward: bool, change: Callable[[float, float], float], formula: str) -> Metric:
    def transfer(results: Results) -> float:
        values = list(_transfers(Lifetime.of(results), forward, change))
        return _lifetime_mean(values, "no task was evaluated before and after training on another one")

    when = "before any training on the other task" if forward else "after training on the other task"
    transfer.__doc__ = (
        f"Compute {formula} of the performance b before and a after a learning block on another task, {when}.\n\n"
        f"It is the mean over pairs of tasks of the first value. Source: l2metrics, ``{name.removeprefix('l2m.')}``."
    )
    return Metric(name, transfer, topic="transfer", default=False)


FORWARD_TRANSFER_RATIO = _transfer_metric("l2m.forward_transfer_ratio", True, _ratio, "the ratio a / b")
FORWARD_TRANSFER_CONTRAST = _transfer_metric(
    "l2m.forward_transfer_contrast", True, _contrast, "the contrast (a - b) / (a + b)"
)
BACKWARD_TRANSFER_RATIO = _transfer_metric("l2m.backward_transfer_ratio", False, _ratio, "the ratio a / b")
BACKWARD_TRANSFER_CONTRAST = _transfer_metric(
    "l2m.backward_transfer_contrast", False, _contrast, "the contrast (a - b) / (a + b)"
)


def relative_performance(results: Results) -> float:
    """Compute the area under the learning curve of a task relative to that of its single-task expert, mean over tasks.

    Both curves are cut to the length of the shorter one. Source: l2metrics, ``ste_rel_perf``.
    """
    life = Lifetime.of(results)
    ratios = []
    for task, expert in life.experts.items():
        curve = life.whole_curve(task)
        length = min(len(curve), len(expert))
        ratios.append(float(curve[:length].sum() / expert[:length].sum()) if length else np.nan)
    return _lifetime_mean(ratios, NO_EXPERTS)


RELATIVE_PERFORMANCE = Metric(
    "l2m.relative_performance", relative_performance, topic="transfer", within=True, default=False
)


def sample_efficiency(results: Results) -> float:
    """Compute the product of the ratios of saturation and of speed to those of the single-task expert, mean over tasks.

    The saturation of a curve is the maximum of its moving average. The speed is the inverse of the number of
    evaluations until the saturation. The value of a task is 0 if its saturation is less than 0.2 times that of the
    expert, or if its curve falls; a task whose saturation is at the first evaluation is left out.

    Source: l2metrics, ``sample_efficiency``.
    """
    life = Lifetime.of(results)
    values = []
    for task, expert in life.experts.items():
        curve = life.whole_curve(task)
        (saturation, steps), (expert_saturation, expert_steps) = _saturation(curve), _saturation(expert)
        if not steps or not expert_steps:
            continue
        falls = np.polyfit(np.arange(len(curve)), curve, 1)[0] < 0
        unsaturated = saturation < UNSATURATED * expert_saturation or falls
        values.append(0.0 if unsaturated else (saturation / expert_saturation) * (expert_steps / steps))
    return _lifetime_mean(values, NO_EXPERTS if not life.experts else "no learning curve rises after its first value")


SAMPLE_EFFICIENCY = Metric("l2m.sample_efficiency", sample_efficiency, topic="transfer", within=True, default=False)

NO_EXPERTS = "there are no single-task runs; set evaluation.baselines: single_task"


def _smooth(curve: Array) -> Array:
    """Return the moving average of a curve (N,) over a fifth of its values, at most 100; the ends are reflected."""
    length = min(int(len(curve) * 0.2), 100)
    if length < 3:
        return curve
    extended = np.concatenate([curve[length - 1 : 0 : -1], curve, curve[-2 : -length - 1 : -1]])
    averaged = np.convolve(np.ones(length) / length, extended, mode="valid")
    smoothed: Array = averaged[length // 2 - 1 : -((length + 1) // 2)]
    return smoothed


def _terminal(curve: Array) -> float:
    return float(np.mean(curve[int((1 - TERMINAL) * len(curve)) :])) if len(curve) else np.nan


def _recovery_time(curve: Array, performance: float) -> int:
    reached = np.flatnonzero(curve >= performance)
    return int(reached[0]) if len(reached) else len(curve) + 1


def _saturation(curve: Array) -> tuple[float, int]:
    """Return the maximum of the moving average of a curve, and the index where it is reached."""
    smoothed = _smooth(curve)
    return (float(smoothed.max()), int(smoothed.argmax())) if len(smoothed) else (np.nan, 0)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else np.nan


def _lifetime_mean(values: Sequence[float], reason: str) -> float:
    mean = _mean(values)
    if np.isnan(mean):
        raise Undefined(reason)
    return mean
