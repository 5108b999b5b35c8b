"""What a search optimizes: metrics and costs, to maximize or to minimize."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from attrs import frozen

from rlcl.config import Faults
from rlcl.errors import ConfigError, Problem, did_you_mean
from rlcl.evaluation.results import meanings
from rlcl.objective import SeedResult

__all__ = ["Target", "check_targets", "read_targets", "target_value"]

COSTS = ("minutes", "memory_mib", "parameters")  # constraints of an objective that every run reports


@frozen
class Target:
    """A quantity to optimize.

    Args:
        name: name of a metric or of a cost.
        minimize: whether lower values are sought.
    """

    name: str
    minimize: bool

    @property
    def text(self) -> str:
        """The target as in the file."""
        return f"-{self.name}" if self.minimize else self.name

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        return "minimize" if self.minimize else "maximize"

    @property
    def is_cost(self) -> bool:
        """Whether it is a cost, which every run reports."""
        return self.name in COSTS


def read_targets(setting: str | Sequence[str]) -> tuple[Target, ...]:
    """Read ``objective`` of a tuning file: one text or several, each with ``-`` to minimize.

    Raises:
        Faults: there is none, or one occurs twice.
    """
    texts = [setting] if isinstance(setting, str) else [*setting]
    targets = tuple(Target(text.strip().removeprefix("-").strip(), text.strip().startswith("-")) for text in texts)
    names = [target.name for target in targets]
    if not names or not all(names):
        raise Faults.one("expected a metric or cost, such as accuracy.average or -minutes", "objective")
    if len({*names}) < len(names):
        raise Faults.one(f"expected different quantities, got {', '.join(texts)}", "objective")
    return targets


def check_targets(targets: Sequence[Target], measures: Sequence[str]) -> None:
    """Check that a run can report the targets, and that their better values are sought.

    Args:
        targets: the targets.
        measures: names of the learner's measures.

    Raises:
        ConfigError: a target does not exist, or its worse values are sought.
    """
    available = dict(meanings(measures))
    for target in targets:
        with suppress(Problem):  # an unknown metric
            available |= {} if target.name in COSTS else meanings(measures, (target.name,))
    problems = []
    for target in targets:
        if target.name in COSTS:
            if not target.minimize:
                problems.append(f"objective: lower values of {target.name} are better; write -{target.name}")
        elif target.name not in available:
            near = did_you_mean(target.name, [*available, *COSTS])
            problems.append(f"objective: no metric or cost {target.name!r}{near}")
        elif available[target.name].better != ("lower" if target.minimize else "higher"):
            better = available[target.name].better
            other = target.name if target.minimize else f"-{target.name}"
            problems.append(f"objective: {better} values of {target.name} are better; write {other}")
    if problems:
        raise ConfigError(problems)


def target_value(target: Target, results: Sequence[SeedResult]) -> float | None:
    """Return the mean of a target over the seeds of a trial; None if a seed does not report it."""
    values = [_value(target.name, result) for result in results]
    present = [value for value in values if value is not None and math.isfinite(value)]
    return sum(present) / len(present) if present and len(present) == len(values) else None


def _value(name: str, result: SeedResult) -> float | None:
    return (result.costs if name in COSTS else result.metrics).get(name)
