"""The journal of a search: its trials, their values and their states, in a file that several processes share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from rlcl.errors import RunFolderError
from rlcl.strict_json import json_text
from rlcl.study.tuning.definition import Tuning
from rlcl.study.tuning.samplers import distributions, grid_size, make_pruner, make_sampler, optuna

__all__ = ["Journal", "Trial"]

JOURNAL = "journal.log"
CONTENT = "rlcl: definition"
REASON = "rlcl: reason"


@define(eq=False)
class Trial:
    """A trial of the search.

    Args:
        number: its number, from 0.
        values: value of each parameter.
        handle: the trial of Optuna.
    """

    number: int
    values: Mapping[str, Any]
    handle: Any

    @classmethod
    def of(cls, handle: Any) -> Trial:
        """Return a trial of Optuna with its number and values."""
        return cls(handle.number, dict(handle.params), handle)


@define(eq=False)
class Journal:
    """The journal of a search, which is created at its first use.

    Args:
        tuning: the search.
        folder: folder of the trials.

    Raises:
        RunFolderError: the journal belongs to a search with another definition, or to another user.
    """

    tuning: Tuning
    folder: Path
    _study: Any = field(init=False)
    _space: dict[str, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        module, file = optuna(), self.folder / JOURNAL
        if file.exists() and hasattr(os, "geteuid") and file.stat().st_uid != os.geteuid():
            raise RunFolderError(
                f"{file} belongs to another user; Optuna would execute what it contains. Search in another folder"
            )
        journal = module.storages.journal
        backend = journal.JournalFileBackend(str(file), lock_obj=journal.JournalFileOpenLock(str(file)))
        self._study = module.create_study(
            study_name=self.tuning.definition.name,
            storage=module.storages.JournalStorage(backend),
            directions=[target.direction for target in self.tuning.targets],
            pruner=make_pruner(self.tuning.definition.pruner),
            load_if_exists=True,
        )
        self._space = distributions(self.tuning.parameters)
        content = json_text(self.tuning.content)
        stored = self._study.user_attrs.get(CONTENT)
        if stored is None:
            self._study.set_user_attr(CONTENT, content)
        elif stored != content:
            raise RunFolderError(
                f"{file} belongs to a search with another base, search space, objective or protocol; give this search "
                "another name, or remove the folder"
            )

    @property
    def planned(self) -> int:
        """Number of trials of the whole search."""
        trials = self.tuning.definition.trials
        return min(trials, grid_size(self.tuning.parameters)) if self.tuning.definition.sampler == "grid" else trials

    def trials(self) -> Sequence[Any]:
        """Return all planned trials as Optuna's frozen trials, in their order."""
        trials: Sequence[Any] = self._study.get_trials(deepcopy=False)
        return trials[: self.planned]

    def running(self) -> Sequence[Any]:
        """Return the trials that have not ended, of this and other processes."""
        return [trial for trial in self.trials() if not trial.state.is_finished()]

    @property
    def is_open(self) -> bool:
        """Whether not all planned trials exist."""
        return len(self.trials()) < self.planned

    def ask(self) -> Trial | None:
        """Return a new trial; None if all planned trials exist."""
        count = len(self.trials())
        if count >= self.planned:
            return None
        self._study.sampler = self._sampler(count)
        trial = Trial.of(self._study.ask(self._space))
        if trial.number >= self.planned:  # another process was faster
            self.fail(trial, "beyond the planned number of trials")
            return None
        return trial

    def adopt(self, frozen: Any) -> Trial:
        """Return a trial that another process has left running.

        Optuna stores one parameter after the other, so that a process which is killed in between leaves a trial
        without some of them.
        """
        if frozen.params.keys() < self._space.keys():
            self._complete_proposal(frozen)
        return Trial.of(optuna().trial.Trial(self._study, frozen._trial_id))

    def _complete_proposal(self, frozen: Any) -> None:
        """Store the missing values of a trial as its process would have proposed them.

        They are proposed once more in a copy of the search that has only the trials before this one.
        """
        copy = optuna().create_study(directions=self._study.directions, sampler=self._sampler(frozen.number))
        copy.add_trials(self.trials()[: frozen.number])
        copy.ask(self._space)
        proposed = copy.get_trials(deepcopy=False)[-1]
        storage = self._study._storage
        for name, value in proposed.system_attrs.items():
            if name not in frozen.system_attrs:
                storage.set_trial_system_attr(frozen._trial_id, name, value)
        for name, distribution in self._space.items():
            if name not in frozen.params:
                internal = distribution.to_internal_repr(proposed.params[name])
                storage.set_trial_param(frozen._trial_id, name, internal, distribution)

    def _sampler(self, number: int) -> Any:
        definition = self.tuning.definition
        return make_sampler(definition.sampler, definition.seed, number, self.tuning.parameters)

    def report(self, trial: Trial, values: Sequence[float]) -> bool:
        """Store the intermediate values of a trial so far; return whether it is to be stopped.

        Args:
            trial: a running trial.
            values: performance at each evaluation; higher is better.
        """
        sign = -1 if self.tuning.targets[0].minimize else 1
        reported = self._study._storage.get_trial(trial.handle._trial_id).intermediate_values
        for step in range(len(reported), len(values)):
            trial.handle.report(sign * values[step], step)
        return bool(len(values) > len(reported) and trial.handle.should_prune())

    def complete(self, trial: Trial, values: Sequence[float]) -> None:
        """Store the values of a finished trial, one per objective."""
        self._tell(trial, values=list(values))

    def prune(self, trial: Trial) -> None:
        """Store that a trial was stopped early."""
        self._tell(trial, state=optuna().trial.TrialState.PRUNED)

    def fail(self, trial: Trial, reason: str) -> None:
        """Store that a trial failed."""
        trial.handle.set_user_attr(REASON, reason)
        self._tell(trial, state=optuna().trial.TrialState.FAIL)

    def _tell(self, trial: Trial, **outcome: Any) -> None:
        """Store the outcome of a trial; the sampler of a grid would try to end a loop of Optuna's own."""
        self._study.sampler = optuna().samplers.RandomSampler()
        self._study.tell(trial.handle, **outcome)

    def front(self) -> Sequence[Any]:
        """Return the best trial of one objective, or the trials of the Pareto front of several."""
        complete = [trial for trial in self.trials() if trial.state == optuna().trial.TrialState.COMPLETE]
        signs = [1 if target.minimize else -1 for target in self.tuning.targets]

        def costs(trial: Any) -> list[float]:
            return [sign * value for sign, value in zip(signs, trial.values, strict=True)]

        def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
            return a != b and all(x <= y for x, y in zip(a, b, strict=True))

        return [trial for trial in complete if not any(dominates(costs(other), costs(trial)) for other in complete)]

    def best(self) -> Any:
        """Return the best complete trial; of a Pareto front, the best one in the first objective.

        Raises:
            RunFolderError: no trial is complete.
        """
        front = [trial for trial in self.front() if trial.values is not None]
        if not front:
            raise RunFolderError(
                f"no trial of {self.tuning.definition.name} has finished; read the logs in {self.folder}"
            )
        sign = 1 if self.tuning.targets[0].minimize else -1
        return min(front, key=lambda trial: (sign * trial.values[0], trial.number))
