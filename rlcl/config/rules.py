"""Rules for the values of settings; structuring, validation, the JSON schema and the docs use them."""

from __future__ import annotations

import collections.abc
import inspect
import math
import numbers
import operator
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
from attrs import NOTHING, frozen

from rlcl.config.faults import Key, key_path
from rlcl.config.protocols import PROTOCOLS, component_mismatch, kind_with_article
from rlcl.errors import Problem, did_you_mean

__all__ = ["Kind", "Rule", "expected", "hints_of", "item_hint", "kind_of", "option", "union_members"]

_T = TypeVar("_T")

BOUNDS: Mapping[str, tuple[Callable[[Any, Any], Any], str]] = {
    "ge": (operator.ge, "of at least"),
    "gt": (operator.gt, "above"),
    "le": (operator.le, "of at most"),
    "lt": (operator.lt, "below"),
}


@frozen
class Kind:
    """Mark of an annotation as a component of a kind: ``Annotated[Component, Kind("stream")]``."""

    name: str


@frozen(kw_only=True)
class Rule:
    """The allowed values of a setting; bounds and choices apply to each item of a sequence.

    Args:
        ge, gt, le, lt: bounds of numbers.
        choices: the only allowed values.
        pattern: a regular expression that texts must fully match, and its description in words.
    """

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[Any, ...] | None = None
    pattern: tuple[str, str] | None = None

    def __call__(self, instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        """Validate a field; this is the attrs validator.

        Raises:
            Problem: the value violates the rule (a ValueError).
        """
        owner: Any = type(instance)
        hint = hints_of(owner).get(attribute.name, Any)
        for path, message in self.faults(value, hint):
            raise Problem(message, key_path((attribute.alias or attribute.name, *path)))

    @property
    def bounds(self) -> Mapping[str, float]:
        """Bounds that are set, by name."""
        return {name: bound for name in BOUNDS if (bound := getattr(self, name)) is not None}

    def faults(self, value: Any, hint: Any) -> Iterator[tuple[tuple[Key, ...], str]]:
        """Yield the faults of a value, each with its path within the value.

        Numbers, literals, choices, lists and components are checked. In Python, the type checker checks other types;
        in a config, :func:`rlcl.config.structure` does.
        """
        if isinstance(value, list | tuple) and any(
            is_sequence(member) or member is Any for member in union_members(hint)
        ):
            for index, item in enumerate(value):
                for path, message in self.faults(item, item_hint(hint, index)):
                    yield (index, *path), message
        elif isinstance(value, Mapping) and any(is_mapping(member) for member in union_members(hint)):
            for key, item in value.items():
                for path, message in self.faults(item, value_hint(hint)):
                    yield (key, *path), message
        elif (fault := self.fault(value, hint)) is not None:
            yield (), fault

    def fault(self, value: Any, hint: Any) -> str | None:
        """Return the fault of one value that is not a sequence; None if it is valid."""
        allowed = union_members(hint)
        if (mismatch := _component_mismatch(value, allowed)) is not None:
            return f"expected {expected(hint, self)}, got {mismatch}"
        if Any in allowed and not isinstance(value, numbers.Real):
            return None
        return None if self._is_allowed(value, allowed) else self.message(value, hint)

    def message(self, value: Any, hint: Any) -> str:
        """Return a message with the expected values, the value and a similar name: ``"expected a number, got 'x'"``."""
        similar = did_you_mean(value, map(str, literals(hint, self))) if isinstance(value, str) else ""
        text = "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else repr(value)
        return (
            f"expected {expected(hint, self)}, got {'null' if value is None else text}"
            f"{similar if 'did you mean' in similar else ''}"
        )

    def _is_allowed(self, value: Any, allowed: tuple[Any, ...]) -> bool:
        if value is None:
            return not all(member in (int, float, str, bool) or get_origin(member) is Literal for member in allowed)
        if any(get_origin(member) is Literal and value in get_args(member) for member in allowed):
            return True
        if self.choices is not None and value not in self.choices:
            return False
        if self.pattern is not None and isinstance(value, str) and not re.fullmatch(self.pattern[0], value):
            return False
        if not isinstance(value, bool) and isinstance(value, numbers.Real):
            integral = int not in allowed or float in allowed or isinstance(value, numbers.Integral)
            within_bounds = all(BOUNDS[name][0](value, bound) for name, bound in self.bounds.items())
            numeric = any(member in (int, float, Any) or not _is_plain(member) for member in allowed)
            return integral and within_bounds and numeric and not math.isnan(value)
        if all(is_sequence(member) or member is types.NoneType for member in allowed):
            return isinstance(value, collections.abc.Iterable) and not isinstance(value, str)
        return not all(member in (int, float, types.NoneType) or get_origin(member) is Literal for member in allowed)


def _component_mismatch(value: Any, allowed: tuple[Any, ...]) -> str | None:
    """Describe a value that is not a component although only components are allowed; None if it is valid."""
    kinds = [kind for member in allowed if member is not types.NoneType and (kind := _protocol_kind(member))]
    if not kinds or len(kinds) < sum(member is not types.NoneType for member in allowed):
        return None
    if value is None and types.NoneType in allowed:
        return None
    mismatches = [component_mismatch(value, kind) for kind in kinds]
    return None if None in mismatches else mismatches[0]


def _as_tuple(values: Any) -> Any:
    """Convert an iterable to a tuple; return any other value for the rule, whose error names the setting."""
    return tuple(values) if isinstance(values, collections.abc.Iterable) and not isinstance(values, str) else values


def option(
    default: Any = NOTHING,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: Sequence[Any] | None = None,
    pattern: tuple[str, str] | None = None,
    factory: Callable[[], Any] | None = None,
    converter: Callable[[Any], Any] | None = None,
) -> Any:
    """Return an attrs field for a setting, with the rule for its values; ``Args`` of the docstring describes it.

    Args:
        default: the default; without one the setting is required.
        ge, gt, le, lt: bounds of a number, or of each item of a sequence.
        choices: the only allowed values; for strings, use a ``Literal`` annotation instead.
        pattern: a regular expression that texts must fully match, and its description in words.
        factory: function that returns the default; for components and other objects.
        converter: see :func:`attrs.field`; with ``tuple``, the rule rejects values that are not iterable.
    """
    allowed = None if choices is None else tuple(choices)
    rule = Rule(ge=ge, gt=gt, le=le, lt=lt, choices=allowed, pattern=pattern)
    return attrs.field(
        default=default if factory is None else attrs.Factory(factory),
        validator=rule,
        converter=_as_tuple if converter is tuple else converter,
        metadata={"rule": rule},
    )


NO_RULE = Rule()


def expected(hint: Any, rule: Rule = NO_RULE) -> str:
    """Describe the allowed values in words: ``"a whole number of at least 1"``."""
    if rule.choices is not None and not any(is_sequence(member) for member in union_members(hint)):
        return f"one of {', '.join(map(str, rule.choices))}"
    descriptions = [_expected_member(member, rule) for member in union_members(hint) if member is not types.NoneType]
    null = ["null"] if types.NoneType in union_members(hint) else []
    return " or ".join(dict.fromkeys(descriptions + null))


def _expected_member(hint: Any, rule: Rule) -> str:
    if hint in (int, float):
        limits = " and ".join(f"{BOUNDS[name][1]} {bound:g}" for name, bound in rule.bounds.items())
        return f"{'a whole number' if hint is int else 'a number'} {limits}".rstrip()
    if kind := kind_of(hint):
        return kind_with_article(kind)
    if get_origin(hint) is Literal:
        values = ", ".join(map(str, get_args(hint)))
        return f"one of {values}" if len(get_args(hint)) > 1 else values
    if is_sequence(hint):
        if (size := fixed_length(hint)) is not None:
            return f"a list of {size}"
        return f"a list, each item {expected(item_hint(hint, 0), rule)}"
    if hint is str and rule.pattern is not None:
        return rule.pattern[1]
    words = {bool: "true or false", str: "a text", Path: "a path", Any: "a value"}
    return words.get(hint, "a mapping")


def _cached(function: Callable[[Any], _T]) -> Callable[[Any], _T]:
    """Cache a function of an annotation: a suite of a thousand experiments calls it a million times."""
    results: dict[Any, _T] = {}

    @wraps(function)
    def cached(hint: Any) -> _T:
        try:
            key = hint, getattr(hint, "__args__", None)  # unions of the same members are equal in any order
            if key in results:
                return results[key]
        except TypeError:  # an annotation that cannot be hashed
            return function(hint)
        return results.setdefault(key, function(hint))

    return cached


@_cached
def kind_of(hint: Any) -> str | None:
    """Return the kind of component of an annotation; None if it is not a component."""
    if get_origin(hint) is Annotated:
        marks = [mark.name for mark in hint.__metadata__ if isinstance(mark, Kind)]
        return marks[0] if marks else kind_of(hint.__origin__)
    return _protocol_kind(hint)


def _protocol_kind(hint: Any) -> str | None:
    try:
        return PROTOCOLS.get(hint)
    except TypeError:  # an annotation that cannot be hashed
        return None


@_cached
def union_members(hint: Any) -> tuple[Any, ...]:
    """Return the flat members of a union; the annotation itself if it is not a union."""
    if get_origin(hint) is Annotated and kind_of(hint) is None:
        return union_members(hint.__origin__)
    if hasattr(hint, "__value__"):  # ``type Alias = ...`` of Python 3.12
        return union_members(hint.__value__)
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(member for part in get_args(hint) for member in union_members(part))
    return (types.NoneType,) if hint is None else (hint,)


def is_sequence(hint: Any) -> bool:
    """Return True if an annotation is a list, a tuple or a set."""
    origin = get_origin(hint) or hint
    return origin in (list, tuple, set, frozenset, *_ABSTRACT)


_ABSTRACT = (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection, collections.abc.Set)


def is_mapping(hint: Any) -> bool:
    """Return True if an annotation is a dictionary."""
    return (get_origin(hint) or hint) in (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def fixed_length(hint: Any) -> int | None:
    """Return the length of ``tuple[A, B]``; None for other annotations."""
    fixed = get_origin(hint) is tuple and Ellipsis not in get_args(hint)
    return len(get_args(hint)) if fixed else None


def item_hint(hint: Any, index: int) -> Any:
    """Return the annotation of a sequence's item."""
    arguments = [get_args(member) for member in union_members(hint) if is_sequence(member) and get_args(member)]
    if not arguments:
        return Any
    args = arguments[0]
    return args[min(index, len(args) - 1)] if Ellipsis not in args else args[0]


def value_hint(hint: Any) -> Any:
    """Return the annotation of a mapping's values."""
    arguments = [
        get_args(member) for member in union_members(hint) if is_mapping(member) and len(get_args(member)) == 2
    ]
    return arguments[0][1] if arguments else Any


def literals(hint: Any, rule: Rule = NO_RULE) -> list[Any]:
    """Return the values of literals and choices."""
    values = [value for member in union_members(hint) if get_origin(member) is Literal for value in get_args(member)]
    return [*values, *(rule.choices or ())]


def _is_plain(hint: Any) -> bool:
    return hint in (str, bool, types.NoneType) or get_origin(hint) is Literal or is_sequence(hint) or is_mapping(hint)


@cache
def hints_of(owner: Any) -> Mapping[str, Any]:
    """Return the resolved annotations of a class (or function); Any for a name that does not resolve.

    Names that are imported under TYPE_CHECKING do not exist at run time; only annotations with them are lost.
    """
    resolved = _resolve_hints(owner)
    if resolved is not None:
        return resolved
    hints: dict[str, Any] = {}
    parts = reversed(owner.__mro__) if isinstance(owner, type) else [owner] if inspect.isroutine(owner) else []
    for part in parts:
        names = dict(vars(sys.modules[part.__module__])) if part.__module__ in sys.modules else {}
        for name, annotation in inspect.get_annotations(part).items():
            holder = types.SimpleNamespace(__annotations__={name: annotation})
            hints[name] = (_resolve_hints(holder, names) or {}).get(name, Any)
    return hints


def _resolve_hints(holder: Any, names: dict[str, Any] | None = None) -> dict[str, Any] | None:
    try:
        return typing.get_type_hints(holder, names, include_extras=True)
    except Exception:
        return None
