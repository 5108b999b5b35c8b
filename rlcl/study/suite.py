"""A suite: one experiment, the axes along which it varies, and the cells that this makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from attrs import frozen

from rlcl.config import (
    Component,
    Document,
    Faults,
    Kind,
    component,
    extended,
    merge,
    option,
    read,
    read_document,
    shipped_in,
)
from rlcl.errors import ConfigError, did_you_mean
from rlcl.experiment import FOLDER_NAME, Experiment, structured
from rlcl.study.axes import Axis, Choice, read_axes, read_matches

__all__ = ["Cell", "Definition", "Suite", "load_suite", "suites_folder"]

DEFAULT_BUDGET = "full"


@frozen(kw_only=True)
class Definition:
    """A suite file.

    Args:
        name: names the folder of the suite, followed by the budget's name.
        statement: what it is for, in a sentence.
        base: an experiment, whole or with ``extends``.
        sweep: axes: key paths of the experiment, each with a list of values, or with values by label.
        seeds: how many, counted from 0, or which; the base's by default.
        include: partial matches, ``{axis: label}``; where there are any, cells that match none are left out.
        exclude: partial matches; cells that match one are left out.
        budgets: changes of every cell's experiment, by name.
        launcher: where the cells run.
    """

    name: str = option(pattern=(FOLDER_NAME, "a folder name of letters, digits, '-', '_' and '.'"))
    statement: str = option("")
    base: Mapping[str, Any] = option()
    sweep: Mapping[str, Any] = option(factory=dict)
    seeds: int | tuple[int, ...] | None = option(None, ge=0)
    include: tuple[Mapping[str, Any], ...] = option(())
    exclude: tuple[Mapping[str, Any], ...] = option(())
    budgets: Mapping[str, Mapping[str, Any]] = option(factory=dict)
    launcher: Annotated[Component, Kind("launcher")] = option(factory=lambda: component("launcher", "local"))


@frozen
class Cell:
    """One run of a suite.

    Args:
        labels: its value of each axis.
        experiment: resolved, under the name of the suite.
        seed: of the run.
    """

    labels: Mapping[str, str]
    experiment: Experiment
    seed: int

    @property
    def learner(self) -> str:
        """What it shares with the cells of its other seeds."""
        return ", ".join(self.labels.values()) or self.experiment.name

    @property
    def name(self) -> str:
        """For people, and what ``--only`` matches: ``ewc, permuted/seed3``."""
        return f"{self.learner}/seed{self.seed}"

    @property
    def run(self) -> str:
        """Its folder within the suite's."""
        return f"{self.experiment.hash}/seed{self.seed}"


@frozen
class Suite:
    """A suite as it is run.

    Args:
        name: of its folder: the file's, and the budget's where there are any.
        statement: what it is for.
        file: that it was read from.
        budget: that was chosen; empty where the file has none.
        definition: the file's content, with what ``base`` extends written out.
        axes: the labels of each axis.
        cells: all of them, at least one; seeds of one config stand together.
        launcher: where they are to run.
    """

    name: str
    statement: str
    file: str
    budget: str
    definition: Mapping[str, Any]
    axes: Mapping[str, tuple[str, ...]]
    cells: tuple[Cell, ...]
    launcher: Component


def suites_folder() -> Path:
    """The folder of the suites that come with rlcl."""
    return shipped_in("suites", "benchmarks/suites")


def load_suite(name: str | Path, overrides: Sequence[str] = (), budget: str | None = None) -> Suite:
    """Reads a suite file and resolves every cell.

    Args:
        name: a YAML file, or the bare name of a shipped suite.
        overrides: ``key.path=value`` of the suite file, for example ``seeds=3`` or ``base.budget.epochs=2``.
        budget: one of the file's; ``full`` by default.

    Raises:
        ConfigError: everything that is wrong with the suite and with all of its cells.
    """
    document = read_document(name, overrides, suites_folder())
    try:
        definition: Definition = read(document.data, Definition)
        base = extended(document.part(("base",)))
        patch, budget = _patch(document, definition, budget)
        axes = read_axes(document)
        combinations = _combinations(document, axes)
        seeds = _seeds(patch.data.get("seeds", definition.seeds), base)
    except Faults as found:
        raise ConfigError(document.messages(found.faults)) from None
    full_name = "-".join(filter(None, (definition.name, budget)))
    named = {"name": full_name, "seeds": list(seeds)}
    resolved = _resolved(base, axes, combinations, patch, named)
    return Suite(
        full_name,
        definition.statement,
        str(name),
        budget,
        {**document.data, "base": base.data},
        {axis.name: tuple(choice.label for choice in axis.choices) for axis in axes},
        tuple(Cell(labels, experiment, seed) for labels, experiment in resolved for seed in seeds),
        definition.launcher,
    )


