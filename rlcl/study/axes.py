"""What a suite varies: axes, their values by label, and which of their combinations count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from rlcl.config import Document, Fault, Faults, parse_key_path, put
from rlcl.config import merge as merged
from rlcl.config.faults import Key
from rlcl.errors import Problem, did_you_mean
from rlcl.experiment import Experiment

__all__ = ["Axis", "Choice", "read_axes", "read_matches"]

FIELDS = tuple(attrs.fields_dict(Experiment))


@frozen
class Choice:
    """One value of an axis.

    Args:
        label: for people, and what a match names.
        change: what it puts into an experiment, with where that was written.
    """

    label: str
    change: Document


@frozen
class Axis:
    """One thing that a suite varies.

    Args:
        name: as the file has it, a key path; or any other name where each value changes several keys.
        path: the key path; empty where the values are changes of the whole experiment.
        choices: at least one.
    """

    name: str
    path: tuple[Key, ...]
    choices: tuple[Choice, ...]

    def apply(self, experiment: Document, choice: Choice) -> Document:
        """An experiment with one value of this axis in it.

        Raises:
            Faults: the key path asks for an item of a list that is not there.
        """
        if not self.path:
            return merged(experiment, choice.change)
        try:
            return put(experiment, self.path, choice.change)
        except Problem as problem:
            raise Faults.one(problem.message, *parse_key_path(problem.where)) from None


def read_axes(suite: Document) -> list[Axis]:
    """The axes of a suite's ``sweep``.

    Raises:
        Faults: an axis without values, two values with one label, or a key path that is none.
    """
    axes, faults = list[Axis](), list[Fault]()
    for name, values in suite.data.get("sweep", {}).items():
        try:
            axes.append(_axis(suite, name, values))
        except Problem as problem:
            faults.append(Fault(("sweep", name), str(problem)))
    if faults:
        raise Faults(faults)
    return axes


def _axis(suite: Document, name: str, values: Any) -> Axis:
    if not isinstance(values, list | Mapping):
        raise Problem(f"expected a list of values, or values by label, got {values!r}")
    if not values:
        raise Problem("an axis needs at least one value, else the grid is empty; add one, or remove the axis")
    path = () if _changes_several(name, values) else parse_key_path(name)
    keys = list(values) if isinstance(values, Mapping) else range(len(values))
    labels = [_label(key) for key in keys] if isinstance(values, Mapping) else _labels(values)
    changes = [_change(suite, ("sweep", name, key)) for key in keys]
    return Axis(name, path, tuple(map(Choice, labels, changes)))


def _changes_several(name: str, values: Any) -> bool:
    """Whether an axis is no key path but a name, each of whose values changes several keys of an experiment.

    Raises:
        Problem: it is neither.
    """
    if name in FIELDS or not name.isidentifier():
        return False
    if not isinstance(values, Mapping) or not all(isinstance(value, Mapping) for value in values.values()):
        raise Problem(f"no key of an experiment{did_you_mean(name, FIELDS)}")
    for label, value in values.items():
        if unknown := [key for key in value if key not in FIELDS]:
            near = did_you_mean(str(unknown[0]), FIELDS)
            raise Problem(
                f"neither a key of an experiment, nor are its values such keys: {label} has {unknown[0]}{near}"
            )
    return True


def _change(suite: Document, path: tuple[Key, ...]) -> Document:
    part = suite.part(path)
    return attrs.evolve(part, places={(): suite.place(path), **part.places})


def _labels(values: Sequence[Any]) -> list[str]:
    """A name for each value: the shortest that tells them apart."""
    short = [_label(value) for value in values]
    full = [
        label if short.count(label) == 1 else _full_label(value) for label, value in zip(short, values, strict=True)
    ]
    twice = sorted({label for label in full if full.count(label) > 1})
    if twice:
        raise Problem(f"the value {twice[0]} stands there more than once, which would repeat its cells; leave one out")
    return full


def _label(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value["type"]) if "type" in value else _full_label(value)
    if isinstance(value, list):
        return "+".join(map(_label, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _full_label(value: Any) -> str:
    if isinstance(value, Mapping):
        settings = ", ".join(f"{key}={_full_label(item)}" for key, item in value.items() if key != "type")
        return f"{value['type']}({settings})" if "type" in value else settings
    if isinstance(value, list):
        return "+".join(map(_full_label, value)) or "none"
    return _label(value)


def read_matches(suite: Document, key: str, axes: Sequence[Axis]) -> list[Mapping[str, frozenset[str]]]:
    """The partial matches of ``include`` or ``exclude``: for some axes, the labels that match.

    Args:
        suite: the file.
        key: ``include`` or ``exclude``.
        axes: that matches may name.

    Raises:
        Faults: an axis or a label that is not there.
    """
    matches, faults = list[Mapping[str, frozenset[str]]](), list[Fault]()
    labels = {axis.name: [choice.label for choice in axis.choices] for axis in axes}
    for index, entry in enumerate(suite.data.get(key, ())):
        match: dict[str, frozenset[str]] = {}
        for name, wanted in entry.items():
            path = (key, index, name)
            if name not in labels:
                faults.append(Fault(path, f"no axis of the sweep{did_you_mean(str(name), labels)}"))
                continue
            match[name] = frozenset(map(_label, wanted if isinstance(wanted, list) else [wanted]))
            faults += [
                Fault(path, f"no value {label!r} of that axis{did_you_mean(label, labels[name])}")
                for label in sorted(match[name] - set(labels[name]))
            ]
        matches.append(match)
    if faults:
        raise Faults(faults)
    return matches
