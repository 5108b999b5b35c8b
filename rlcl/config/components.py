"""Components: classes whose constructor parameters are settings of a config."""

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
from rlcl.config.protocols import (
    UnbuiltComponent,
    missing_members,
    missing_members_message,
    signature_mismatch,
    undefined_members,
)
from rlcl.config.rules import (
    NO_RULE,
    Rule,
    hints_of,
    is_mapping,
    is_sequence,
    item_hint,
    kind_of,
    union_members,
    value_hint,
)
from rlcl.config.shared_parts import reused
from rlcl.errors import ConfigError, Problem
from rlcl.registry import find, name_of

__all__ = ["Component", "Setting", "build", "describe", "is_settings_group", "options_class", "settings", "unstructure"]


@frozen
class Setting:
    """One constructor parameter of a component.

    Args:
        name: its name in the config and in the constructor.
        attribute: name of the attribute of an instance that holds the value.
        hint: its annotation; Any if it has none.
        default: function that returns the default; None if the setting is required. It returns NOTHING if a config
            cannot express the default; the constructor then uses its own default.
        rule: the allowed values.
        extra: True if it collects all other settings (``**kwargs``).
    """

    name: str
    attribute: str
    hint: Any
    default: Callable[[], Any] | None
    rule: Rule = NO_RULE
    extra: bool = False


@cache
def settings(cls: Any) -> tuple[Setting, ...]:
    """Return the settings of a class (or function) in the order of its constructor."""
    if attrs.has(cls) and _has_attrs_constructor(cls):
        return _attrs_settings(cls)
    if dataclasses.is_dataclass(cls) and "__init__" in vars(cls):
        return _dataclass_settings(cls)
    return _signature_settings(cls)


def _has_attrs_constructor(cls: type) -> bool:
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    return "__attrs_attrs__" in vars(owner) and "__attrs_init__" not in vars(owner)


def _attrs_settings(cls: type[attrs.AttrsInstance]) -> tuple[Setting, ...]:
    hints = hints_of(cls)
    result = []
    for field in attrs.fields(cls):
        if not field.init:
            continue
        hint, default = hints.get(field.name, Any), field.default
        make_default: Callable[[], Any] | None = _constant(default, hint)
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            make_default = _nothing if default.takes_self else _config_factory(default.factory, hint)
        rule = field.metadata.get("rule", NO_RULE)
        result.append(Setting(field.alias or field.name, field.name, hint, make_default, rule))
    return tuple(result)


def _dataclass_settings(cls: Any) -> tuple[Setting, ...]:
    hints = hints_of(cls)
    result = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        hint = hints.get(field.name, Any)
        if field.default_factory is not dataclasses.MISSING:
            default: Callable[[], Any] | None = _config_factory(field.default_factory, hint)
        else:
            default = _constant(NOTHING if field.default is dataclasses.MISSING else field.default, hint)
        result.append(Setting(field.name, field.name, hint, default))
    return tuple(result)


def _signature_settings(cls: Any) -> tuple[Setting, ...]:
    if inspect.isclass(cls) and _is_protocol(next(base for base in cls.__mro__ if "__init__" in vars(base))):
        return ()  # the constructor that it inherits from Protocol accepts any arguments and ignores them
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):  # written in C: its parameters are unknown, so any setting is allowed
        return (Setting("settings", "settings", dict[str, Any], dict, extra=True),)
    hints = hints_of(cls.__init__ if inspect.isclass(cls) else cls)
    result = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            result.append(Setting(parameter.name, parameter.name, dict[str, Any], dict, extra=True))
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            hint, default = hints.get(parameter.name, Any), parameter.default
            default = _constant(NOTHING if default is parameter.empty else default, hint)
            result.append(Setting(parameter.name, parameter.name, hint, default))
    return tuple(result)


def _constant(default: Any, hint: Any) -> Callable[[], Any] | None:
    """Return a function that returns a default as a config; None if there is no default."""
    return None if default is NOTHING else _config_factory(lambda: default, hint)


def _config_factory(factory: Callable[[], Any], hint: Any) -> Callable[[], Any]:
    def make() -> Any:
        return as_config(factory(), hint)

    return lambda: reused(lambda: id(make), make, make)


def _nothing() -> Any:
    return NOTHING


@cache
def options_class(cls: Any) -> Any:
    """Return a frozen attrs class whose fields are a component's settings."""
    fields = {}
    for setting in settings(cls):
        fields[setting.name] = attrs.field(
            default=NOTHING if setting.default is None else attrs.Factory(setting.default),
            type=setting.hint,
            alias=setting.name,
            metadata={"rule": setting.rule, "extra": setting.extra},
        )
    options = attrs.make_class(f"{cls.__name__}Options", fields, frozen=True, kw_only=True, slots=False)
    options.target = cls  # type: ignore[attr-defined]
    return options


