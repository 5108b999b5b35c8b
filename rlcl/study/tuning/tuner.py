"""Execution of a search: trials, then the runs of the winner."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import attrs
from attrs import define, field

from rlcl.errors import RlclError, RunFolderError
from rlcl.experiment import Experiment
from rlcl.launch.build import make_trainer
from rlcl.launch.signals import StopSignal, catch_signals
from rlcl.study.claims import Session
from rlcl.study.grid import Grid
from rlcl.study.suite import Suite, SuiteCell
from rlcl.study.suite_runner import (
    IN_USE,
    STOPPED,
    GridStopped,
    ProgressView,
    exit_reason,
    last_lines,
    run_jobs,
    run_suite,
)
from rlcl.study.tuning.definition import Tuning
from rlcl.study.tuning.study import Journal
from rlcl.study.tuning.targets import check_targets
from rlcl.study.tuning.trial_queue import EndedTrial, TrialQueue
from rlcl.tracking.folder import disk_errors, write_json
from rlcl.types import Ended, Launcher

__all__ = ["TuningView", "check_tuning", "run_trials", "run_winner", "winner_suite"]

PRUNE_SECONDS = 1.0  # time between two looks at the records of running trials
FIRST_FAILURES = 5  # number of trials that fail, without a success, after which a search stops


class TuningView(Protocol):
    """Display of a search's progress."""

    def show(self, journal: Journal, ended: EndedTrial | None = None) -> None:
        """Update the display; called with each trial that has ended, and regularly without one."""
        ...


def check_tuning(tuning: Tuning) -> str:
    """Build the first trial and the winner's experiment as ``rlcl check`` does, and check the objectives.

    Returns:
        The name of the learner's primary measure.

    Raises:
        RlclError: the experiments cannot be built, or an objective does not exist.
    """
    make_trainer(tuning.winner(tuning.first_values), tuning.report_seeds[0])
    trial = tuning.trial(tuning.first_values)  # without the targets, which are checked below
    plan = attrs.evolve(trial.evaluation, metrics=())
    trainer = make_trainer(attrs.evolve(trial, evaluation=plan), tuning.seeds[0])
    check_targets(tuning.targets, trainer.measures)
    return str(trainer.measures[0])


@define(eq=False)
class TrialRun:
    """Execution of the trials of a search in one call.

    Args:
        queue: the trials.
        launcher: launcher that runs them.
        timeout: time limit of a job in seconds; None for no limit.
        stop: the received signal.
        poll: function called a few times per second.
    """

    queue: TrialQueue
    launcher: Launcher
    timeout: float | None
    stop: StopSignal
    poll: Callable[[], None]
    _started: dict[str, float] = field(init=False, factory=dict)
    _late: set[str] = field(init=False, factory=set)
    _pruned: set[str] = field(init=False, factory=set)
    _next_prune: float = field(init=False, default=0.0)

    def run(self, slots: int) -> None:
        """Run all trials, at most ``slots`` jobs at once, until they have ended or a signal has stopped them."""
        for ended in run_jobs(self.queue, self.launcher, slots, self.stop, self._mark_started, self._look):
            self._mark_ended(ended)

    def _mark_started(self, name: str) -> None:
        self._started[name] = time.monotonic()

    def _look(self) -> None:
        now = time.monotonic()
        for name, started in self._started.items():
            if self.timeout is not None and now - started > self.timeout and name not in self._late:
                self._late.add(name)
                self.launcher.stop(name)
        if now >= self._next_prune and self.queue.tuning.definition.pruner != "none":
            self._next_prune = now + PRUNE_SECONDS
            for name in self.queue.to_prune():
                self._pruned.add(name)
                self.launcher.stop(name)
        self.poll()

    def _mark_ended(self, ended: Ended) -> None:
        self._started.pop(ended.name, None)
        if ended.status == IN_USE and self.stop.signum is None:
            self.queue.put_back(ended.name)
        elif ended.status == 0 or ended.name in self._pruned:
            self.queue.mark_ended(ended.name, "")
        elif self.stop.signum is None or ended.status not in STOPPED:
            running, seed = self.queue.find(ended.name)
            lines = last_lines(self.queue.log(running.trial.number, seed))
            late = ended.name in self._late
            reason = f"stopped after {self.timeout:g} s, its --timeout" if late else exit_reason(ended.status)
            self.queue.mark_ended(ended.name, "; ".join([*lines, reason]))


