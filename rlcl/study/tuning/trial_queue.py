"""The trials of a search as jobs, one per tuning seed."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, field

from rlcl.config import unstructure
from rlcl.errors import ConfigError, RunFolderError
from rlcl.evaluation.outcome import Outcome
from rlcl.experiment import Experiment
from rlcl.launch.verdicts import seed_result
from rlcl.objective import SeedResult
from rlcl.study.claims import Session
from rlcl.study.job_queue import ELSEWHERE_SECONDS, LONGEST_SECONDS, LOOKED_AT
from rlcl.study.tuning.definition import Tuning
from rlcl.study.tuning.intermediate import intermediate_values
from rlcl.study.tuning.study import Journal, Trial
from rlcl.study.tuning.targets import target_value
from rlcl.tracking.folder import read_results
from rlcl.tracking.json_files import read_json
from rlcl.types import Job

__all__ = ["EndedTrial", "RunningTrial", "TrialQueue"]


@define(eq=False)
class RunningTrial:
    """A trial of this process.

    Args:
        trial: the trial.
        experiment: its experiment.
        waiting: seeds whose job has not ended.
        pruned: whether its jobs were stopped because other trials are better.
    """

    trial: Trial
    experiment: Experiment
    waiting: set[int]
    pruned: bool = False
    failure: str = ""

    def job_name(self, seed: int) -> str:
        """Return the name of the job of a seed."""
        return f"trial {self.trial.number}/seed{seed}"


@define(eq=False)
class EndedTrial:
    """A trial that has ended.

    Args:
        trial: the trial.
        values: value of each objective; empty if it was pruned or has failed.
        state: ``complete``, ``pruned`` or ``failed``.
        reason: why it has failed.
    """

    trial: Trial
    values: tuple[float, ...]
    state: str
    reason: str = ""


@define(eq=False)
class TrialQueue:
    """The jobs of all trials that are still to be run: those that an ended process has left, then new ones.

    Args:
        tuning: the search.
        journal: its journal.
        session: session of this process, in which it claims trials.
        root: folder of all runs.
        measure: primary measure of the learner, which pruners compare.
        ended: function called with each trial that has ended.
    """

    tuning: Tuning
    journal: Journal
    session: Session
    root: Path
    measure: str
    ended: Callable[[EndedTrial], None]
    running: dict[int, RunningTrial] = field(init=False, factory=dict)
    _jobs: deque[Job] = field(init=False, factory=deque)
    _cleared: bool = field(init=False, default=False)
    _left: bool = field(init=False, default=True)  # whether trials may be left that this process could run
    _next_look: float = field(init=False, default=0.0)
    _pause: float = field(init=False, default=0.0)

    @property
    def folder(self) -> Path:
        """The folder of the trials' runs."""
        return self.root / self.tuning.trials_name

    @property
    def is_empty(self) -> bool:
        return self._cleared or (not self._jobs and not self._left)

    def clear(self) -> None:
        self._cleared = True
        self._jobs.clear()

    def take(self) -> Job | None:
        """Return the job of a seed of the next trial; None if other processes run all trials that are left."""
        if not self._jobs and self._left:
            self._start(self._adopted() or self._asked())
        return self._jobs.popleft() if self._jobs else None

    def _adopted(self) -> Trial | None:
        """Return a trial that is running according to the journal, and that no process runs."""
        if time.monotonic() < self._next_look:
            return None
        elsewhere = [frozen for frozen in self.journal.running() if frozen.number not in self.running]
        self._pause = min(2 * self._pause, LONGEST_SECONDS) if elsewhere and self._pause else ELSEWHERE_SECONDS
        self._next_look = time.monotonic() + self._pause
        for frozen in secrets.SystemRandom().sample(elsewhere, min(LOOKED_AT, len(elsewhere))):
            if not self.session.claim(f"trial-{frozen.number}"):
                self._pause, self._next_look = 0.0, 0.0
                return self.journal.adopt(frozen)
        self._left = bool(elsewhere) or self.journal.is_open
        return None

    def _asked(self) -> Trial | None:
        trial = self.journal.ask()
        if trial is None or self.session.claim(f"trial-{trial.number}"):
            return None  # another process has seen the new trial, and adopted it
        return trial

    def _start(self, trial: Trial | None) -> None:
        if trial is None:
            return
        try:
            experiment = self.tuning.trial(trial.values)
        except ConfigError as error:  # a combination of values that are valid on their own
            self._end(EndedTrial(trial, (), "failed", str(error)))
            return
        running = RunningTrial(trial, experiment, set(experiment.seeds))
        self.running[trial.number] = running
        self._jobs.extend(self._job(running, seed) for seed in experiment.seeds)

    def _job(self, running: RunningTrial, seed: int) -> Job:
        return Job(
            name=running.job_name(seed),
            config=unstructure(running.experiment),
            seed=seed,
            root=self.root,
            log=self.log(running.trial.number, seed),
        )

    def log(self, number: int, seed: int) -> Path:
        """Return the file with the output of a trial's last process."""
        return self.folder / "logs" / f"trial{number}-seed{seed}.txt"

    def find(self, job: str) -> tuple[RunningTrial, int]:
        """Return the trial and the seed of a job."""
        number, _, seed = job.removeprefix("trial ").partition("/seed")
        return self.running[int(number)], int(seed)

    def mark_ended(self, job: str, failure: str) -> None:
        """Note the end of a job; the trial ends with the last of its seeds.

        Args:
            job: name of the job.
            failure: why it has failed; empty if it has finished or was pruned.
        """
        running, seed = self.find(job)
        running.waiting.discard(seed)
        running.failure = running.failure or failure
        if failure:  # its other seeds would be in vain
            dropped = {running.job_name(other) for other in running.waiting}
            kept = [waiting for waiting in self._jobs if waiting.name not in dropped]
            running.waiting -= {self.find(waiting.name)[1] for waiting in self._jobs if waiting.name in dropped}
            self._jobs = deque(kept)
        if not running.waiting:
            self._finish(running)

    def put_back(self, job: str) -> None:
        """Try a job again later, whose run another process works on: two trials have the same values."""
        running, seed = self.find(job)
        self._jobs.append(self._job(running, seed))

    def _finish(self, running: RunningTrial) -> None:
        del self.running[running.trial.number]
        if not running.failure and not running.pruned:
            self.journal.report(running.trial, self._intermediate_values(running))  # others are compared with it
        self._end(self._outcome(running))

    def _outcome(self, running: RunningTrial) -> EndedTrial:
        if running.failure:
            return EndedTrial(running.trial, (), "failed", running.failure)
        if running.pruned:
            return EndedTrial(running.trial, (), "pruned")
        try:
            results = [self._result(running.experiment, seed) for seed in running.experiment.seeds]
        except (RunFolderError, LookupError, TypeError) as error:
            return EndedTrial(running.trial, (), "failed", f"its result cannot be read: {error}")
        values = [target_value(target, results) for target in self.tuning.targets]
        missing = [t.name for t, value in zip(self.tuning.targets, values, strict=True) if value is None]
        if missing:
            return EndedTrial(running.trial, (), "failed", f"{missing[0]} is not defined for its records")
        return EndedTrial(running.trial, tuple(value for value in values if value is not None), "complete")

    def _result(self, experiment: Experiment, seed: int) -> SeedResult:
        run = self.folder / experiment.hash / f"seed{seed}"
        summary = read_json(run / "summary.json")
        outcome = Outcome(read_results(run), tuple(summary["measures"]), experiment.evaluation.metrics)
        return seed_result(outcome, summary)

    def _end(self, ended: EndedTrial) -> None:
        if ended.state == "complete":
            self.journal.complete(ended.trial, ended.values)
        elif ended.state == "pruned":
            self.journal.prune(ended.trial)
        else:
            self.journal.fail(ended.trial, ended.reason)
        self.session.release(f"trial-{ended.trial.number}")
        self.ended(ended)

    def _intermediate_values(self, running: RunningTrial) -> Sequence[float]:
        """Return the mean performance over the seeds at each evaluation that all of them have reached."""
        if self.tuning.definition.pruner == "none":
            return []
        runs = [self.folder / running.experiment.hash / f"seed{seed}" for seed in running.experiment.seeds]
        curves = [intermediate_values(run, self.measure) for run in runs]
        return [sum(values) / len(values) for values in zip(*curves, strict=False)]

    def to_prune(self) -> Sequence[str]:
        """Return the jobs of trials that are to be stopped, because others are better at the same evaluation."""
        stopped: list[str] = []
        for running in [*self.running.values()]:
            if running.pruned:
                continue
            if self.journal.report(running.trial, self._intermediate_values(running)):
                running.pruned = True
                dropped = {running.job_name(seed) for seed in running.waiting}
                in_queue = {job.name for job in self._jobs} & dropped
                self._jobs = deque(job for job in self._jobs if job.name not in in_queue)
                running.waiting -= {self.find(name)[1] for name in in_queue}
                stopped += sorted(dropped - in_queue)
        for running in [r for r in self.running.values() if not r.waiting]:
            self._finish(running)
        return stopped