@frozen
class Component(UnbuiltComponent):
    """The name and settings of a component that is not built yet.

    Args:
        kind: a key of ``rlcl.registry.KINDS``.
        type: its registered name, ``package.module:Class`` or ``path/to/file.py:Class``.
        options: an instance of its :func:`options_class`.
    """

    kind: str
    type: str
    options: Any

    def __reduce__(self) -> tuple[Any, ...]:
        # The class of the options is created at run time, so pickle (spawned processes) cannot import it.
        return _restored, (self.kind, unstructure(self))


def _restored(kind: str, data: Any) -> Component:
    from rlcl.config.structuring import component

    return component(kind, data)


def is_settings_group(hint: Any) -> bool:
    """Return True if an annotation is a plain attrs class or dataclass: a group of settings."""
    return inspect.isclass(hint) and _is_settings_class(hint)  # type: ignore[arg-type]


@cache
def _is_settings_class(cls: Any) -> bool:
    return kind_of(cls) is None and (attrs.has(cls) or dataclasses.is_dataclass(cls))


def describe(instance: object, kind: str) -> Component | None:
    """Return the component that builds an equal instance.

    Returns:
        The component; None if the instance is not of an attrs class or dataclass, if its class cannot be imported
        by name, or if a config cannot express one of its settings.
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
    """Return a value as a config contains it, with components for instances; NOTHING if a config cannot express it."""
    allowed = union_members(hint)
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
    if kinds := [kind for member in allowed if (kind := kind_of(member))]:
        return next((component for kind in kinds if (component := describe(value, kind)) is not None), NOTHING)
    if any(member is type(value) for member in allowed) and is_settings_group(type(value)):
        options = _options_of(value)
        return NOTHING if options is None else type(value)(**arguments_of(options))
    return NOTHING


def arguments_of(options: Any) -> dict[str, Any]:
    """Return the arguments of the constructor, without unset ones and with ``**kwargs`` merged."""
    arguments: dict[str, Any] = {}
    for field in attrs.fields(type(options)):
        value = getattr(options, field.name)
        if field.metadata["extra"]:
            arguments.update(value)
        elif value is not NOTHING:
            arguments[field.name] = value
    return arguments


def unstructure(value: Any) -> Any:
    """Return a config as plain dictionaries, lists and scalars, including defaults.

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
    if is_settings_group(cls):
        items = {s.name: as_config(getattr(value, s.attribute), s.hint) for s in settings(cls)}
        return {name: unstructure(item) for name, item in items.items() if item is not NOTHING}
    if isinstance(value, enum.Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def build(value: Any, path: tuple[Key, ...] | None = None) -> Any:
    """Build the object that a component describes, after the components within it.

    Args:
        value: a component, or a container of components, for example a tuple.
        path: key path of the value in the config, for messages; the kind of the component by default.

    Raises:
        ConfigError: constructors raised for their settings; it lists all faults, each with its key path.
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
            faults.append(Fault(path, f"{value.type} {missing_members_message(value.kind, undefined)}"))
            return None
        arguments = {k: _build(v, (*path, k), faults) for k, v in arguments_of(value.options).items()}
        if len(faults) > before:
            return None
        try:
            instance = construct(target, arguments)
        except Faults as error:
            faults += [fault.under(*path) for fault in error.faults]
            return None
        missing = missing_members(instance, value.kind)
        if missing:
            faults.append(Fault(path, f"{value.type} {missing_members_message(value.kind, missing)}"))
        elif (mismatch := signature_mismatch(instance, value.kind)) is not None:
            faults.append(Fault(path, f"{value.type}: {mismatch}"))
        return instance
    if isinstance(value, list | tuple):
        items = (_build(item, (*path, index), faults) for index, item in enumerate(value))
        return type(value)(items)
    if isinstance(value, Mapping):
        return {key: _build(item, (*path, key), faults) for key, item in value.items()}
    cls: Any = type(value)
    if is_settings_group(cls) and any(_mentions_component(s.hint) for s in settings(cls)):
        return cls(**{s.name: _build(getattr(value, s.attribute), (*path, s.name), faults) for s in settings(cls)})
    return value


def _is_protocol(cls: type) -> bool:
    return bool(vars(cls).get("_is_protocol"))


def _mentions_component(hint: Any) -> bool:
    return any(
        kind_of(member) is not None
        or (is_sequence(member) and _mentions_component(item_hint(member, 0)))
        or (is_mapping(member) and _mentions_component(value_hint(member)))
        for member in union_members(hint)
    )


def construct(cls: Any, arguments: Mapping[str, Any]) -> Any:
    """Call a constructor and convert its error to a fault.

    Raises:
        Faults: the constructor raised a ValueError or a TypeError.
    """
    try:
        return cls(**arguments)
    except (ValueError, TypeError) as error:
        raise Faults([fault_of(error, arguments)]) from error