def run_trials(
    tuning: Tuning,
    launcher: Launcher,
    view: TuningView,
    root: Path,
    measure: str,
    workers: int | None = None,
    timeout: float | None = None,
) -> Journal:
    """Run the trials of a search that have not ended; several processes can do so at the same time.

    Args:
        tuning: the search.
        launcher: launcher that runs the jobs.
        view: display of the progress.
        root: folder of all runs.
        measure: primary measure of the learner, from :func:`check_tuning`.
        workers: maximum number of concurrent jobs; the launcher's capacity is the default and the limit.
        timeout: time limit of a job, in seconds; no limit by default.

    Raises:
        GridStopped: a signal was received; the same call resumes the search.
        RunFolderError: the folder cannot be written, or belongs to another search.
        RlclError: the first trials all failed.
    """
    folder = root / tuning.trials_name
    with disk_errors(folder):
        (folder / "logs").mkdir(parents=True, exist_ok=True)
    journal = Journal(tuning, folder)
    capacity = launcher.capacity(tuning.trial(tuning.first_values).threads).slots
    slots = capacity if workers is None else min(workers, capacity)
    with closing(Session(folder / "claims")) as session, catch_signals() as stop:

        def show(ended: EndedTrial) -> None:
            view.show(journal, ended)
            trials = [trial for trial in journal.trials() if trial.state.is_finished()]
            if len(trials) >= FIRST_FAILURES and all(trial.state.name == "FAIL" for trial in trials):
                queue.clear()
                failed.append(ended.reason)

        failed: list[str] = []
        queue = TrialQueue(tuning, journal, session, root, measure, show)
        view.show(journal)
        TrialRun(queue, launcher, timeout, stop, lambda: view.show(journal)).run(slots)
        if stop.signum is not None:
            raise GridStopped(stop.signum, folder)
        if failed:
            raise RlclError(f"the first {FIRST_FAILURES} trials failed: {failed[-1]}; logs: {folder / 'logs'}")
    return journal


def winner_suite(tuning: Tuning, experiment: Experiment) -> Suite:
    """Return the runs of the winner as a suite of one experiment."""
    cells = tuple(SuiteCell({}, experiment, seed) for seed in experiment.seeds)
    definition = {"name": tuning.definition.name, "base": tuning.base.data, "search": tuning.definition.search}
    return Suite(
        tuning.definition.name,
        tuning.definition.statement,
        tuning.file,
        "",
        definition,
        {},
        cells,
        tuning.definition.launcher,
    )


def run_winner(
    tuning: Tuning,
    journal: Journal,
    launcher: Launcher,
    view: ProgressView,
    root: Path,
    workers: int | None = None,
) -> Grid:
    """Freeze the winner in ``tuning.json``, and run it with fresh seeds on the whole stream and its test data.

    Raises:
        RunFolderError: no trial has finished.
        GridStopped: a signal was received; the same call resumes the runs.
    """
    best = journal.best()
    experiment = tuning.winner(best.params)
    folder = root / tuning.definition.name
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "tuning.json", search_record(tuning, journal, best, experiment))
    grid = run_suite(winner_suite(tuning, experiment), launcher, view, root, workers=workers)
    failed = [state for state in grid.states if state.state != "finished"]
    if failed:
        messages = "; ".join(failed[0].messages)
        raise RunFolderError(f"{len(failed)} of {len(grid.states)} runs of the winner failed: {messages}")
    return grid


def search_record(tuning: Tuning, journal: Journal, best: Any, experiment: Experiment) -> Mapping[str, Any]:
    """Return the content of ``tuning.json``: protocol, all trials, and the winner."""
    definition = tuning.definition
    trials: Sequence[Any] = journal.trials()
    return {
        "name": definition.name,
        "statement": definition.statement,
        "file": tuning.file,
        "sampler": definition.sampler,
        "pruner": definition.pruner,
        "objective": [target.text for target in tuning.targets],
        "search": definition.search,
        "parameters": [{"name": parameter.name, **parameter.domain.to_json()} for parameter in tuning.parameters],
        "protocol": {
            "tuning_seeds": list(tuning.seeds),
            "report_seeds": list(tuning.report_seeds),
            "first": definition.first,
            "validation": definition.validation if tuning.holds_out else None,
            "trials_evaluated_on": "validation" if tuning.holds_out else "environments",
            "winner_evaluated_on": "test" if tuning.holds_out else "environments",
        },
        "trials": [
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "values": list(trial.values) if trial.values is not None else None,
                "parameters": dict(trial.params),
                "seconds": trial.duration.total_seconds() if trial.duration is not None else None,
            }
            for trial in trials
        ],
        "front": [trial.number for trial in journal.front()],
        "winner": {"number": best.number, "parameters": dict(best.params), "hash": experiment.hash},
    }
