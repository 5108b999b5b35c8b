"""What a setting may be: one rule a field, for structuring, validation, the JSON schema and the docs."""

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
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs
from attrs import NOTHING, frozen

from rlcl.config.faults import Key, key_path
from rlcl.config.protocols import PROTOCOLS, expected_kind, no_component
from rlcl.errors import Problem, did_you_mean

__all__ = ["Kind", "Rule", "arms", "expected", "hints_of", "item_hint", "kind_of", "option"]

BOUNDS: Mapping[str, tuple[Callable[[Any, Any], Any], str]] = {
    "ge": (operator.ge, "of at least"),
    "gt": (operator.gt, "above"),
    "le": (operator.le, "of at most"),
    "lt": (operator.lt, "below"),
}


@frozen
class Kind:
    """Marks an annotation as a component: ``Annotated[Component, Kind("stream")]``."""

    name: str


@frozen(kw_only=True)
class Rule:
    """The values that a setting may have; bounds and choices hold for each item of a sequence.

    Args:
        ge, gt, le, lt: bounds of its numbers.
        choices: the only values allowed.
        pattern: what its texts match as a whole, as a regular expression and in words.
    """

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[Any, ...] | None = None
    pattern: tuple[str, str] | None = None

    def __call__(self, instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        """The attrs validator.

        Raises:
            Problem: the value breaks the rule (a ValueError).
        """
        owner: Any = type(instance)
        hint = hints_of(owner).get(attribute.name, Any)
        for path, message in self.faults(value, hint):
            raise Problem(message, key_path((attribute.alias or attribute.name, *path)))

    @property
    def bounds(self) -> Mapping[str, float]:
        """The bounds that are set."""
        return {name: bound for name in BOUNDS if (bound := getattr(self, name)) is not None}

    def faults(self, value: Any, hint: Any) -> Iterator[tuple[tuple[Key, ...], str]]:
        """What is wrong with a value, each with its path within the value.

        Numbers, literals, choices, lists and components are checked; other types are the type checker's business
        in Python, and :func:`rlcl.config.structure`'s in a config.
        """
        if isinstance(value, list | tuple) and any(is_sequence(arm) or arm is Any for arm in arms(hint)):
            for index, item in enumerate(value):
                for path, message in self.faults(item, item_hint(hint, index)):
                    yield (index, *path), message
        elif isinstance(value, Mapping) and any(is_mapping(arm) for arm in arms(hint)):
            for key, item in value.items():
                for path, message in self.faults(item, value_hint(hint)):
                    yield (key, *path), message
        elif (fault := self.fault(value, hint)) is not None:
            yield (), fault

    def fault(self, value: Any, hint: Any) -> str | None:
        """What is wrong with one value that is no sequence, None if nothing."""
        allowed = arms(hint)
        if (reason := _no_component(value, allowed)) is not None:
            return f"expected {expected(hint, self)}, got {reason}"
        if Any in allowed and not isinstance(value, numbers.Real):
            return None
        return None if self._fits(value, allowed) else self.refusal(value, hint)

    def refusal(self, value: Any, hint: Any) -> str:
        """What was expected, what was found, and the nearest name: ``"expected a number, got 'x'"``."""
        near = did_you_mean(value, map(str, literals(hint, self))) if isinstance(value, str) else ""
        shown = "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else repr(value)
        return (
            f"expected {expected(hint, self)}, got {'null' if value is None else shown}"
            f"{near if 'did you mean' in near else ''}"
        )

    def _fits(self, value: Any, allowed: tuple[Any, ...]) -> bool:
        if value is None:
            return not all(arm in (int, float, str, bool) or get_origin(arm) is Literal for arm in allowed)
        if any(get_origin(arm) is Literal and value in get_args(arm) for arm in allowed):
            return True
        if self.choices is not None and value not in self.choices:
            return False
        if self.pattern is not None and isinstance(value, str) and not re.fullmatch(self.pattern[0], value):
            return False
        if not isinstance(value, bool) and isinstance(value, numbers.Real):
            whole = int not in allowed or float in allowed or isinstance(value, numbers.Integral)
            compared = all(BOUNDS[name][0](value, bound) for name, bound in self.bounds.items())
            numeric = any(arm in (int, float, Any) or not _is_plain(arm) for arm in allowed)
            return whole and compared and numeric and not math.isnan(value)
        if all(is_sequence(arm) or arm is types.NoneType for arm in allowed):
            return isinstance(value, collections.abc.Iterable) and not isinstance(value, str)
        return not all(arm in (int, float, types.NoneType) or get_origin(arm) is Literal for arm in allowed)


def _no_component(value: Any, allowed: tuple[Any, ...]) -> str | None:
    """What a value is that should be a component, where nothing else is allowed; None where it is one."""
    kinds = [kind for arm in allowed if arm is not types.NoneType and (kind := _protocol_kind(arm))]
    if not kinds or len(kinds) < sum(arm is not types.NoneType for arm in allowed):
        return None
    if value is None and types.NoneType in allowed:
        return None
    reasons = [no_component(value, kind) for kind in kinds]
    return None if None in reasons else reasons[0]


def _listed(values: Any) -> Any:
    """A tuple of what can be listed; anything else is left for the rule to refuse, which knows its name."""
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
    """A setting of an attrs class, with the rule that its values keep; the docstring's ``Args`` says what it means.

    Args:
        default: its value where none is given; required without one.
        ge, gt, le, lt: bounds, of each item where it is a sequence.
        choices: the only values allowed; for strings a ``Literal`` annotation says the same.
        pattern: what texts match as a whole: a regular expression, and the same in words.
        factory: makes the default; for components and other objects.
        converter: see :func:`attrs.field`; of ``tuple`` the rule refuses what cannot be listed.
    """
    allowed = None if choices is None else tuple(choices)
    rule = Rule(ge=ge, gt=gt, le=le, lt=lt, choices=allowed, pattern=pattern)
    made = attrs.Factory(factory) if factory is not None else default
    return attrs.field(
        default=made, validator=rule, converter=_listed if converter is tuple else converter, metadata={"rule": rule}
    )


NO_RULE = Rule()


def expected(hint: Any, rule: Rule = NO_RULE) -> str:
    """What a value should be, in words: ``"a whole number of at least 1"``."""
    if rule.choices is not None and not any(is_sequence(arm) for arm in arms(hint)):
        return f"one of {', '.join(map(str, rule.choices))}"
    known = [_expected_arm(arm, rule) for arm in arms(hint) if arm is not types.NoneType]
    absent = ["null"] if types.NoneType in arms(hint) else []
    return " or ".join(dict.fromkeys(known + absent))


def _expected_arm(hint: Any, rule: Rule) -> str:
    if hint in (int, float):
        limits = " and ".join(f"{BOUNDS[name][1]} {bound:g}" for name, bound in rule.bounds.items())
        return f"{'a whole number' if hint is int else 'a number'} {limits}".rstrip()
    if kind := kind_of(hint):
        return expected_kind(kind)
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


def kind_of(hint: Any) -> str | None:
    """The kind of component that an annotation asks for, None if for none."""
    if get_origin(hint) is Annotated:
        marks = [mark.name for mark in hint.__metadata__ if isinstance(mark, Kind)]
        return marks[0] if marks else kind_of(hint.__origin__)
    return _protocol_kind(hint)


def _protocol_kind(hint: Any) -> str | None:
    try:
        return PROTOCOLS.get(hint)
    except TypeError:  # an annotation that cannot be hashed
        return None


def arms(hint: Any) -> tuple[Any, ...]:
    """The members of a union, flat; the annotation alone if it is none."""
    if get_origin(hint) is Annotated and kind_of(hint) is None:
        return arms(hint.__origin__)
    if hasattr(hint, "__value__"):  # ``type Alias = ...`` of Python 3.12
        return arms(hint.__value__)
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(arm for member in get_args(hint) for arm in arms(member))
    return (types.NoneType,) if hint is None else (hint,)


def is_sequence(hint: Any) -> bool:
    """Whether an annotation is of a list, a tuple or a set."""
    origin = get_origin(hint) or hint
    return origin in (list, tuple, set, frozenset, *_ABSTRACT)


_ABSTRACT = (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection, collections.abc.Set)


def is_mapping(hint: Any) -> bool:
    """Whether an annotation is of a dictionary."""
    return (get_origin(hint) or hint) in (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def fixed_length(hint: Any) -> int | None:
    """The length that ``tuple[A, B]`` fixes, None for all else."""
    fixed = get_origin(hint) is tuple and Ellipsis not in get_args(hint)
    return len(get_args(hint)) if fixed else None


def item_hint(hint: Any, index: int) -> Any:
    """The annotation of a sequence's item."""
    found = [get_args(arm) for arm in arms(hint) if is_sequence(arm) and get_args(arm)]
    if not found:
        return Any
    args = found[0]
    return args[min(index, len(args) - 1)] if Ellipsis not in args else args[0]


def value_hint(hint: Any) -> Any:
    """The annotation of a mapping's values."""
    found = [get_args(arm) for arm in arms(hint) if is_mapping(arm) and len(get_args(arm)) == 2]
    return found[0][1] if found else Any


def literals(hint: Any, rule: Rule = NO_RULE) -> list[Any]:
    """The values that literals and choices name."""
    named = [value for arm in arms(hint) if get_origin(arm) is Literal for value in get_args(arm)]
    return [*named, *(rule.choices or ())]


def _is_plain(hint: Any) -> bool:
    return hint in (str, bool, types.NoneType) or get_origin(hint) is Literal or is_sequence(hint) or is_mapping(hint)


@cache
def hints_of(owner: Any) -> Mapping[str, Any]:
    """The resolved annotations of a class (or function); Any for a name that does not resolve.

    Names that a class imports under TYPE_CHECKING do not exist at run time: only those are lost.
    """
    whole = _resolved(owner)
    if whole is not None:
        return whole
    found: dict[str, Any] = {}
    parts = reversed(owner.__mro__) if isinstance(owner, type) else [owner] if inspect.isroutine(owner) else []
    for part in parts:
        names = dict(vars(sys.modules[part.__module__])) if part.__module__ in sys.modules else {}
        for name, annotation in inspect.get_annotations(part).items():
            one = types.SimpleNamespace(__annotations__={name: annotation})
            found[name] = (_resolved(one, names) or {}).get(name, Any)
    return found


def _resolved(holder: Any, names: dict[str, Any] | None = None) -> dict[str, Any] | None:
    try:
        return typing.get_type_hints(holder, names, include_extras=True)
    except Exception:
        return None
