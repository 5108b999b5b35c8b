"""Tuning files, and the experiments of their trials and of their winner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from attrs import frozen

from rlcl.config import (
    Component,
    Document,
    Fault,
    Faults,
    Kind,
    component,
    merge,
    option,
    read,
    read_document,
    resolve_extends,
)
from rlcl.errors import ConfigError
from rlcl.experiment import FOLDER_NAME, Experiment, experiment_from_document
from rlcl.registry import find
from rlcl.study.tuning.samplers import PRUNERS, SAMPLERS, check_sampler
from rlcl.study.tuning.search_space import Parameter, read_search_space, with_values
from rlcl.study.tuning.targets import Target, read_targets

__all__ = ["Report", "Tuning", "TuningDefinition", "load_tuning"]

TUNING_SEED = 1000  # first of the default seeds of trials, far from those of reports


@frozen(kw_only=True)
class Report:
    """Runs of the winner, whose results are reported.

    Args:
        seeds: n for the seeds 0 to n - 1, or a list; no trial may have used them.
    """

    seeds: int | tuple[int, ...] = option(5, ge=0)


@frozen(kw_only=True)
class TuningDefinition:
    """Content of a tuning file.

    Args:
        name: name of the folder of the winner's runs; that of the trials has the suffix ``-trials``.
        statement: what is sought, in a sentence.
        base: an experiment, complete or with ``extends``.
        search: the parameters: key paths of the experiment, each with a list of values, values by label, or a range.
        objective: a metric or cost to maximize, or to minimize with a ``-`` before it; several for a Pareto front.
        trials: number of trials.
        sampler: method that proposes values.
        pruner: method that stops trials early.
        seeds: n for n tuning seeds, or a list; the value of a trial is the mean over them.
        first: number of experiences that trials are trained and evaluated on; null for all.
        validation: fraction of the training data that is held out, and on which trials are evaluated.
        seed: seed of the sampler.
        report: runs of the winner.
        launcher: launcher that runs the trials.
    """

    name: str = option(pattern=(FOLDER_NAME, "a folder name of letters, digits, '-', '_' and '.'"))
    statement: str = option("")
    base: Mapping[str, Any] = option()
    search: Mapping[str, Any] = option()
    objective: str | tuple[str, ...] = option("accuracy.average")
    trials: int = option(50, ge=1)
    sampler: str = option("tpe", pattern=("|".join(SAMPLERS), ", ".join(SAMPLERS)))
    pruner: str = option("none", pattern=("|".join(PRUNERS), ", ".join(PRUNERS)))
    seeds: int | tuple[int, ...] = option(1, ge=0)
    first: int | None = option(None, ge=1)
    validation: float = option(0.2, gt=0, lt=1)
    seed: int = option(0, ge=0)
    report: Report = option(factory=Report)
    launcher: Annotated[Component, Kind("launcher")] = option(factory=lambda: component("launcher", "local"))


@frozen(slots=False)
class Tuning:
    """A tuning file that has been read and checked.

    Args:
        file: the file.
        definition: its content.
        base: the base experiment, whose ``extends`` is resolved.
        parameters: the search space.
        targets: what is optimized.
        seeds: tuning seeds.
        report_seeds: seeds of the winner's runs, different from the tuning seeds.
    """

    file: str
    definition: TuningDefinition
    base: Document
    parameters: tuple[Parameter, ...]
    targets: tuple[Target, ...]
    seeds: tuple[int, ...]
    report_seeds: tuple[int, ...]

    @property
    def trials_name(self) -> str:
        """Name of the folder of the trials' runs."""
        return f"{self.definition.name}-trials"

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """The parts of the definition that decide which trials there are, except their number; see the journal."""
        definition = self.definition
        return {
            "base": self.base.data,
            "search": definition.search,
            "objective": [target.text for target in self.targets],
            "seeds": list(self.seeds),
            "first": definition.first,
            "validation": definition.validation,
        }

    def trial(self, values: Mapping[str, Any]) -> Experiment:
        """Return the experiment of a trial, which is evaluated on validation data of the first experiences only.

        Args:
            values: value of each parameter: a label of its choices, or a number in its range.

        Raises:
            ConfigError: the experiment is invalid.
        """
        protocol: dict[str, Any] = {
            "name": self.trials_name,
            "objective": None,
            "seeds": list(self.seeds),
            "validation": self.definition.validation,
            "evaluation": {
                "split": "validation",
                "metrics": [target.name for target in self.targets if not target.is_cost],
            },
            "first": self.definition.first,
        }
        return self._experiment(values, protocol)

    def winner(self, values: Mapping[str, Any]) -> Experiment:
        """Return the experiment of the winner, which is evaluated on test data of the whole stream with fresh seeds."""
        protocol = {
            "name": self.definition.name,
            "seeds": list(self.report_seeds),
            "evaluation": {"split": "test"},
            "first": None,
        }
        return self._experiment(values, protocol)

    def _experiment(self, values: Mapping[str, Any], protocol: Mapping[str, Any]) -> Experiment:
        try:
            document = with_values(self.base, self.parameters, values)
        except Faults as error:
            raise ConfigError(self.base.messages(error.faults)) from None
        return experiment_from_document(merge(document, Document(self.base.name, dict(protocol))))

    @cached_property
    def holds_out(self) -> bool:
        """Whether trials hold out training data; an environment has none, and its trials differ by their seeds only."""
        learner = self.trial(self.first_values).learner
        return "environment" not in find("learner", learner.type).needs

    @property
    def first_values(self) -> Mapping[str, Any]:
        """The first value of each parameter."""
        return {parameter.name: parameter.domain.extremes[0] for parameter in self.parameters}

    def checked_values(self) -> Sequence[Mapping[str, Any]]:
        """Return values at the ends of each range and all choices, each once, which are checked before the search."""
        first = self.first_values
        return [
            first,
            *(
                {**first, parameter.name: value}
                for parameter in self.parameters
                for value in parameter.domain.extremes[1:]
            ),
        ]


