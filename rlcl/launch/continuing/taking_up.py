"""The last experience of a finished run, taken up again where it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from rlcl.errors import UnsupportedError
from rlcl.registry import name_of
from rlcl.streams.stream import Stream
from rlcl.streams.visible import visible
from rlcl.tracking.folder import read_records
from rlcl.tracking.jsonlines import read_lines
from rlcl.tracking.runs import Run
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, Costs, Record, Reopening

__all__ = ["Past", "taken_up"]

TOTALS = frozenset(each.name for each in attrs.fields(Costs))  # of an experience, recorded as it ends


@frozen(eq=False)
class Past:
    """What a finished run left.

    Args:
        trainer: state of the trainer.
        clock: state of the clock.
        records: all of them.
        costs: the time of each experience.
    """

    trainer: Mapping[str, Any]
    clock: Mapping[str, Any]
    records: tuple[Record, ...]
    costs: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, run: Run, state: Mapping[str, Any]) -> Past:
        """Of a run's files and its last checkpoint."""
        return cls(
            state["trainer"], state["clock"], read_records(run.path), tuple(read_lines(run.path / "costs.jsonl"))
        )

    @property
    def step(self) -> int:
        """Updates (env steps) over the whole stream."""
        step: int = self.trainer["learner"]["position"]["step"]
        return step


def taken_up(trainer: Trainer, past: Past, old: Stream, budget: Budget) -> Past:
    """Moves a trainer back into the last experience, which is to get more budget.

    Args:
        trainer: in the state in which the run left it.
        past: what the run left.
        old: the run's own stream.
        budget: of each of its experiences, as the run's config says.

    Returns:
        What is left of the past: what was told of the experience as a whole is told anew when it ends.

    Raises:
        UnsupportedError: the learner cannot take an experience up again, or did not use the budget that it had.
    """
    learner, last = trainer.learner, len(old) - 1
    name = name_of("learner", learner)
    if not isinstance(learner, Reopening):
        raise UnsupportedError(
            f"budget.{budget.unit}: learner {name} cannot take an experience up again once it has ended; continue with "
            "more experiences, or start a new run"
        )
    reason = learner.closed_by()
    if reason is not None:
        raise UnsupportedError(
            f"budget.{budget.unit}: the last experience cannot be taken up again, for {reason} as it ended; continue "
            "with more experiences, or start a new run"
        )
    experience, former = visible(trainer.stream)[last], visible(old)[last]
    done = past.step - next((row["step"] for row in past.costs if row["trained_on"] == last - 1), 0)
    planned, had = learner.steps(experience), learner.steps(former)
    if planned <= had:
        raise UnsupportedError(
            f"budget.{budget.unit}: the stream gives {experience.name} {experience.budget} whatever the budget is, and "
            "it had as much; start a new run"
        )
    if done < had:
        raise UnsupportedError(
            f"budget.{budget.unit}: {experience.name} ended after {done:,} of {had:,} updates by "
            "learner.early_stopping, so that more budget changes nothing; continue with more experiences, or start a "
            "new run with more patience"
        )
    told = {r.metric: r.value for r in past.records if r.trained_on == last and r.metric in TOTALS}
    state = trainer.state_dict()
    updates, samples = state["spent"]
    spent = (updates - int(told.get("updates", 0)), samples - int(told.get("samples", 0)))
    learner.reopen(done)
    trainer.load_state_dict({**state, "learner": learner.state_dict(), "trained": last - 1, "spent": spent})
    return _open_ended(past, last)


def _open_ended(past: Past, last: int) -> Past:
    """Without what was told of the last experience as a whole, and with its clock still running."""
    costs = tuple(row for row in past.costs if row["trained_on"] != last)
    took = [row for row in past.costs if row["trained_on"] == last]
    lap = {key: past.clock["lap"][key] - sum(row[key] for row in took) for key in past.clock["lap"]}
    records = tuple(
        r for r in past.records if r.trained_on != last or not (r.metric in TOTALS or r.metric.endswith(".online"))
    )
    return attrs.evolve(past, records=records, costs=costs, clock={**past.clock, "lap": lap})
