"""How the learning rate changes over a budget: each schedule is a factor of the optimizer's own rate.

The n updates of a warm-up have the factors 1/n, 2/n, ..., 1. An update is what :class:`rlcl.types.Schedule` says: of a
reinforcement learner a round, with all that is learned from a rollout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

from attrs import frozen

from rlcl.config import option
from rlcl.types import Experience

__all__ = ["Constant", "Cosine", "Exponential", "Linear", "Steps", "place_in"]


@frozen(kw_only=True)
class Constant:
    """The optimizer's own rate, after the warm-up.

    Args:
        warmup: share of the updates over which the rate first rises linearly, in [0, 1).
    """

    warmup: float = option(0.0, ge=0, lt=1)

    def __call__(self, update: int, updates: int) -> float:
        return warmed(self.warmup, update, updates)[0]


@frozen(kw_only=True)
class Linear:
    """Falls linearly.

    Args:
        to: the factor after the last update, in [0, 1].
        warmup: share of the updates over which the rate first rises linearly, in [0, 1).
    """

    to: float = option(0.0, ge=0, le=1)
    warmup: float = option(0.0, ge=0, lt=1)

    def __call__(self, update: int, updates: int) -> float:
        rise, progress = warmed(self.warmup, update, updates)
        return rise * (1 - (1 - self.to) * progress)


@frozen(kw_only=True)
class Cosine:
    """Falls along half a cosine.

    Args:
        to: the factor after the last update, in [0, 1].
        warmup: share of the updates over which the rate first rises linearly, in [0, 1).

    Source: Loshchilov & Hutter 2017, SGDR, eq. 5, without restarts.
    """

    to: float = option(0.0, ge=0, le=1)
    warmup: float = option(0.0, ge=0, lt=1)

    def __call__(self, update: int, updates: int) -> float:
        rise, progress = warmed(self.warmup, update, updates)
        return rise * (self.to + (1 - self.to) * 0.5 * (1 + math.cos(math.pi * progress)))


@frozen(kw_only=True)
class Exponential:
    """Falls by the same share at each update.

    Args:
        to: the factor after the last update, in (0, 1].
        warmup: share of the updates over which the rate first rises linearly, in [0, 1).
    """

    to: float = option(0.01, gt=0, le=1)
    warmup: float = option(0.0, ge=0, lt=1)

    def __call__(self, update: int, updates: int) -> float:
        rise, progress = warmed(self.warmup, update, updates)
        return rise * math.pow(self.to, progress)


@frozen(kw_only=True)
class Steps:
    """Falls by a factor at given places.

    Args:
        at: shares of the updates after the warm-up, rising, each in (0, 1).
        factor: what the rate is multiplied by at each, in (0, 1].
        warmup: share of the updates over which the rate first rises linearly, in [0, 1).
    """

    at: tuple[float, ...] = option((0.5, 0.75), gt=0, lt=1)
    factor: float = option(0.1, gt=0, le=1)
    warmup: float = option(0.0, ge=0, lt=1)

    def __attrs_post_init__(self) -> None:
        if any(b <= a for a, b in pairwise(self.at)):
            raise ValueError(f"at: expected rising numbers, got {', '.join(map(str, self.at))}")

    def __call__(self, update: int, updates: int) -> float:
        rise, progress = warmed(self.warmup, update, updates)
        return rise * self.factor ** sum(progress >= place for place in self.at)


def place_in(scope: Iterable[Experience], part: Experience, steps: Callable[[Experience], int]) -> tuple[int, int]:
    """Steps before a part, and in all, of what a schedule runs over.

    Args:
        scope: the experience that the part belongs to, or the whole stream.
        part: about to be learned.
        steps: how many a part's budget comes to.
    """
    parts = [p for experience in scope for p in experience.parts]
    return sum(steps(p) for p in parts if p.index < part.index), sum(map(steps, parts))


def warmed(warmup: float, update: int, updates: int) -> tuple[float, float]:
    """How far the warm-up has risen, and how much of the rest is done.

    Args:
        warmup: share of the updates, in [0, 1).
        update: the one about to be made, from 0.
        updates: how many there are in all, at least 1.

    Returns:
        A factor in (0, 1], 1 after the warm-up, and progress in [0, 1).
    """
    rising = round(warmup * updates)
    if update < rising:
        return (update + 1) / rising, 0.0
    return 1.0, min((update - rising) / max(updates - rising, 1), 1.0)
