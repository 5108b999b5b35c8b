"""Results of a hyper-parameter search: its history, and the importance and effect of its parameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from rlcl.statistics.intervals import SeedSummary, summarize
from rlcl.tracking.json_files import read_json

__all__ = ["EffectRow", "SearchParameter", "SearchResults", "SearchTrial", "read_search"]

FILE = "tuning.json"
PARTS = 4  # of a range in the table of effects
MAX_VALUES = 6  # whole numbers that are shown one by one
PER_PART = 4  # trials, at least, of a part of a range


@frozen
class SearchParameter:
    """A parameter of a search.

    Args:
        name: key path of the setting.
        labels: values of a parameter with choices; empty for a range.
        low, high: ends of a range.
        log: whether the range is logarithmic.
        integer: whether its values are whole numbers.
    """

    name: str
    labels: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    integer: bool = False

    @property
    def label(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]

    def place(self, value: Any) -> float:
        """Return the position of a value, in [0, 1]."""
        if self.labels:
            return (self.labels.index(str(value)) + 0.5) / len(self.labels)
        low, high, at = ((np.log(v) if self.log else v) for v in (self.low, self.high, float(value)))
        return float((at - low) / (high - low)) if high > low else 0.5


@frozen(eq=False)
class SearchTrial:
    """A trial of a search.

    Args:
        number: number of the trial.
        state: ``complete``, ``pruned``, ``fail`` or ``running``.
        values: value of each objective; empty if the trial is not complete.
        parameters: value of each parameter.
    """

    number: int
    state: str
    values: tuple[float, ...]
    parameters: Mapping[str, Any]


@frozen
class EffectRow:
    """Trials that share a value, or a part of the range, of a parameter.

    Args:
        parameter: the parameter.
        values: the value or the part of the range, as text.
        summary: mean of the objective over these trials, with its interval.
        best: best value of the objective.
        points: all values of the objective.
    """

    parameter: SearchParameter
    values: str
    summary: SeedSummary
    best: float
    points: tuple[float, ...]


@frozen(eq=False, slots=False)
class SearchResults:
    """A search that has ended.

    Args:
        objectives: objectives; one that is minimized begins with ``-``.
        sampler, pruner: names.
        parameters: the search space.
        trials: all trials in their order.
        winner: number of the winning trial.
        front: numbers of the trials of the Pareto front.
        winner_hash: hash of the winner's experiment.
        protocol: seeds, validation and experiences of trials and winner.
    """

    objectives: tuple[str, ...]
    sampler: str
    pruner: str
    parameters: tuple[SearchParameter, ...]
    trials: tuple[SearchTrial, ...]
    winner: int
    front: tuple[int, ...]
    winner_hash: str
    protocol: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the objectives."""
        return tuple(objective.removeprefix("-") for objective in self.objectives)

    def better(self, objective: int = 0) -> str:
        """Return ``higher`` or ``lower``."""
        return "lower" if self.objectives[objective].startswith("-") else "higher"

    @cached_property
    def complete(self) -> tuple[SearchTrial, ...]:
        """The trials that have values."""
        return tuple(trial for trial in self.trials if trial.values)

    @property
    def best_so_far(self) -> list[float]:
        """Best value of the first objective after each complete trial."""
        values = [trial.values[0] for trial in self.complete]
        accumulate = np.minimum if self.better() == "lower" else np.maximum
        return [float(value) for value in accumulate.accumulate(values)]

    def importance(self) -> Mapping[str, float] | None:
        """Return the share of the objective's variance that each parameter explains, the largest first.

        None if Optuna is not installed, or if there are fewer than four complete trials or all have the same value.

        Source: Hutter, Hoos & Leyton-Brown 2014, An efficient approach for assessing hyperparameter importance.
        """
        if len(self.complete) < 4 or len({trial.values[0] for trial in self.complete}) < 2:
            return None
        try:
            import optuna
        except ImportError:
            return None
        space = {parameter.name: _distribution(optuna, parameter) for parameter in self.parameters}
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            study = optuna.create_study()
            for trial in self.complete:
                values = {
                    p.name: str(v) if p.labels else v for p in self.parameters for v in [trial.parameters[p.name]]
                }
                study.add_trial(optuna.trial.create_trial(params=values, distributions=space, value=trial.values[0]))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
                found: Mapping[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator)
        finally:
            optuna.logging.set_verbosity(verbosity)
        return found

    def effects(self) -> Iterator[EffectRow]:
        """Yield the objective for the values of each parameter, averaged over what the search tried of the others.

        A range is divided into parts with equal numbers of trials.
        """
        sign = -1 if self.better() == "lower" else 1
        for parameter in self.parameters:
            for values, trials in self._parts(parameter):
                points = tuple(trial.values[0] for trial in trials)
                best = sign * max(sign * point for point in points)
                yield EffectRow(parameter, values, summarize(points), best, points)

    def _parts(self, parameter: SearchParameter) -> Iterator[tuple[str, Sequence[SearchTrial]]]:
        trials = sorted(self.complete, key=lambda trial: parameter.place(trial.parameters[parameter.name]))
        values = [trial.parameters[parameter.name] for trial in trials]
        if parameter.labels or (parameter.integer and len(set(values)) <= MAX_VALUES):
            for value in dict.fromkeys(values):
                yield str(value), [t for t, v in zip(trials, values, strict=True) if v == value]
            return
        for indices in np.array_split(np.arange(len(trials)), max(1, min(PARTS, len(trials) // PER_PART))):
            if len(indices):
                first, last = values[indices[0]], values[indices[-1]]
                yield f"{first:.3g} to {last:.3g}", [trials[i] for i in indices]


def _distribution(optuna: Any, parameter: SearchParameter) -> Any:
    if parameter.labels:
        return optuna.distributions.CategoricalDistribution(parameter.labels)
    if parameter.integer:
        return optuna.distributions.IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return optuna.distributions.FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def read_search(folder: Path) -> SearchResults | None:
    """Return the search whose winner has runs in a folder; None if there is none, or its file is damaged."""
    content = read_json(folder / FILE)
    try:
        parameters = tuple(
            SearchParameter(**{**each, "labels": tuple(map(str, each.get("labels", ())))})
            for each in content["parameters"]
        )
        trials = tuple(
            SearchTrial(
                int(each["number"]),
                str(each["state"]),
                tuple(map(float, each["values"] or ())) if each["state"] == "complete" else (),
                {parameter.name: each["parameters"][parameter.name] for parameter in parameters},
            )
            for each in content["trials"]
            if each["parameters"]
        )
        return SearchResults(
            tuple(map(str, content["objective"])),
            str(content["sampler"]),
            str(content["pruner"]),
            parameters,
            trials,
            int(content["winner"]["number"]),
            tuple(map(int, content["front"])),
            str(content["winner"]["hash"]),
            dict(content["protocol"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
