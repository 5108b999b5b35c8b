"""Objective of an experiment as stated in its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from rlcl.config import Faults, option, read
from rlcl.objective.criterion import CRITERION, FORMS, Criterion

__all__ = ["Constraints", "Objective", "objective_of"]


@frozen(kw_only=True)
class Constraints:
    """Limits of the cost of a run; each limit applies to every seed separately.

    Args:
        minutes: wall time of a seed, including evaluations.
        memory_mib: peak memory of the process, in MiB (2**20 bytes).
        parameters: number of trainable parameters at the end.
        latency_ms: median time of one prediction for one input, including the encoder, in milliseconds.
    """

    minutes: float | None = option(None, gt=0)
    memory_mib: float | None = option(None, gt=0)
    parameters: int | None = option(None, ge=1)
    latency_ms: float | None = option(None, gt=0)

    @property
    def limits(self) -> Mapping[str, float]:
        """The limits that are set, by name."""
        return {name: limit for name, limit in attrs.asdict(self).items() if limit is not None}


@frozen(kw_only=True)
class Objective:
    """The purpose of an experiment and its conditions of success.

    Args:
        statement: purpose of the experiment, in one sentence.
        success: conditions of success, see :class:`Criterion`; all must be met.
        obstacles: expected difficulties.
        constraints: limits of the cost of a run.
        intended_use: intended uses of the model.
        out_of_scope: uses that the model is not intended for.
    """

    statement: str = option("")
    success: tuple[str, ...] = option((), pattern=(CRITERION, FORMS))
    obstacles: tuple[str, ...] = option(())
    constraints: Constraints = option(factory=Constraints)
    intended_use: tuple[str, ...] = option(())
    out_of_scope: tuple[str, ...] = option(())

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """The conditions of success."""
        return tuple(map(Criterion.parse, self.success))

    @property
    def has_conditions(self) -> bool:
        """True if there is a condition of success or a constraint."""
        return bool(self.success or self.constraints.limits)


def objective_of(config: Mapping[str, Any]) -> Objective:
    """Return the objective of a resolved config (plain data); an empty one if it has none or an invalid one."""
    try:
        objective: Objective | None = read(config.get("objective") or {}, Objective)
    except Faults:
        objective = None
    return objective or Objective()
