"""What a config decides: its settings without those that have their default, for hashes that outlive new settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import NOTHING

from rlcl.config.components import Component, arguments_of, as_config, is_record, settings, unstructure

__all__ = ["CHANGED_DEFAULTS", "decisive"]

# First defaults, as plain data, of the settings whose default is another by now: "learner/dqn/tau": 1.0, or
# "Plan/every": "experience" of a group. Hashes stay relative to the first default, so that an experiment that is
# written with a value keeps its hash, and one that leaves the setting to the new default gets the hash of that value.
CHANGED_DEFAULTS: Mapping[str, Any] = {}


def decisive(value: Any) -> Any:
    """A config as plain data, without the settings that equal their default; types stay.

    Args:
        value: a component, a group of settings, or anything with them in it.
    """
    if isinstance(value, Component):
        said = arguments_of(value.options)
        return {"type": value.type, **_said(type(value.options).target, said, f"{value.kind}/{value.type}")}
    if isinstance(value, Mapping):
        return {key: decisive(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [decisive(item) for item in value]
    cls: Any = type(value)
    if is_record(cls):
        said = {s.name: as_config(getattr(value, s.attribute), s.hint) for s in settings(cls)}
        return _said(cls, said, cls.__name__)
    return unstructure(value)


def _said(cls: Any, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The settings of a class that do not have their default."""
    plain = {key: decisive(item) for key, item in values.items() if item is not NOTHING}
    defaults = {s.name: s.default() for s in settings(cls) if s.default is not None and not s.extra}
    known = {key: decisive(default) for key, default in defaults.items() if default is not NOTHING}
    known |= {key: CHANGED_DEFAULTS[f"{name}/{key}"] for key in plain if f"{name}/{key}" in CHANGED_DEFAULTS}
    return {key: item for key, item in plain.items() if key not in known or known[key] != item}
