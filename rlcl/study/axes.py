"""Axes of a suite, their labelled values, and conditions on their combinations."""

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

__all__ = ["Axis", "AxisValue", "choices_of", "read_axes", "read_matches"]

FIELDS = tuple(attrs.fields_dict(Experiment))


@frozen
class AxisValue:
    """One value of an axis.

    Args:
        label: display name, which ``include`` and ``exclude`` refer to.
        change: the settings of an experiment, with their locations in the file.
    """

    label: str
    change: Document


@frozen
class Axis:
    """One axis of a suite.

    Args:
        name: name in the file: a key path, or any other name if each value changes several keys.
        path: the key path; empty if each value changes several keys.
        values: values of the axis, at least one.
    """

    name: str
    path: tuple[Key, ...]
    values: tuple[AxisValue, ...]

    def apply(self, experiment: Document, value: AxisValue) -> Document:
        """Return an experiment with a value of this axis.

        Raises:
            Faults: the key path refers to an item that a list does not have.
        """
        if not self.path:
            return merged(experiment, value.change)
        try:
            return put(experiment, self.path, value.change)
        except Problem as problem:
            raise Faults.one(problem.message, *parse_key_path(problem.where)) from None


def read_axes(suite: Document) -> list[Axis]:
    """Read the axes from a suite's ``sweep``.

    Raises:
        Faults: an axis has no values, two values have the same label, or a key path is invalid.
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
    labels, changes = choices_of(suite, ("sweep", name))
    path = () if _changes_several_keys(name, values) else parse_key_path(name)
    return Axis(name, path, tuple(map(AxisValue, labels, changes)))


def choices_of(file: Document, path: tuple[Key, ...]) -> tuple[tuple[str, ...], tuple[Document, ...]]:
    """Return the labels and values of a list of values, or of values by label.

    Args:
        file: the file.
        path: location of the values in the file.

    Raises:
        Problem: there are none, or two of them are equal.
    """
    values = file.part(path).data
    if not isinstance(values, list | Mapping):
        raise Problem(f"expected a list of values, or values by label, got {values!r}")
    if not values:
        raise Problem("expected at least one value, got none; add one, or remove the key")
    keys = list(values) if isinstance(values, Mapping) else range(len(values))
    labels = [_label(key) for key in keys] if isinstance(values, Mapping) else _labels(values)
    return tuple(labels), tuple(_change(file, (*path, key)) for key in keys)


def _changes_several_keys(name: str, values: Any) -> bool:
    """Return whether the values of an axis change several keys of an experiment, so its name is not a key path.

    Raises:
        Problem: the name is not a key path, and the values are not changes of an experiment.
    """
    if name in FIELDS or not name.isidentifier():
        return False
    if not isinstance(values, Mapping) or not all(isinstance(value, Mapping) for value in values.values()):
        raise Problem(f"no key of an experiment{did_you_mean(name, FIELDS)}")
    for label, value in values.items():
        if unknown := [key for key in value if key not in FIELDS]:
            near = did_you_mean(str(unknown[0]), FIELDS)
            raise Problem(
                f"not a key of an experiment, and its values contain other keys: {label} has {unknown[0]}{near}"
            )
    return True


def _change(suite: Document, path: tuple[Key, ...]) -> Document:
    part = suite.part(path)
    return attrs.evolve(part, locations={(): suite.location(path), **part.locations})


def _labels(values: Sequence[Any]) -> list[str]:
    """Return a label for each value: short if it is unique, else with all settings."""
    short = [_label(value) for value in values]
    labels = [
        label if short.count(label) == 1 else _full_label(value) for label, value in zip(short, values, strict=True)
    ]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise Problem(f"the value {repeated[0]} is listed more than once; remove one")
    return labels


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


def read_matches(
    conditions: Sequence[Mapping[Any, Any]], path: tuple[Key, ...], axes: Sequence[Axis]
) -> list[Mapping[str, frozenset[str]]]:
    """Read the conditions of ``include`` or ``exclude``: the accepted labels of some of the axes.

    Args:
        conditions: the conditions as in the file.
        path: their location in the suite file, for faults.
        axes: the axes of the suite.

    Raises:
        Faults: a condition names an unknown axis or label.
    """
    matches, faults = list[Mapping[str, frozenset[str]]](), list[Fault]()
    labels = {axis.name: [value.label for value in axis.values] for axis in axes}
    for index, entry in enumerate(conditions):
        match: dict[str, frozenset[str]] = {}
        for name, value in entry.items():
            key = (*path, index, name)
            if name not in labels:
                faults.append(Fault(key, f"no axis of the sweep{did_you_mean(str(name), labels)}"))
                continue
            match[name] = frozenset(map(_label, value if isinstance(value, list) else [value]))
            faults += [
                Fault(key, f"no value {label!r} of that axis{did_you_mean(label, labels[name])}")
                for label in sorted(match[name] - set(labels[name]))
            ]
        matches.append(match)
    if faults:
        raise Faults(faults)
    return matches
