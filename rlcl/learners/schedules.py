"""Learning-rate schedules: factors by which the learning rate is multiplied, as functions of the used budget.

The n updates of a warm-up have the factors 1/n, 2/n, ..., 1. For the meaning of an update see
:class:`rlcl.types.Schedule`; for a reinforcement learner it is a round with all training on one rollout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

from attrs import frozen

from rlcl.config import option
from rlcl.types import Experience

__all__ = ["Constant", "Cosine", "Exponential", "Linear", "Steps", "schedule_position"]


@frozen(kw_only=True)
class Constant:
    """Constant schedule, with an optional warm-up.

    Args:
        warmup: fraction of the updates over which the learning rate first rises linearly, in [0, 1).
    """

    warmup: float = option(0.0, ge=0, lt=1)

    def __call__(self, update: int, updates: int) -> float:
        return warmup_progress(self.warmup, update, updates)[0]


@frozen(kw_only=True)
class Linear:
    """Linear decay.

    Args:
        to: the factor after the last update, in [0, 1].
        warmup: fraction of the updates over which the learning rate first rises linearly, in [0, 1).
    """

    to: float = option(0.0, ge=0, le=1)
    warmup: float = option(0.0, ge=0, lt=1)

    def __call__(self, update: int, updates: int) -> float:
        rise, progress = warmup_progress(self.warmup, update, updates)
        return rise * (1 - (1 - self.to) * progress)


@frozen(kw_only=True)
class Cosine:
    """Cosine decay, along half a period.

    Args:
        to: the factor after the last update, in [0, 1].
        warmup: fraction of the updates over which the learning rate first rises linearly, in [0, 1).

    Source: Loshchilov & Hutter 2017, SGDR, eq. 5, without restarts.
    """

    to: float = option(0.0, ge=0, le=1)
    warmup: float = option(0.0, ge=0, lt=1)

    def __call__(self, update: int, updates: int) -> float:
        rise, progress = warmup_progress(self.warmup, update, updates)
        return rise * (self.to + (1 - self.to) * 0.5 * (1 + math.cos(math.pi * progress)))


@frozen(kw_only=True)
class Exponential:
    """Exponential decay, by the same factor at each update.

    Args:
        to: the factor after the last update, in (0, 1].
        warmup: fraction of the updates over which the learning rate first rises linearly, in [0, 1).
    """

    to: float = option(0.01, gt=0, le=1)
    warmup: float = option(0.0, ge=0, lt=1)

    def __call__(self, update: int, updates: int) -> float:
        rise, progress = warmup_progress(self.warmup, update, updates)
        return rise * math.pow(self.to, progress)


@frozen(kw_only=True)
class Steps:
    """Step decay, by a factor at each milestone.

    Args:
        at: milestones as fractions of the updates after the warm-up, increasing, each in (0, 1).
        factor: number by which the learning rate is multiplied at each milestone, in (0, 1].
        warmup: fraction of the updates over which the learning rate first rises linearly, in [0, 1).
    """

    at: tuple[float, ...] = option((0.5, 0.75), gt=0, lt=1)
    factor: float = option(0.1, gt=0, le=1)
    warmup: float = option(0.0, ge=0, lt=1)

    def __attrs_post_init__(self) -> None:
        if any(b <= a for a, b in pairwise(self.at)):
            raise ValueError(f"at: expected increasing numbers, got {', '.join(map(str, self.at))}")

    def __call__(self, update: int, updates: int) -> float:
        rise, progress = warmup_progress(self.warmup, update, updates)
        return rise * self.factor ** sum(progress >= milestone for milestone in self.at)


def schedule_position(
    scope: Iterable[Experience], part: Experience, steps: Callable[[Experience], int]
) -> tuple[int, int]:
    """Return the number of steps before a part and in total, within the scope of a schedule.

    Args:
        scope: the experience that the part belongs to, or the whole stream.
        part: the next part to be learned.
        steps: function that returns the number of steps in the budget of a part.
    """
    parts = [p for experience in scope for p in experience.parts]
    return sum(steps(p) for p in parts if p.index < part.index), sum(map(steps, parts))


def warmup_progress(warmup: float, update: int, updates: int) -> tuple[float, float]:
    """Return the factor of the warm-up, and the progress after it.

    Args:
        warmup: fraction of the updates, in [0, 1).
        update: index of the next update, from 0.
        updates: total number of updates, at least 1.

    Returns:
        The factor in (0, 1], which is 1 after the warm-up, and the progress in [0, 1).
    """
    warmup_updates = round(warmup * updates)
    if update < warmup_updates:
        return (update + 1) / warmup_updates, 0.0
    return 1.0, min((update - warmup_updates) / max(updates - warmup_updates, 1), 1.0)
