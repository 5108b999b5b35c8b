"""Components: classes whose constructor parameters are their settings."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_origin

import attrs
from attrs import NOTHING, frozen

from rlcl.config.faults import Fault, Faults, Key, fault_of
from rlcl.config.protocols import Unbuilt, lacks, missing_members, undefined_members
from rlcl.config.rules import (
    NO_RULE,
    Rule,
    arms,
    hints_of,
    is_mapping,
    is_sequence,
    item_hint,
    kind_of,
    value_hint,
)
from rlcl.errors import ConfigError, Problem
from rlcl.registry import find, name_of

__all__ = ["Component", "Setting", "build", "describe", "is_record", "options_class", "settings", "unstructure"]


@frozen
class Setting:
    """One constructor parameter.

    Args:
        name: as a config and the constructor name it.
        attribute: where an instance keeps it.
        hint: its annotation, Any where there is none.
        default: makes the default; None where it is required. It gives NOTHING where the default
            cannot be written down in a config, and the class's own is used.
        rule: what its values must be.
        extra: whether it stands for any further settings (``**kwargs``).
    """

    name: str
    attribute: str
    hint: Any
    default: Callable[[], Any] | None
    rule: Rule = NO_RULE
    extra: bool = False


@cache
def settings(cls: Any) -> tuple[Setting, ...]:
    """The settings of a class (or function), in the order of its constructor."""
    if attrs.has(cls) and _constructor_is_attrs(cls):
        return _of_attrs(cls)
    if dataclasses.is_dataclass(cls) and "__init__" in vars(cls):
        return _of_dataclass(cls)
    return _of_signature(cls)


def _constructor_is_attrs(cls: type) -> bool:
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    return "__attrs_attrs__" in vars(owner) and "__attrs_init__" not in vars(owner)


def _of_attrs(cls: type[attrs.AttrsInstance]) -> tuple[Setting, ...]:
    hints = hints_of(cls)
    found = []
    for field in attrs.fields(cls):
        if not field.init:
            continue
        hint, default = hints.get(field.name, Any), field.default
        made: Callable[[], Any] | None = _default(default, hint)
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            made = _unsaid if default.takes_self else _made(default.factory, hint)
        rule = field.metadata.get("rule", NO_RULE)
        found.append(Setting(field.alias or field.name, field.name, hint, made, rule))
    return tuple(found)


def _of_dataclass(cls: Any) -> tuple[Setting, ...]:
    hints = hints_of(cls)
    found = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        hint = hints.get(field.name, Any)
        if field.default_factory is not dataclasses.MISSING:
            default: Callable[[], Any] | None = _made(field.default_factory, hint)
        else:
            default = _default(NOTHING if field.default is dataclasses.MISSING else field.default, hint)
        found.append(Setting(field.name, field.name, hint, default))
    return tuple(found)


def _of_signature(cls: Any) -> tuple[Setting, ...]:
    if inspect.isclass(cls) and _is_protocol(next(base for base in cls.__mro__ if "__init__" in vars(base))):
        return ()  # it has no constructor of its own: what it inherits takes anything, and does nothing
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):  # written in C: nothing is known, so anything goes
        return (Setting("settings", "settings", dict[str, Any], dict, extra=True),)
    hints = hints_of(cls.__init__ if inspect.isclass(cls) else cls)
    found = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            found.append(Setting(parameter.name, parameter.name, dict[str, Any], dict, extra=True))
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            hint, default = hints.get(parameter.name, Any), parameter.default
            default = _default(NOTHING if default is parameter.empty else default, hint)
            found.append(Setting(parameter.name, parameter.name, hint, default))
    return tuple(found)


def _default(default: Any, hint: Any) -> Callable[[], Any] | None:
    return None if default is NOTHING else _made(lambda: default, hint)


def _made(factory: Callable[[], Any], hint: Any) -> Callable[[], Any]:
    return lambda: as_config(factory(), hint)


def _unsaid() -> Any:
    return NOTHING


@cache
def options_class(cls: Any) -> Any:
    """A frozen attrs class with a component's settings as its fields."""
    fields = {}
    for setting in settings(cls):
        fields[setting.name] = attrs.field(
            default=NOTHING if setting.default is None else attrs.Factory(setting.default),
            type=setting.hint,
            alias=setting.name,
            metadata={"rule": setting.rule, "extra": setting.extra},
        )
    made = attrs.make_class(f"{cls.__name__}Options", fields, frozen=True, kw_only=True, slots=False)
    made.target = cls  # type: ignore[attr-defined]
    return made


@frozen
class Component(Unbuilt):
    """A class by name with its settings, not yet built.

    Args:
        kind: a key of ``rlcl.registry.KINDS``.
        type: its name there, ``package.module:Class`` or ``path/to/file.py:Class``.
        options: an instance of its :func:`options_class`.
    """

    kind: str
    type: str
    options: Any

    def __reduce__(self) -> tuple[Any, ...]:
        # The options' class is made at run time, so that pickle (spawned processes) cannot find it.
        return _restored, (self.kind, unstructure(self))


def _restored(kind: str, data: Any) -> Component:
    from rlcl.config.structuring import component

    return component(kind, data)


def is_record(hint: Any) -> bool:
    """Whether an annotation is a plain attrs class or dataclass: a group of settings."""
    return inspect.isclass(hint) and kind_of(hint) is None and (attrs.has(hint) or dataclasses.is_dataclass(hint))