def load_tuning(name: str | Path, overrides: Sequence[str] = ()) -> Tuning:
    """Read a tuning file, and check the experiments at the ends of its search space.

    Args:
        name: a YAML file.
        overrides: overrides ``key.path=value`` of the file, such as ``trials=100``.

    Raises:
        ConfigError: the file is invalid; the error contains all problems.
    """
    document = read_document(name, overrides, Path())
    try:
        definition: TuningDefinition = read(document.data, TuningDefinition)
        base = resolve_extends(document.part(("base",)))
        parameters = read_search_space(document)
        targets = read_targets(definition.objective)
        tuning_seeds = _seeds(definition.seeds, TUNING_SEED)
        report_seeds = _seeds(definition.report.seeds, 0)
        _check_protocol(definition.base, tuning_seeds, report_seeds)
        check_sampler(definition.sampler, definition.pruner, parameters, len(targets))
    except Faults as error:
        raise ConfigError(document.messages(error.faults)) from None
    tuning = Tuning(str(name), definition, base, parameters, targets, tuning_seeds, report_seeds)
    problems: dict[str, None] = {}
    for values in tuning.checked_values():
        try:
            tuning.trial(values)
            tuning.winner(values)
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise ConfigError([*problems])
    return tuning


def _seeds(setting: int | Sequence[int], first: int) -> tuple[int, ...]:
    return tuple(range(first, first + setting)) if isinstance(setting, int) else tuple(setting)


def _check_protocol(base: Mapping[str, Any], tuning_seeds: Sequence[int], report_seeds: Sequence[int]) -> None:
    """Check that the report uses no seed of the trials, and that the base leaves the protocol to the search.

    Args:
        base: the base in the tuning file; settings of an experiment that it extends are replaced.
        tuning_seeds, report_seeds: the seeds of the trials and of the winner.

    Raises:
        Faults: it does not.
    """
    faults = []
    common = sorted({*tuning_seeds} & {*report_seeds})
    if common:
        listed = ", ".join(map(str, common))
        faults.append(
            Fault(("report", "seeds"), f"seed {listed} is used by the trials too; the report needs fresh seeds")
        )
    for where, seeds in ((("seeds",), tuning_seeds), (("report", "seeds"), report_seeds)):
        if not seeds:
            faults.append(Fault(where, "expected at least one seed, got none"))
    for key in ("seeds", "first"):
        if base.get(key) is not None:
            faults.append(Fault(("base", key), f"remove it; a search has its own {key}, for trials and for the report"))
    if isinstance(base.get("evaluation"), Mapping) and "split" in base["evaluation"]:
        faults.append(
            Fault(("base", "evaluation", "split"), "remove it; trials use validation data, and the winner test data")
        )
    if faults:
        raise Faults(faults)
