"""Last experience of a finished run, reopened to continue its training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from rlcl.errors import UnsupportedError
from rlcl.evaluation.results import REWARD, TASK
from rlcl.registry import name_of
from rlcl.streams.stream import Stream
from rlcl.streams.visibility import learner_view
from rlcl.tracking.folder import read_costs, read_records
from rlcl.tracking.runs import StoredRun
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, Costs, Record, Reopening

__all__ = ["ParentState", "reopen_last_experience"]

TOTALS = frozenset(field.name for field in attrs.fields(Costs))  # costs recorded at the end of an experience


@frozen(eq=False)
class ParentState:
    """Final state, records and costs of a finished run.

    Args:
        trainer: state of the trainer.
        clock: state of the clock.
        records: all records of the run.
        costs: the rows of ``costs.jsonl``, one per experience.
    """

    trainer: Mapping[str, Any]
    clock: Mapping[str, Any]
    records: tuple[Record, ...]
    costs: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, run: StoredRun, state: Mapping[str, Any]) -> ParentState:
        """Read the files of a run, and combine them with the state of its last checkpoint."""
        return cls(state["trainer"], state["clock"], read_records(run.path), tuple(read_costs(run.path)))

    @property
    def step(self) -> int:
        """Number of updates (for environments: env steps) over the whole stream."""
        step: int = self.trainer["learner"]["position"]["step"]
        return step


def reopen_last_experience(trainer: Trainer, parent: ParentState, old: Stream, budget: Budget) -> ParentState:
    """Move a trainer back into the last experience, which gets a larger budget.

    Args:
        trainer: the trainer in the final state of the parent run.
        parent: the final state of the parent run.
        old: the stream of the parent run.
        budget: the budget of each experience in the config of the parent run.

    Returns:
        The parent state without the totals of the last experience, which are recorded again when it ends.

    Raises:
        UnsupportedError: the learner cannot resume an experience after its end, or did not use its whole budget.
    """
    learner, last = trainer.learner, len(old) - 1
    name = name_of("learner", learner)
    if not isinstance(learner, Reopening):
        raise UnsupportedError(
            f"budget.{budget.unit}: learner {name} cannot resume an experience after its end; continue with more "
            "experiences, or start a new run"
        )
    reason = learner.closed_by()
    if reason is not None:
        raise UnsupportedError(
            f"budget.{budget.unit}: the last experience cannot be resumed, because {reason}; continue with more "
            "experiences, or start a new run"
        )
    experience, old_experience = learner_view(trainer.stream)[last], learner_view(old)[last]
    done = parent.step - next((row["step"] for row in parent.costs if row["trained_on"] == last - 1), 0)
    planned, old_planned = learner.steps(experience), learner.steps(old_experience)
    if planned <= old_planned:
        raise UnsupportedError(
            f"budget.{budget.unit}: the stream sets the budget of {experience.name} to {experience.budget} regardless "
            "of this setting, and the run used it; start a new run"
        )
    if done < old_planned:
        raise UnsupportedError(
            f"budget.{budget.unit}: {experience.name} ended after {done:,} of {old_planned:,} updates by "
            "learner.early_stopping, so a larger budget has no effect; continue with more experiences, or start a new "
            "run with more patience"
        )
    totals = {r.metric: r.value for r in parent.records if r.trained_on == last and r.metric in (*TOTALS, REWARD)}
    state = trainer.state_dict()
    updates, samples = state["spent"]
    spent = (updates - int(totals.get("updates", 0)), samples - int(totals.get("samples", 0)))
    earned = {"earned": state["earned"] - totals.get(REWARD, 0.0)}
    learner.reopen(done)
    trainer.load_state_dict({**state, "learner": learner.state_dict(), "trained": last - 1, "spent": spent, **earned})
    return _without_totals(parent, last)


def _without_totals(parent: ParentState, last: int) -> ParentState:
    """Return the state without the totals of the last experience, and with its time added to the running lap."""
    costs = tuple(row for row in parent.costs if row["trained_on"] != last)
    last_costs = [row for row in parent.costs if row["trained_on"] == last]
    lap = {key: parent.clock["lap"][key] - sum(row[key] for row in last_costs) for key in parent.clock["lap"]}
    rewritten = {*TOTALS, TASK, REWARD}  # at the new end of the experience
    records = tuple(
        r for r in parent.records if r.trained_on != last or not (r.metric in rewritten or r.metric.endswith(".online"))
    )
    return attrs.evolve(parent, records=records, costs=costs, clock={**parent.clock, "lap": lap})
