"""Plain data to configs, strictly: nothing is converted silently, and every fault is reported."""

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
from rlcl.config.components import Component, arguments_of, construct, is_record, options_class, unstructure
from rlcl.config.faults import Fault, Faults, Key
from rlcl.config.protocols import expected_kind
from rlcl.config.rules import (
    NO_RULE,
    Rule,
    arms,
    expected,
    fixed_length,
    is_mapping,
    is_sequence,
    item_hint,
    kind_of,
)
from rlcl.errors import ConfigError, Problem, did_you_mean
from rlcl.types import Encoder

__all__ = ["component", "read", "structure"]

_CONVERTER = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)


def structure(data: Any, hint: Any) -> Any:
    """Plain data as what an annotation says.

    Raises:
        ConfigError: everything that is wrong, each with its key path.
    """
    try:
        return read(data, hint)
    except Faults as found:
        raise ConfigError([str(fault) for fault in found.faults]) from None


def component(kind: str, data: Any) -> Component:
    """A component from ``name``, ``{"type": name, **options}`` or, for encoders, a list of encoders.

    Raises:
        ConfigError: everything that is wrong, each with its key path.
    """
    try:
        return _component(data, kind)
    except Faults as found:
        raise ConfigError([str(fault.under(kind)) for fault in found.faults]) from None


def read(value: Any, hint: Any, rule: Rule = NO_RULE) -> Any:
    """Plain data as what an annotation and its rule allow.

    Raises:
        Faults: everything that is wrong.
    """
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        digits = len(str(abs(value)))
        raise Faults.one(f"expected a number of at most {2**63 - 1:,} in size, got one of {digits} digits")
    fitting = sorted((arm for arm in arms(hint) if _fits(value, arm)), key=lambda arm: _rank(value, arm))
    if not fitting:
        raise Faults.one(rule.refusal(value, hint))
    found: list[Faults] = []
    for arm in fitting:
        try:
            return _read_arm(value, arm, hint, rule)
        except Faults as faults:
            found.append(faults)
    raise found[0]


def _fits(value: Any, arm: Any) -> bool:
    """Whether data of this shape may be meant for an annotation."""
    if arm is Any or arm is NoneType:
        return arm is Any or value is None
    if isinstance(value, Mapping):
        return is_mapping(arm) or is_record(arm) or kind_of(arm) is not None
    if isinstance(value, list):
        return is_sequence(arm) or kind_of(arm) == "encoder"
    if get_origin(arm) is Literal:
        return any(value == known and type(value) is type(known) for known in get_args(arm))
    if isinstance(arm, type) and issubclass(arm, enum.Enum):
        return any(value == member.value for member in arm)
    if isinstance(value, bool):
        return arm is bool
    if isinstance(value, int | float):
        return arm is float or (arm is int and float(value).is_integer())
    return isinstance(value, str) and (arm in (str, Path) or kind_of(arm) is not None)


def _rank(value: Any, arm: Any) -> int:
    """Which of several fitting members of a union comes first: the most exact."""
    return 3 if arm is Any else 0 if get_origin(arm) is Literal or type(value) is arm else 1


def _read_arm(value: Any, arm: Any, hint: Any, rule: Rule) -> Any:
    if arm is not Any and (kind := kind_of(arm)) is not None:
        return _component(value, kind)
    if is_record(arm):
        return construct(arm, arguments_of(_options(value, arm)))
    if isinstance(value, Mapping):
        return _mapping(value, arm, rule)
    if isinstance(value, list):
        return _sequence(value, arm, rule)
    if isinstance(arm, type) and issubclass(arm, enum.Enum):
        return arm(value)
    made = arm(value) if arm in (int, float, Path) else value
    if (message := rule.fault(made, hint)) is not None:
        raise Faults.one(message)
    return made


