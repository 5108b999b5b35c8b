"""Settings of the evaluation of a run."""

from __future__ import annotations

from typing import Any, Literal

from attrs import frozen

from rlcl.config import option
from rlcl.types import Probe

__all__ = ["EvaluationInterval", "Plan"]


Baseline = Literal["single_task", "joint"]


def _baselines(value: Any) -> tuple[Baseline, ...]:
    return (value,) if isinstance(value, str) else tuple(value)  # type: ignore[return-value]


@frozen(kw_only=True)
class EvaluationInterval:
    """Interval between evaluations within an experience. Exactly one of the arguments must be set.

    Args:
        updates: updates between two evaluations, for arrays.
        env_steps: env steps between two evaluations, for environments; an evaluation waits for the end of a rollout.
    """

    updates: int | None = option(None, ge=1)
    env_steps: int | None = option(None, ge=1)

    def __attrs_post_init__(self) -> None:
        if (self.updates is None) == (self.env_steps is None):
            raise ValueError("expected exactly one of updates, env_steps")

    @property
    def unit(self) -> Literal["updates", "env_steps"]:
        """The unit that is set."""
        return "env_steps" if self.updates is None else "updates"

    @property
    def steps(self) -> int:
        """The interval in steps of the learner."""
        return self.updates or self.env_steps or 0


@frozen(kw_only=True)
class Plan:
    """Evaluation settings of a run.

    Args:
        every: ``experience`` (at each boundary), ``end`` (once), or an interval, for evaluations within experiences
            in addition to those at the boundaries.
        on: evaluated experiences: ``all``, those ``seen`` so far, or the ``current`` one.
        before: whether to evaluate before any training.
        split: evaluated split: ``test``, or ``validation`` for tuning.
        episodes: number of whole episodes in each evaluation of an environment.
        episode_steps: env steps after which an episode is truncated, for environments without a time limit.
        metrics: names or patterns (``*.cw``) of the metrics to compute at the end; by default the general ones.
        measures: measures to record, the primary one first; by default those of the learner. ``success``,
            ``episode_length`` and ``score`` are further measures of environments.
        actions: actions in the evaluation of environments: ``greedy``, or ``sampled`` from the policy.
        baselines: further runs that metrics and reports refer to; they are stored in the folder ``baselines``, and
            run at most once. ``single_task`` runs the learner without methods on each task alone, with the same seed
            and budget. ``joint`` runs it on experiences 0 to j together, for each j.
        probes: probes (statistics of the network) that are computed at each evaluation, on inputs of the current
            experience.
        probe_samples: number of inputs for the probes. For arrays, all evaluations during an experience use the same
            inputs. The values of ``effective_rank`` and ``stable_rank`` depend on this number.
        online: whether to record the score of the predictions for each minibatch before the update that uses it.
    """

    every: Literal["experience", "end"] | EvaluationInterval = option("experience")
    on: Literal["all", "seen", "current"] = option("all")
    before: bool = option(True)
    split: Literal["test", "validation"] = option("test")
    episodes: int = option(20, ge=1)
    episode_steps: int = option(10_000, ge=1)
    metrics: tuple[str, ...] = option(())
    measures: tuple[str, ...] = option(())
    actions: Literal["greedy", "sampled"] = option("greedy")
    baselines: tuple[Baseline, ...] | Baseline = option((), converter=_baselines)
    probes: tuple[Probe, ...] = option((), converter=tuple)
    probe_samples: int = option(512, ge=2)
    online: bool = option(False)
