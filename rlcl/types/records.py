"""Events and records that a run writes, and the functions that compute numbers from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from attrs import frozen

__all__ = ["Boundary", "Event", "MetricFunction", "Probe", "Record"]


@frozen
class Event:
    """Values that a learner logs during training.

    Args:
        step: updates (env steps for reinforcement learning), counted over the whole stream.
        values: numbers by name, for example ``{"loss": 0.3}``.
    """

    step: int
    values: Mapping[str, float]


@frozen
class Record:
    """One row of the long-format table from which every reported number is computed.

    Args:
        run: hash of the settings that affect records.
        seed: seed of the run.
        step: see :class:`Event`.
        trained_on: index of the last experience trained on (finished or in progress); -1 before the first.
        evaluated_on: index of the evaluated experience.
        metric: name of the measure, for example ``accuracy``.
        value: measured value.
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
    """Notice from the trainer that no experience is in progress: before the first experience and after each.

    Args:
        step: see :class:`Event`.
        trained_on: index of the experience that has finished, -1 before the first.
    """

    step: int
    trained_on: int


class MetricFunction(Protocol):
    """A function of :class:`rlcl.evaluation.results.Results` that returns a number, or None if it is undefined."""

    def __call__(self, results: Any) -> float | None:
        """Compute the metric of one run."""
        ...


class Probe(Protocol):
    """A function of a network's activity that returns a number, or None if it is undefined.

    The argument is a :class:`rlcl.evaluation.network_activity.NetworkActivity`.
    """

    def __call__(self, network: Any) -> float | None:
        """Compute the probe of one network."""
        ...
