"""Removal of defaults from a config, so that adding a setting does not change existing hashes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from attrs import NOTHING

from rlcl.config.components import Component, arguments_of, as_config, is_settings_group, settings, unstructure
from rlcl.config.shared_parts import reused

__all__ = ["CHANGED_DEFAULTS", "without_defaults"]

# The original defaults, as plain data, of settings whose default has changed: "learner/dqn/tau": 1.0, or
# "Plan/every": "experience" for a group of settings. Hashes omit the original default: an experiment that sets a
# value keeps its hash, and one that uses the new default has the hash of an experiment that sets this value.
CHANGED_DEFAULTS: Mapping[str, Any] = {}


def without_defaults(value: Any) -> Any:
    """Return a config as plain data without the settings that equal their default; types are kept.

    Args:
        value: a component, a group of settings, or a container of them.
    """
    if isinstance(value, Component) or is_settings_group(type(value)):
        return reused(lambda: id(value), lambda: _settings_without_defaults(value), value)
    if isinstance(value, Mapping):
        return {key: without_defaults(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_defaults(item) for item in value]
    return unstructure(value)


def _settings_without_defaults(value: Any) -> dict[str, Any]:
    if isinstance(value, Component):
        arguments, name = arguments_of(value.options), f"{value.kind}/{value.type}"
        return {"type": value.type, **_non_defaults(type(value.options).target, arguments, name)}
    cls: Any = type(value)
    values = {s.name: as_config(getattr(value, s.attribute), s.hint) for s in settings(cls)}
    return _non_defaults(cls, values, cls.__name__)


def _non_defaults(cls: Any, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the settings of a class that differ from their default."""
    plain = {key: without_defaults(item) for key, item in values.items() if item is not NOTHING}
    known = dict(_defaults(cls))
    known |= {key: CHANGED_DEFAULTS[f"{name}/{key}"] for key in plain if f"{name}/{key}" in CHANGED_DEFAULTS}
    return {key: item for key, item in plain.items() if key not in known or known[key] != item}


@cache
def _defaults(cls: Any) -> Mapping[str, Any]:
    """Return the defaults of a class as plain data."""
    defaults = {s.name: s.default() for s in settings(cls) if s.default is not None and not s.extra}
    return {key: without_defaults(default) for key, default in defaults.items() if default is not NOTHING}
