"""Strict conversion of plain data to configs: no value is converted silently, and all faults are reported."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from rlcl import registry
from rlcl.config.components import Component, arguments_of, construct, is_settings_group, options_class, unstructure
from rlcl.config.faults import Fault, Faults, Key
from rlcl.config.protocols import kind_with_article
from rlcl.config.rules import (
    NO_RULE,
    Rule,
    expected,
    fixed_length,
    is_mapping,
    is_sequence,
    item_hint,
    kind_of,
    union_members,
)
from rlcl.config.shared_parts import reused
from rlcl.errors import ConfigError, Problem, did_you_mean
from rlcl.types import Encoder

__all__ = ["component", "read", "structure"]

_CONVERTER = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)


def structure(data: Any, hint: Any) -> Any:
    """Convert plain data to the type of an annotation.

    Raises:
        ConfigError: all faults, each with its key path.
    """
    try:
        return read(data, hint)
    except Faults as error:
        raise ConfigError([str(fault) for fault in error.faults]) from None


def component(kind: str, data: Any) -> Component:
    """Return a component from ``name``, ``{"type": name, **options}`` or, for encoders, a list of encoders.

    Raises:
        ConfigError: all faults, each with its key path.
    """
    try:
        return _component(data, kind)
    except Faults as error:
        raise ConfigError([str(fault.under(kind)) for fault in error.faults]) from None


def read(value: Any, hint: Any, rule: Rule = NO_RULE) -> Any:
    """Convert plain data to the type of an annotation, and check its rule.

    Raises:
        Faults: all faults of the data.
    """
    if isinstance(value, Mapping | list):
        key = lambda: (id(hint), id(rule), repr(value))  # noqa: E731
        return reused(key, lambda: _read(value, hint, rule), (hint, rule))
    return _read(value, hint, rule)


def _read(value: Any, hint: Any, rule: Rule) -> Any:
    _check_size(value)
    candidates = sorted(
        (member for member in union_members(hint) if _fits(value, member)), key=lambda member: _rank(value, member)
    )
    if not candidates:
        raise Faults.one(rule.message(value, hint))
    errors: list[Faults] = []
    for member in candidates:
        try:
            return _read_member(value, member, hint, rule)
        except Faults as error:
            errors.append(error)
    raise errors[0]


def _check_size(value: Any) -> None:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        digits = len(str(abs(value)))
        raise Faults.one(f"expected a number of at most {2**63 - 1:,} in size, got one of {digits} digits")


def _fits(value: Any, member: Any) -> bool:
    """Return True if a member of a union accepts values of this type."""
    if member is Any or member is NoneType:
        return member is Any or value is None
    if isinstance(value, Mapping):
        return is_mapping(member) or is_settings_group(member) or kind_of(member) is not None
    if isinstance(value, list):
        return is_sequence(member) or kind_of(member) == "encoder"
    if get_origin(member) is Literal:
        return any(value == known and type(value) is type(known) for known in get_args(member))
    if isinstance(member, type) and issubclass(member, enum.Enum):
        return any(value == item.value for item in member)
    if isinstance(value, bool):
        return member is bool
    if isinstance(value, int | float):
        return member is float or (member is int and float(value).is_integer())
    return isinstance(value, str) and (member in (str, Path) or kind_of(member) is not None)


def _rank(value: Any, member: Any) -> int:
    """Return the priority of a member of a union for a value; exact types have the lowest number."""
    return 3 if member is Any else 0 if get_origin(member) is Literal or type(value) is member else 1


def _read_member(value: Any, member: Any, hint: Any, rule: Rule) -> Any:
    if member is not Any and (kind := kind_of(member)) is not None:
        return _component(value, kind)
    if is_settings_group(member):
        return construct(member, arguments_of(_options(value, member)))
    if isinstance(value, Mapping):
        return _mapping(value, member, rule)
    if isinstance(value, list):
        return _sequence(value, member, rule)
    if isinstance(member, type) and issubclass(member, enum.Enum):
        return member(value)
    converted = member(value) if member in (int, float, Path) else value
    _check_size(converted)  # 1e300 is a whole number, too
    if (message := rule.fault(converted, hint)) is not None:
        raise Faults.one(message)
    return converted


def _sequence(value: list[Any], member: Any, rule: Rule) -> Any:
    if (size := fixed_length(member)) is not None and len(value) != size:
        raise Faults.one(f"expected a list of {size}, got one of {len(value)}")
    items = _read_items(enumerate(value), lambda index: item_hint(member, index), rule).values()
    origin = get_origin(member) or member
    return origin(items) if origin in (list, set, frozenset) else list(items) if member is Any else tuple(items)


def _mapping(value: Mapping[Any, Any], member: Any, rule: Rule) -> dict[Any, Any]:
    keys, values = get_args(member) if len(get_args(member)) == 2 else (Any, Any)
    for key in value:
        if not any(_fits(key, allowed) for allowed in union_members(keys)):
            raise Faults.one(f"expected {expected(keys)} as a key, got {key!r}", key)
    return _read_items(value.items(), lambda _: values, rule)


def _read_items(pairs: Iterable[tuple[Any, Any]], hint_at: Callable[[Any], Any], rule: Rule) -> dict[Any, Any]:
    items, faults = {}, list[Fault]()
    for key, item in pairs:
        try:
            items[key] = read(item, hint_at(key), rule)
        except Faults as error:
            faults += [fault.under(key) for fault in error.faults]
    if faults:
        raise Faults(faults)
    return items


def _component(value: Any, kind: str) -> Component:
    if isinstance(value, list):  # a list of encoders is applied in order
        encoders = _sequence(value, tuple[Encoder, ...], NO_RULE)
        return Component(kind, "compose", options_class(registry.find(kind, "compose"))(encoders=encoders))
    if isinstance(value, str):
        return Component(kind, value, _options({}, _find_class(value, kind)))
    if "type" not in value:
        raise Faults.one(f"missing; required: the name of {kind_with_article(kind)}{_names(kind)}", "type")
    name = value["type"]
    if not isinstance(name, str):
        raise Faults.one(f"expected the name of {kind_with_article(kind)}, got {name!r}", "type")
    cls = _find_class(name, kind, "type")
    return Component(kind, name, _options({k: v for k, v in value.items() if k != "type"}, cls, ("type",)))


def _find_class(name: str, kind: str, *path: Key) -> Any:
    try:
        cls = registry.find(kind, name)
        if not callable(cls):
            raise Problem(f"{name} is not a class")
    except Problem as problem:
        raise Faults.one(problem.message, *path) from None
    return cls


def _names(kind: str) -> str:
    return f" ({', '.join(sorted(registry.entries(kind)))})"


def _options(value: Mapping[Any, Any], cls: Any, other_keys: tuple[str, ...] = ()) -> Any:
    """Structure the settings of a component or of a group with cattrs; ``other_keys`` are allowed, too."""
    fields = {field.name: field for field in attrs.fields(options_class(cls))}
    extra = next((name for name, field in fields.items() if field.metadata["extra"]), None)
    known = {key: item for key, item in value.items() if key in fields and key != extra}
    others = {key: item for key, item in value.items() if key not in known}
    try:
        options = _hook(cls)(known if extra else {**known, **others}, options_class(cls))
    except cattrs.ClassValidationError as error:
        raise Faults(_class_faults(error, cls, [*known, *fields, *other_keys])) from None
    return attrs.evolve(options, **{extra: others}) if extra else options


@cache
def _hook(cls: Any) -> Callable[[Mapping[str, Any], Any], Any]:
    """Return cattrs' structuring function of a class, with :func:`read` for each field."""
    target = options_class(cls)
    overrides: dict[str, Any] = {
        field.name: override(omit=True) if field.metadata["extra"] else override(struct_hook=_field_hook(field))
        for field in attrs.fields(target)
    }
    return make_dict_structure_fn(
        target,
        _CONVERTER,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        _cattrs_use_linecache=False,
        **overrides,
    )