def describe(instance: object, kind: str) -> Component | None:
    """The component that builds an equal instance, read from its fields.

    Returns:
        None where that is impossible: not an attrs class or dataclass, one that no name leads to, or
        a setting that a config cannot express.
    """
    cls: Any = type(instance)
    if not (attrs.has(cls) or dataclasses.is_dataclass(cls)):
        return None
    try:
        name = name_of(kind, instance)
        if find(kind, name) is not cls:
            return None
    except Problem:  # defined in a function or in __main__
        return None
    options = _options_of(instance)
    return None if options is None else Component(kind, name, options)


def _options_of(instance: object) -> Any:
    cls: Any = type(instance)
    values = {s.name: as_config(getattr(instance, s.attribute), s.hint) for s in settings(cls)}
    return None if any(value is NOTHING for value in values.values()) else options_class(cls)(**values)


def as_config(value: Any, hint: Any) -> Any:
    """A default as a config would give it: instances as components. NOTHING where it cannot."""
    allowed = arms(hint)
    if value is None or isinstance(value, str | bool | Path | enum.Enum | Component):
        return value
    if isinstance(value, int | float):
        return float(value) if float in allowed and int not in allowed else value
    if isinstance(value, list | tuple | set | frozenset):
        items = [as_config(item, item_hint(hint, i)) for i, item in enumerate(value)]
        as_list = isinstance(value, list) and not any(
            is_sequence(a) and (get_origin(a) or a) is not list for a in allowed
        )
        return NOTHING if any(item is NOTHING for item in items) else items if as_list else tuple(items)
    if isinstance(value, Mapping):
        pairs = {key: as_config(item, value_hint(hint)) for key, item in value.items()}
        return NOTHING if any(item is NOTHING for item in pairs.values()) else pairs
    if kinds := [kind for arm in allowed if (kind := kind_of(arm))]:
        return next((found for kind in kinds if (found := describe(value, kind)) is not None), NOTHING)
    if any(arm is type(value) for arm in allowed) and is_record(type(value)):
        options = _options_of(value)
        return NOTHING if options is None else type(value)(**arguments_of(options))
    return NOTHING


def arguments_of(options: Any) -> dict[str, Any]:
    """The constructor's arguments; what is unsaid is left out, and ``**kwargs`` are spread."""
    found: dict[str, Any] = {}
    for field in attrs.fields(type(options)):
        value = getattr(options, field.name)
        if field.metadata["extra"]:
            found.update(value)
        elif value is not NOTHING:
            found[field.name] = value
    return found


def unstructure(value: Any) -> Any:
    """A config as plain dictionaries, lists and scalars, with defaults written out.

    Args:
        value: a component, or an attrs class with components in its fields.
    """
    if isinstance(value, Component):
        options = {key: unstructure(item) for key, item in arguments_of(value.options).items()}
        return {"type": value.type} | options | {"type": value.type}
    if isinstance(value, Mapping):
        return {key: unstructure(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [unstructure(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(unstructure(item) for item in value)
    cls: Any = type(value)
    if is_record(cls):
        found = {s.name: as_config(getattr(value, s.attribute), s.hint) for s in settings(cls)}
        return {name: unstructure(item) for name, item in found.items() if item is not NOTHING}
    if isinstance(value, enum.Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def build(value: Any, path: tuple[Key, ...] | None = None) -> Any:
    """Makes the object that a component describes, and those within it first.

    Args:
        value: a component; or anything with components in it, for example a tuple of them.
        path: where it stands in the config, for messages; a component's kind if not given.

    Raises:
        ConfigError: constructors refuse their settings; all of them, each with its key path.
    """
    faults: list[Fault] = []
    if path is None:
        path = (value.kind,) if isinstance(value, Component) else ()
    built = _build(value, path, faults)
    if faults:
        raise ConfigError([str(fault) for fault in faults])
    return built


def _build(value: Any, path: tuple[Key, ...], faults: list[Fault]) -> Any:
    if isinstance(value, Component):
        target, before = type(value.options).target, len(faults)
        undefined = undefined_members(target, value.kind)
        if undefined:
            faults.append(Fault(path, f"{value.type} {lacks(value.kind, undefined)}"))
            return None
        arguments = {k: _build(v, (*path, k), faults) for k, v in arguments_of(value.options).items()}
        if len(faults) > before:
            return None
        try:
            made = construct(target, arguments)
        except Faults as found:
            faults += [fault.under(*path) for fault in found.faults]
            return None
        missing = missing_members(made, value.kind)
        if missing:
            faults.append(Fault(path, f"{value.type} {lacks(value.kind, missing)}"))
        return made
    if isinstance(value, list | tuple):
        items = (_build(item, (*path, index), faults) for index, item in enumerate(value))
        return type(value)(items)
    if isinstance(value, Mapping):
        return {key: _build(item, (*path, key), faults) for key, item in value.items()}
    cls: Any = type(value)
    if is_record(cls) and any(_mentions_component(s.hint) for s in settings(cls)):
        return cls(**{s.name: _build(getattr(value, s.attribute), (*path, s.name), faults) for s in settings(cls)})
    return value


def _is_protocol(cls: type) -> bool:
    return bool(vars(cls).get("_is_protocol"))


def _mentions_component(hint: Any) -> bool:
    return any(
        kind_of(arm) is not None
        or (is_sequence(arm) and _mentions_component(item_hint(arm, 0)))
        or (is_mapping(arm) and _mentions_component(value_hint(arm)))
        for arm in arms(hint)
    )


def construct(cls: Any, arguments: Mapping[str, Any]) -> Any:
    """Calls a constructor; what it complains about becomes a fault.

    Raises:
        Faults: it raised a ValueError or a TypeError.
    """
    try:
        return cls(**arguments)
    except (ValueError, TypeError) as error:
        raise Faults([fault_of(error, arguments)]) from error