def _sequence(value: list[Any], arm: Any, rule: Rule) -> Any:
    if (size := fixed_length(arm)) is not None and len(value) != size:
        raise Faults.one(f"expected a list of {size}, got one of {len(value)}")
    items = _each(enumerate(value), lambda index: item_hint(arm, index), rule).values()
    origin = get_origin(arm) or arm
    return origin(items) if origin in (list, set, frozenset) else list(items) if arm is Any else tuple(items)


def _mapping(value: Mapping[Any, Any], arm: Any, rule: Rule) -> dict[Any, Any]:
    keys, values = get_args(arm) if len(get_args(arm)) == 2 else (Any, Any)
    for key in value:
        if not any(_fits(key, allowed) for allowed in arms(keys)):
            raise Faults.one(f"expected {expected(keys)} as a key, got {key!r}", key)
    return _each(value.items(), lambda _: values, rule)


def _each(pairs: Iterable[tuple[Any, Any]], hint_at: Callable[[Any], Any], rule: Rule) -> dict[Any, Any]:
    made, faults = {}, list[Fault]()
    for key, item in pairs:
        try:
            made[key] = read(item, hint_at(key), rule)
        except Faults as found:
            faults += [fault.under(key) for fault in found.faults]
    if faults:
        raise Faults(faults)
    return made


def _component(value: Any, kind: str) -> Component:
    if isinstance(value, list):  # encoders one after the other
        encoders = _sequence(value, tuple[Encoder, ...], NO_RULE)
        return Component(kind, "compose", options_class(registry.find(kind, "compose"))(encoders=encoders))
    if isinstance(value, str):
        return Component(kind, value, _options({}, _found(value, kind)))
    if "type" not in value:
        raise Faults.one(f"missing; required: the name of {expected_kind(kind)}{_names(kind)}", "type")
    name = value["type"]
    if not isinstance(name, str):
        raise Faults.one(f"expected the name of {expected_kind(kind)}, got {name!r}", "type")
    cls = _found(name, kind, "type")
    return Component(kind, name, _options({k: v for k, v in value.items() if k != "type"}, cls, ("type",)))


def _found(name: str, kind: str, *path: Key) -> Any:
    try:
        cls = registry.find(kind, name)
        if not callable(cls):
            raise Problem(f"{name} is no class")
    except Problem as problem:
        raise Faults.one(problem.message, *path) from None
    return cls


def _names(kind: str) -> str:
    return f" ({', '.join(sorted(registry.entries(kind)))})"


def _options(value: Mapping[Any, Any], cls: Any, also: tuple[str, ...] = ()) -> Any:
    """A component's or a record's settings, structured by cattrs."""
    fields = {field.name: field for field in attrs.fields(options_class(cls))}
    extra = next((name for name, field in fields.items() if field.metadata["extra"]), None)
    known = {key: item for key, item in value.items() if key in fields and key != extra}
    others = {key: item for key, item in value.items() if key not in known}
    try:
        options = _hook(cls)(known if extra else {**known, **others}, options_class(cls))
    except cattrs.ClassValidationError as error:
        raise Faults(_walk(error, cls, [*known, *fields, *also])) from None
    return attrs.evolve(options, **{extra: others}) if extra else options


@cache
def _hook(cls: Any) -> Callable[[Mapping[str, Any], Any], Any]:
    """Cattrs' own structuring of a class, with our strict reading of each of its fields."""
    target = options_class(cls)
    overrides: dict[str, Any] = {
        field.name: override(omit=True) if field.metadata["extra"] else override(struct_hook=_reader(field))
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


def _reader(field: attrs.Attribute[Any]) -> Callable[[Any, Any], Any]:
    def reads(value: Any, _: Any) -> Any:
        if isinstance(value, Mapping) and "type" not in value and isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
            default = field.default.factory()  # type: ignore[union-attr]
            if isinstance(default, Component):  # options alone change the default component
                value = {**unstructure(default), **value}
        return read(value, field.type, field.metadata["rule"])

    return reads


def _walk(error: cattrs.ClassValidationError, cls: Any, known: list[str]) -> Iterator[Fault]:
    """The faults within cattrs' nested exceptions, whose notes name the fields."""
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
