"""What an experiment is for, as its file states it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from rlcl.config import Faults, option, read
from rlcl.objective.criterion import CRITERION, FORMS, Criterion

__all__ = ["Constraints", "Objective", "stated"]


@frozen(kw_only=True)
class Constraints:
    """What a run may cost at most; each holds for every seed by itself.

    Args:
        minutes: of a seed, on the wall, evaluations included.
        memory_mib: of the process at its peak, in MiB (2**20 bytes).
        parameters: trainable numbers at the end.
        latency_ms: of one prediction for one input, in milliseconds, encoder included; the median of several.
    """

    minutes: float | None = option(None, gt=0)
    memory_mib: float | None = option(None, gt=0)
    parameters: int | None = option(None, ge=1)
    latency_ms: float | None = option(None, gt=0)

    @property
    def limits(self) -> Mapping[str, float]:
        """Those that are set."""
        return {name: limit for name, limit in attrs.asdict(self).items() if limit is not None}


@frozen(kw_only=True)
class Objective:
    """Stage 0: why an experiment exists and when it has succeeded.

    Args:
        statement: why the experiment exists, in a sentence.
        success: conditions, see :class:`Criterion`; all must be met.
        obstacles: what stands in the way.
        constraints: what a run may cost at most.
        intended_use: what the model is made for.
        out_of_scope: what it must not be used for.
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
    def judged(self) -> bool:
        """Whether there is anything to be met."""
        return bool(self.success or self.constraints.limits)


def stated(config: Mapping[str, Any]) -> Objective:
    """The objective of a resolved config as plain data, empty where it has none that can be read."""
    try:
        objective: Objective | None = read(config.get("objective") or {}, Objective)
    except Faults:
        objective = None
    return objective or Objective()
