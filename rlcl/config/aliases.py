"""Aliases: names of settings that users know from other libraries."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from attrs import frozen

from rlcl.config.components import settings, unstructure
from rlcl.config.faults import Fault, Faults, Key, key_path
from rlcl.config.files import Document
from rlcl.errors import Problem

__all__ = ["Alias", "aliases_of", "resolve_aliases"]

_logger = logging.getLogger(__name__)


@frozen
class Alias:
    """Another name of a setting.

    Args:
        setting: key path of the setting within the component, for example ``optimizer.lr``.
        convert: function from the alias's value and the config of the experiment to the setting's value; None if both
            have the same meaning. It raises Problem for values that have no equivalent.
    """

    setting: str
    convert: Callable[[Any, Mapping[str, Any]], Any] | None = None


def aliases_of(cls: Any) -> Mapping[str, Alias]:
    """Return the aliases of a component's settings, which its class attribute ``aliases`` contains."""
    aliases = getattr(cls, "aliases", {})  # a class of a user's own may have another attribute of this name
    return aliases if isinstance(aliases, Mapping) and all(isinstance(a, Alias) for a in aliases.values()) else {}


def resolve_aliases(document: Document, key: str, cls: Any) -> Document:
    """Replace the aliases of one component's settings, and log each replacement.

    Args:
        document: the experiment.
        key: key of the component, whose value is a mapping.
        cls: class of the component.

    Raises:
        Faults: a setting is given by both names, or a value has no equivalent.
    """
    aliases = aliases_of(cls)
    options, locations, faults = dict(document.data[key]), dict(document.locations), list[Fault]()
    for name in [name for name in options if name in aliases]:
        alias, path = aliases[name], tuple(aliases[name].setting.split("."))
        if _contains(document.data[key], path):
            faults.append(Fault((key, name), f"is another name of {alias.setting}, which is set too; remove one"))
            continue
        value = options.pop(name)
        try:
            converted = value if alias.convert is None else alias.convert(value, document.data)
        except Problem as problem:
            faults.append(Fault((key, name), problem.message))
            continue
        _put(options, path, converted, cls)
        if (key, name) in locations:
            locations[key, *path] = locations[key, name]
        _logger.warning("%s: %s is read as %s: %s", key_path((key, name)), value, key_path((key, *path)), converted)
    if faults:
        raise Faults(faults)
    return attrs.evolve(document, data={**document.data, key: options}, locations=locations)


def _contains(options: Any, path: tuple[Key, ...]) -> bool:
    for step in path:
        if not isinstance(options, Mapping) or step not in options:
            return False
        options = options[step]
    return True


def _put(options: dict[str, Any], path: tuple[str, ...], value: Any, cls: Any) -> None:
    """Set a value at a key path; a part of a default changes only that part."""
    name, *rest = path
    if not rest:
        options[name] = value
        return
    part = options[name] if name in options else _default(cls, name)
    part = {"type": part} if isinstance(part, str) else part
    if isinstance(part, Mapping):  # anything else is reported when the document is read
        options[name] = {**part, rest[0]: value}


def _default(cls: Any, name: str) -> Any:
    (default,) = (setting.default for setting in settings(cls) if setting.name == name)
    assert default is not None
    return unstructure(default())