def _field_hook(field: attrs.Attribute[Any]) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if isinstance(value, Mapping) and "type" not in value and isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
            default = field.default.factory()  # type: ignore[union-attr]
            if isinstance(default, Component):  # options without a type change the default component
                value = {**unstructure(default), **value}
        return read(value, field.type, field.metadata["rule"])

    return hook


def _class_faults(error: cattrs.ClassValidationError, cls: Any, known: list[str]) -> Iterator[Fault]:
    """Yield the faults of cattrs' nested exceptions; their notes contain the names of the fields."""
    rules = {field.name: (field.type, field.metadata["rule"]) for field in attrs.fields(options_class(cls))}
    for inner in error.exceptions:
        if isinstance(inner, ForbiddenExtraKeysError):
            for key in sorted(inner.extra_fields, key=str):
                yield Fault((key,), f"unknown key{_remedy(str(key), known)}", unknown=True)
            continue
        notes = [note for note in getattr(inner, "__notes__", ()) if isinstance(note, AttributeValidationNote)]
        name = notes[0].name
        if isinstance(inner, Faults):
            yield from (fault.under(name) for fault in inner.faults)
        elif isinstance(inner, KeyError):
            yield Fault((name,), f"missing; required: {expected(*rules[name])}")
        else:
            yield Fault((name,), str(inner))


def _remedy(key: str, known: list[str]) -> str:
    synonym = registry.SYNONYMS.get(key)
    return f"; did you mean {synonym}?" if synonym in known else did_you_mean(key, set(known))