def _patch(document: Document, definition: Definition, budget: str | None) -> tuple[Document, str]:
    """What the budget changes, and its name.

    Raises:
        Faults: there is no such budget.
    """
    known = definition.budgets
    if budget is None and not known:
        return Document(document.name, {}), ""
    chosen = DEFAULT_BUDGET if budget is None else budget
    if chosen not in known:
        asked = "none is called full, so name one with --budget" if budget is None else f"no budget {budget!r}"
        near = did_you_mean(chosen, known) if known else "; this suite has none"
        raise Faults.one(f"{asked}{near}", "budgets")
    return document.part(("budgets", chosen)), chosen


def _seeds(given: Any, base: Document) -> tuple[int, ...]:
    """The seeds of every cell.

    Raises:
        Faults: there are none.
    """
    asked = base.data.get("seeds", 1) if given is None else given
    found = read(asked, int | tuple[int, ...]) if isinstance(asked, list | int) else asked
    seeds = tuple(range(found)) if isinstance(found, int) else tuple(found)
    if not seeds:
        raise Faults.one("expected at least one, got none: the grid is empty", "seeds")
    return seeds


def _combinations(document: Document, axes: Sequence[Axis]) -> list[tuple[Choice, ...]]:
    """The combinations of values that ``include`` and ``exclude`` leave.

    Raises:
        Faults: they leave none, or name what is not there.
    """
    included, excluded = (read_matches(document, key, axes) for key in ("include", "exclude"))

    def matches(combination: tuple[Choice, ...], match: Mapping[str, frozenset[str]]) -> bool:
        labels = {axis.name: choice.label for axis, choice in zip(axes, combination, strict=True)}
        return all(labels[name] in wanted for name, wanted in match.items())

    left = [
        combination
        for combination in product(*(axis.choices for axis in axes))
        if (not included or any(matches(combination, match) for match in included))
        and not any(matches(combination, match) for match in excluded)
    ]
    if not left:
        raise Faults.one("include and exclude leave no cell: the grid is empty", "exclude" if excluded else "include")
    return left


def _resolved(
    base: Document,
    axes: Sequence[Axis],
    combinations: Sequence[tuple[Choice, ...]],
    patch: Document,
    named: Mapping[str, Any],
) -> list[tuple[Mapping[str, str], Experiment]]:
    """The labels and the experiment of each combination.

    Raises:
        ConfigError: what is wrong with any of them; or two of them are the same.
    """
    found: list[tuple[Mapping[str, str], Experiment]] = []
    problems: dict[str, list[str]] = {}
    known: dict[str, str] = {}
    for combination in combinations:
        labels = {axis.name: choice.label for axis, choice in zip(axes, combination, strict=True)}
        told = ", ".join(labels.values()) or named["name"]
        try:
            experiment = structured(_applied(base, axes, combination, patch, named))
        except ConfigError as error:
            for problem in error.problems:
                problems.setdefault(problem, []).append(told)
            continue
        if experiment.hash in known:
            same = f"{base.name}: sweep: {told} is the same run as {known[experiment.hash]}; exclude one of them"
            problems.setdefault(same, []).append(told)
        known.setdefault(experiment.hash, told)
        found.append((labels, experiment))
    if problems:
        raise ConfigError([_of_cells(problem, cells, len(combinations)) for problem, cells in problems.items()])
    return found


def _applied(
    base: Document, axes: Sequence[Axis], combination: Sequence[Choice], patch: Document, named: Mapping[str, Any]
) -> Document:
    document = base
    for axis, choice in zip(axes, combination, strict=True):
        try:
            document = axis.apply(document, choice)
        except Faults as found:
            raise ConfigError(choice.change.messages(found.faults)) from None
    return merge(merge(document, patch), Document(base.name, dict(named)))


def _of_cells(problem: str, cells: Sequence[str], all_cells: int) -> str:
    """The problem, and whose it is unless it is everyone's."""
    if len(cells) == all_cells or ": sweep: " in problem:
        return problem
    more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
    return f"{problem} (cell {cells[0]}{more})"
