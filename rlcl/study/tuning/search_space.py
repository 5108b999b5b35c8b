"""Search space of a tuning file: key paths of an experiment, each with a list of choices or a range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from rlcl.config import Document, Fault, Faults, parse_key_path, put
from rlcl.config.faults import Key
from rlcl.config.files import SourceLocation
from rlcl.errors import Problem
from rlcl.study.axes import choices_of

__all__ = ["Choices", "Parameter", "Range", "read_search_space", "with_values"]

GOLDEN = 0.381966  # place of a value in a range that is no whole number, even if the bounds are
RANGES = ("uniform", "log", "integer", "log_integer")  # keys of a range, each with [low, high]


@frozen
class Choices:
    """A parameter with a list of values.

    Args:
        labels: display names, in the order of the file.
        changes: the value of each label, with its location in the file.
    """

    labels: tuple[str, ...]
    changes: tuple[Document, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the choices for ``tuning.json``."""
        return {"labels": list(self.labels)}

    @property
    def extremes(self) -> Sequence[Any]:
        """Values of a trial that are checked before the search: all."""
        return self.labels

    def document(self, value: Any) -> Document:
        """Return the value of a label."""
        return self.changes[self.labels.index(value)]


@frozen
class Range:
    """A parameter with a range of numbers.

    Args:
        low, high: bounds, both included.
        log: whether values are drawn on a logarithmic scale.
        integer: whether values are whole numbers.
        step: distance between values; None for any value, or 1 for whole numbers.
        change: the range in the file, for its location.
    """

    low: float
    high: float
    log: bool
    integer: bool
    step: float | None
    change: Document

    def to_json(self) -> dict[str, Any]:
        """Return the range for ``tuning.json``."""
        return {"low": self.low, "high": self.high, "log": self.log, "integer": self.integer}

    @property
    def extremes(self) -> Sequence[Any]:
        """Values of a trial that are checked before the search: both bounds, and a value between them."""
        return (self.low, self.high, *(() if self.integer else (self.low + GOLDEN * (self.high - self.low),)))

    def document(self, value: Any) -> Document:
        """Return a value of the range."""
        return attrs.evolve(self.change, data=value)


@frozen
class Parameter:
    """One dimension of a search space.

    Args:
        name: key path of the experiment.
        path: the parsed key path.
        domain: its values.
    """

    name: str
    path: tuple[Key, ...]
    domain: Choices | Range


def read_search_space(file: Document) -> tuple[Parameter, ...]:
    """Read ``search`` of a tuning file.

    Raises:
        Faults: a key path, a list or a range is invalid, or there is no parameter.
    """
    search, faults, parameters = file.data.get("search", {}), list[Fault](), list[Parameter]()
    if not search:
        raise Faults.one("expected at least one parameter, such as learner.optimizer.lr: {log: [1e-4, 1e-1]}", "search")
    for name, values in search.items():
        try:
            path = parse_key_path(name)
            domain = _range(file, name, values) if _is_range(values) else Choices(*choices_of(file, ("search", name)))
            parameters.append(Parameter(name, path, domain))
        except Problem as problem:
            faults.append(Fault(("search", name), str(problem)))
    if faults:
        raise Faults(faults)
    return tuple(parameters)


def with_values(base: Document, parameters: Sequence[Parameter], values: Mapping[str, Any]) -> Document:
    """Return an experiment with a value of each parameter: a label of its choices, or a number in its range.

    Raises:
        Faults: a key path refers to an item that a list does not have.
    """
    document = base
    for parameter in parameters:
        try:
            document = put(document, parameter.path, parameter.domain.document(values[parameter.name]))
        except Problem as problem:
            raise Faults.one(problem.message, *parse_key_path(problem.where)) from None
    return document


def _is_range(values: Any) -> bool:
    return isinstance(values, Mapping) and any(kind in values for kind in RANGES)


def _range(file: Document, name: str, values: Mapping[str, Any]) -> Range:
    """Read a range.

    Raises:
        Problem: it is empty, not positive on a logarithmic scale, or contains other keys.
    """
    kinds = [kind for kind in RANGES if kind in values]
    unknown = sorted(map(str, set(values) - {*RANGES, "step"}))
    if len(kinds) > 1 or unknown:
        raise Problem(f"expected one of {', '.join(RANGES)} and optionally step, got {', '.join(map(str, values))}")
    kind, bounds, step = kinds[0], values[kinds[0]], values.get("step")
    integer, log = kind.endswith("integer"), kind.startswith("log")
    numbers = "whole numbers" if integer else "numbers"
    types = (int,) if integer else (int, float)
    if not (isinstance(bounds, list) and len(bounds) == 2 and all(type(bound) in types for bound in bounds)):
        raise Problem(f"{kind}: expected [lowest, highest], two {numbers}, got {bounds!r}")
    low, high = bounds
    if not low < high or not all(abs(bound) < float("inf") for bound in bounds):
        raise Problem(f"{kind}: expected a lower bound below the upper one, got {bounds!r}")
    if log and low <= 0:
        raise Problem(f"{kind}: expected bounds above 0 on a logarithmic scale, got {bounds!r}")
    if step is not None and (log or type(step) not in types or not 0 < step <= high - low):
        reason = "no step on a logarithmic scale" if log else f"a step above 0 of at most {high - low}"
        raise Problem(f"step: expected {reason}, got {step!r}")
    change = file.part(("search", name))
    location: dict[tuple[Key, ...], SourceLocation] = {(): file.location(("search", name))}
    if not integer:
        low, high = float(low), float(high)
    return Range(low, high, log, integer, step, attrs.evolve(change, locations=location))
