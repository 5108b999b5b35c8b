"""What is evaluated, and when."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from rlcl.config import option
from rlcl.types import Probe

__all__ = ["Interval", "Plan"]


@frozen(kw_only=True)
class Interval:
    """How often to evaluate within an experience, in exactly one unit.

    Args:
        updates: between two evaluations; for arrays.
        env_steps: between two evaluations; for environments, at the first rollout's end past it.
    """

    updates: int | None = option(None, ge=1)
    env_steps: int | None = option(None, ge=1)

    def __attrs_post_init__(self) -> None:
        if (self.updates is None) == (self.env_steps is None):
            raise ValueError("expected exactly one of updates, env_steps")

    @property
    def unit(self) -> Literal["updates", "env_steps"]:
        """The one that was given."""
        return "env_steps" if self.updates is None else "updates"

    @property
    def steps(self) -> int:
        """In the learner's own unit."""
        return self.updates or self.env_steps or 0


@frozen(kw_only=True)
class Plan:
    """The evaluation of a run.

    Args:
        every: ``experience`` (at each boundary), ``end`` (once), or an interval, which adds
            evaluations within experiences to those at the boundaries.
        on: ``all`` experiences, those ``seen`` so far, or the ``current`` one.
        before: whether to evaluate before any training.
        split: ``test``, or ``validation`` while tuning.
        episodes: whole episodes an environment is evaluated for.
        episode_steps: env steps after which an episode is cut off, for environments that never end.
        metrics: names to compute at the end; all that apply by default.
        probes: what is told of the network's inside at each evaluation, on inputs of the experience trained on.
        probe_samples: inputs that probes look at, the same ones at each evaluation of an experience; what
            the ranks come to depends on how many.
        online: whether each minibatch is predicted before the update that it serves, and how well is recorded.
    """

    every: Literal["experience", "end"] | Interval = option("experience")
    on: Literal["all", "seen", "current"] = option("all")
    before: bool = option(True)
    split: Literal["test", "validation"] = option("test")
    episodes: int = option(20, ge=1)
    episode_steps: int = option(10_000, ge=1)
    metrics: tuple[str, ...] = option(())
    probes: tuple[Probe, ...] = option((), converter=tuple)
    probe_samples: int = option(512, ge=2)
    online: bool = option(False)
