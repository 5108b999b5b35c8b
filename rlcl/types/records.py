"""What a run says, and what is measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from attrs import frozen

__all__ = ["Boundary", "Event", "Metric", "Probe", "Record"]


@frozen
class Event:
    """What a learner says while it learns.

    Args:
        step: updates (env steps for reinforcement learning), counted over the whole stream.
        values: names to numbers, for example ``{"loss": 0.3}``.
    """

    step: int
    values: Mapping[str, float]


@frozen
class Record:
    """One row of the long table that every reported number is computed from.

    Args:
        run: hash of the config that decides the records.
        seed: the run's seed.
        step: see :class:`Event`.
        trained_on: index of the experience trained on last (or being trained on); -1 before any.
        evaluated_on: index of the experience evaluated.
        metric: what was measured, for example ``accuracy``.
        value: the measurement.
    """

    run: str
    seed: int
    step: int
    trained_on: int
    evaluated_on: int
    metric: str
    value: float


@frozen
class Boundary:
    """Said by the trainer when nothing is in flight: before the first experience and after each.

    Args:
        step: see :class:`Event`.
        trained_on: index of the experience that ended, -1 before the first.
    """

    step: int
    trained_on: int


class Metric(Protocol):
    """A function from :class:`rlcl.evaluation.results.Results` to a number; None where the run does not define it."""

    def __call__(self, results: Any) -> float | None: ...


class Probe(Protocol):
    """A number of a network's inside, :class:`rlcl.evaluation.inside.Inside`; None where there is none yet."""

    def __call__(self, network: Any) -> float | None: ...
