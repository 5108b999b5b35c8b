"""Suite files, and the cells that result from an experiment and its axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import attrs
from attrs import frozen

from rlcl.config import (
    Component,
    Document,
    Faults,
    Kind,
    component,
    merge,
    option,
    packaged_folder,
    read,
    read_document,
    resolve_extends,
    sharing_parts,
)
from rlcl.errors import ConfigError, did_you_mean
from rlcl.experiment import FOLDER_NAME, Experiment, experiment_from_document
from rlcl.study.axes import Axis, AxisValue, read_axes, read_matches

__all__ = [
    "Suite",
    "SuiteCell",
    "SuiteDefinition",
    "SuiteSummary",
    "load_suite",
    "suites_folder",
    "summarize_suite",
]

DEFAULT_BUDGET = "full"
SELECTION = "include"  # key of a budget that selects cells


@frozen(kw_only=True)
class SuiteDefinition:
    """Content of a suite file.

    Args:
        name: name of the suite's folder, without the suffix for the budget.
        statement: purpose of the suite, in a sentence.
        base: an experiment, complete or with ``extends``.
        sweep: axes: key paths of the experiment, each with a list of values, or with values by label.
        seeds: n for the seeds 0 to n - 1, or a list of seeds; the default is the seeds of ``base``.
        include: conditions ``{axis: label}`` on some of the axes; if there are any, only cells that fulfil at least one
            condition are included.
        exclude: conditions as in ``include``; a cell that fulfils at least one condition is left out.
        budgets: overrides of every cell's experiment, by name of the budget; ``seeds`` replaces those of the suite, and
            ``include`` selects some of its cells.
        extra: extra of rlcl that its environments need (``pip install 'rlcl[...]'``); null for none.
        hours: estimate of the hours of the budget ``full`` on two cores; null if it is unknown.
        launcher: launcher that runs the cells.
    """

    name: str = option(pattern=(FOLDER_NAME, "a folder name of letters, digits, '-', '_' and '.'"))
    statement: str = option("")
    base: Mapping[str, Any] = option()
    sweep: Mapping[str, Any] = option(factory=dict)
    seeds: int | tuple[int, ...] | None = option(None, ge=0)
    include: tuple[Mapping[str, Any], ...] = option(())
    exclude: tuple[Mapping[str, Any], ...] = option(())
    budgets: Mapping[str, Mapping[str, Any]] = option(factory=dict)
    extra: str | None = option(None)
    hours: float | None = option(None, gt=0)
    launcher: Annotated[Component, Kind("launcher")] = option(factory=lambda: component("launcher", "local"))


@frozen
class SuiteCell:
    """One run of a suite.

    Args:
        labels: label of the cell's value on each axis.
        experiment: the resolved experiment, with the name of the suite.
        seed: seed of the run.
    """

    labels: Mapping[str, str]
    experiment: Experiment
    seed: int

    @property
    def learner(self) -> str:
        """The name of the cell without its seed."""
        return ", ".join(self.labels.values()) or self.experiment.name

    @property
    def name(self) -> str:
        """The display name, which ``--only`` matches, for example ``ewc, permuted/seed3``."""
        return f"{self.learner}/seed{self.seed}"

    @property
    def run(self) -> str:
        """The run folder, relative to the folder of the suite."""
        return f"{self.experiment.hash}/seed{self.seed}"

    @property
    def file_name(self) -> str:
        """The name of its files in the folder of the suite, without suffix."""
        return f"{self.experiment.hash}-seed{self.seed}"


@frozen
class Suite:
    """A suite with its resolved cells.

    Args:
        name: name of its folder: the name in the file, and the name of the budget if the file has budgets.
        statement: purpose of the suite.
        file: the suite file.
        budget: name of the selected budget; empty if the file has no budgets.
        definition: content of the file, with a ``base`` whose ``extends`` is resolved.
        axes: labels of each axis.
        cells: all cells, at least one; the cells of a config (one per seed) are adjacent.
        launcher: launcher that runs the cells.
        extra, hours: see :class:`SuiteDefinition`.
    """

    name: str
    statement: str
    file: str
    budget: str
    definition: Mapping[str, Any]
    axes: Mapping[str, tuple[str, ...]]
    cells: tuple[SuiteCell, ...]
    launcher: Component
    extra: str | None = None
    hours: float | None = None


@frozen
class SuiteSummary:
    """What a suite file says of itself; its cells are not resolved.

    Args:
        statement, extra, hours: see :class:`SuiteDefinition`.
        cells: number of cells of the default budget.
    """

    statement: str
    cells: int
    extra: str | None
    hours: float | None


def suites_folder() -> Path:
    """Return the folder of the shipped suites."""
    return packaged_folder("suites", "benchmarks/suites")


def summarize_suite(name: str | Path) -> SuiteSummary:
    """Read a suite file without resolving its cells, which takes a hundredth of the time.

    Args:
        name: a YAML file, or the name of a shipped suite.

    Raises:
        ConfigError: the file is invalid.
    """
    document = read_document(name, (), suites_folder())
    try:
        definition: SuiteDefinition = read(document.data, SuiteDefinition)
        budget = _selected_budget(definition, None)
        base = (
            Document(document.name, {}) if definition.seeds is not None else resolve_extends(document.part(("base",)))
        )
        seeds = _seeds(definition.budgets.get(budget, {}).get("seeds", definition.seeds), base)
        cells = len(_combinations(definition, budget, read_axes(document))) * len(seeds)
    except Faults as error:
        raise ConfigError(document.messages(error.faults)) from None
    return SuiteSummary(definition.statement, cells, definition.extra, definition.hours)


def load_suite(name: str | Path, overrides: Sequence[str] = (), budget: str | None = None) -> Suite:
    """Read a suite file and resolve every cell.

    Args:
        name: a YAML file, or the name of a shipped suite.
        overrides: overrides ``key.path=value`` of the suite file, for example ``seeds=3`` or ``base.budget.epochs=2``.
        budget: name of one of the file's budgets; ``full`` by default.

    Raises:
        ConfigError: the suite or some of its cells are invalid; the error contains all problems.
    """
    document = read_document(name, overrides, suites_folder())
    try:
        definition: SuiteDefinition = read(document.data, SuiteDefinition)
        base = resolve_extends(document.part(("base",)))
        budget = _selected_budget(definition, budget)
        axes = read_axes(document)
        combinations = _combinations(definition, budget, axes)
        seeds = _seeds(definition.budgets.get(budget, {}).get("seeds", definition.seeds), base)
    except Faults as error:
        raise ConfigError(document.messages(error.faults)) from None
    full_name = "-".join(filter(None, (definition.name, budget)))
    identity = {"name": full_name, "seeds": list(seeds)}
    with sharing_parts():
        experiments = _experiments(base, axes, combinations, _overrides(document, budget), identity)
    return Suite(
        full_name,
        definition.statement,
        str(name),
        budget,
        {**document.data, "base": base.data},
        {axis.name: tuple(value.label for value in axis.values) for axis in axes},
        tuple(SuiteCell(labels, experiment, seed) for labels, experiment in experiments for seed in seeds),
        definition.launcher,
        definition.extra,
        definition.hours,
    )


def _selected_budget(definition: SuiteDefinition, budget: str | None) -> str:
    """Return the name of a budget; empty if none is given and the suite has none.

    Raises:
        Faults: there is no such budget.
    """
    budgets = definition.budgets
    if budget is None and not budgets:
        return ""
    name = DEFAULT_BUDGET if budget is None else budget
    if name not in budgets:
        problem = "no budget is named full; choose one with --budget" if budget is None else f"no budget {budget!r}"
        near = did_you_mean(name, budgets) if budgets else "; this suite has none"
        raise Faults.one(f"{problem}{near}", "budgets")
    return name


def _overrides(document: Document, budget: str) -> Document:
    """Return the overrides that a budget makes of every experiment."""
    if not budget:
        return Document(document.name, {})
    part = document.part(("budgets", budget))
    return attrs.evolve(part, data={key: value for key, value in part.data.items() if key != SELECTION})


def _seeds(setting: Any, base: Document) -> tuple[int, ...]:
    """Return the seeds of every cell.

    Args:
        setting: the setting ``seeds`` of the suite; None for that of the base.
        base: the base experiment.

    Raises:
        Faults: there are none.
    """
    value = base.data.get("seeds", 1) if setting is None else setting
    count_or_seeds = read(value, int | tuple[int, ...]) if isinstance(value, list | int) else value
    seeds = tuple(range(count_or_seeds)) if isinstance(count_or_seeds, int) else tuple(count_or_seeds)
    if not seeds:
        raise Faults.one("expected at least one, got none: the grid is empty", "seeds")
    return seeds


def _combinations(definition: SuiteDefinition, budget: str, axes: Sequence[Axis]) -> list[tuple[AxisValue, ...]]:
    """Return the combinations of values that remain after ``include`` and ``exclude`` of the suite and its budget.

    Raises:
        Faults: no combination remains, or a condition names an unknown axis or label.
    """
    path = ("budgets", budget, SELECTION)
    try:
        selection = read(definition.budgets.get(budget, {}).get(SELECTION, []), tuple[Mapping[str, Any], ...])
    except Faults as error:
        raise Faults(fault.under(*path) for fault in error.faults) from None
    included = read_matches(definition.include, ("include",), axes)
    excluded = read_matches(definition.exclude, ("exclude",), axes)
    selected = read_matches(selection, path, axes)

    def any_matches(combination: tuple[AxisValue, ...], matches: Sequence[Mapping[str, frozenset[str]]]) -> bool:
        labels = {axis.name: value.label for axis, value in zip(axes, combination, strict=True)}
        return any(all(labels[name] in accepted for name, accepted in match.items()) for match in matches)

    combinations = [
        combination
        for combination in product(*(axis.values for axis in axes))
        if (not included or any_matches(combination, included))
        and (not selected or any_matches(combination, selected))
        and not any_matches(combination, excluded)
    ]
    if not combinations:
        key = "exclude" if excluded else "include"
        raise Faults.one("include and exclude leave no cell: the grid is empty", *(path if selected else (key,)))
    return combinations


def _experiments(
    base: Document,
    axes: Sequence[Axis],
    combinations: Sequence[tuple[AxisValue, ...]],
    patch: Document,
    identity: Mapping[str, Any],
) -> list[tuple[Mapping[str, str], Experiment]]:
    """Return the labels and the experiment of each combination.

    Args:
        base: the base experiment.
        axes: the axes of the sweep.
        combinations: a value of each axis per combination.
        patch: the overrides of the budget.
        identity: name and seeds of every experiment.

    Raises:
        ConfigError: some experiments are invalid, or two of them are equal.
    """
    experiments: list[tuple[Mapping[str, str], Experiment]] = []
    problems: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    same: list[str] = []
    for combination in combinations:
        labels = {axis.name: value.label for axis, value in zip(axes, combination, strict=True)}
        name = ", ".join(labels.values()) or identity["name"]
        try:
            experiment = experiment_from_document(_with_values(base, axes, combination, patch, identity))
        except ConfigError as error:
            for problem in error.problems:
                problems.setdefault(problem, []).append(name)
            continue
        if experiment.hash in names:
            same.append(f"{name} is the same run as {names[experiment.hash]}")
        names.setdefault(experiment.hash, name)
        experiments.append((labels, experiment))
    if same:
        more = f", and {len(same) - 1} more cells are the same as others" if len(same) > 1 else ""
        problems[f"{base.name}: sweep: {same[0]}{more}; exclude one of them"] = []
    if problems:
        raise ConfigError([_with_cells(problem, cells, len(combinations)) for problem, cells in problems.items()])
    return experiments


def _with_values(
    base: Document, axes: Sequence[Axis], combination: Sequence[AxisValue], patch: Document, identity: Mapping[str, Any]
) -> Document:
    """Return the base experiment with a value of each axis, the overrides of the budget, name and seeds."""
    document = base
    for axis, value in zip(axes, combination, strict=True):
        try:
            document = axis.apply(document, value)
        except Faults as error:
            raise ConfigError(value.change.messages(error.faults)) from None
    return merge(merge(document, patch), Document(base.name, dict(identity)))


def _with_cells(problem: str, cells: Sequence[str], all_cells: int) -> str:
    """Append the affected cells to a problem, unless it affects all cells."""
    if len(cells) == all_cells or ": sweep: " in problem:
        return problem
    more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
    return f"{problem} (cell {cells[0]}{more})"
