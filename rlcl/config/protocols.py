"""Protocols of the kinds of components, and checks of an object against them."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Any, Protocol

import rlcl.types
from rlcl.errors import Problem

__all__ = [
    "PROTOCOLS",
    "UnbuiltComponent",
    "check_component",
    "component_mismatch",
    "kind_with_article",
    "missing_members",
    "missing_members_message",
    "signature_mismatch",
    "undefined_members",
]

PROTOCOLS: Mapping[Any, str] = {
    rlcl.types.DataSet: "data",
    rlcl.types.Scenario: "stream",
    rlcl.types.Encoder: "encoder",
    rlcl.types.Augmentation: "augmentation",
    rlcl.types.Network: "network",
    rlcl.types.OptimizerFactory: "optimizer",
    rlcl.types.Schedule: "schedule",
    rlcl.types.DriftFunction: "drift",
    rlcl.types.Learner: "learner",
    rlcl.types.Method: "method",
    rlcl.types.MetricFunction: "metric",
    rlcl.types.Probe: "probe",
    rlcl.types.Sink: "sink",
    rlcl.types.Launcher: "launcher",
}


class UnbuiltComponent:
    """Base class of a component that is not built yet; its kind was checked when its config was read."""


def kind_with_article(kind: str) -> str:
    """Return a kind of component with its article."""
    return {"data": "a data set"}.get(kind, f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}")


def check_component(value: Any, kind: str, where: str) -> None:
    """Check that a value is a component of a kind.

    Raises:
        Problem: it is not.
    """
    if (mismatch := component_mismatch(value, kind)) is not None:
        raise Problem(f"expected {kind_with_article(kind)}, got {mismatch}", where)


def component_mismatch(value: Any, kind: str) -> str | None:
    """Describe a value that is not a component of a kind, with the remedy; return None if it is one."""
    if isinstance(value, UnbuiltComponent):
        return None
    if isinstance(value, type):
        complete = _members(kind) <= set(dir(value)) and not undefined_members(value, kind)
        remedy = f"; call it: {value.__name__}()" if complete and value.__module__.startswith("rlcl.") else ""
        return f"the class {value.__name__}{remedy}"
    required = _protocol_of(kind).__abstractmethods__  # in Python, members with a default may be missing
    missing = [name for name in missing_members(value, kind) if name in required or not required]
    if not missing and (callable(value) or "__call__" not in vars(_protocol_of(kind))):
        return None
    if value is None or isinstance(value, str | int | float):
        return repr(value)
    name = "a function" if isinstance(value, types.FunctionType) else f"an instance of {type(value).__name__}"
    return f"{name}, which {missing_members_message(kind, missing)}" if missing else f"{name}, which is not callable"


def undefined_members(target: Any, kind: str) -> list[str]:
    """Return the abstract members that a subclass of its kind's protocol does not define."""
    undefined: frozenset[str] = target.__abstractmethods__ if inspect.isabstract(target) else frozenset()
    return sorted(undefined & _members(kind))


def missing_members(component: object, kind: str) -> list[str]:
    """Return the members of a kind's protocol that a component does not have."""
    has = set(dir(type(component))) | set(getattr(component, "__dict__", ()))
    return sorted(_members(kind) - has)


def signature_mismatch(component: object, kind: str) -> str | None:
    """Describe a function of a component that cannot be called with the arguments of its kind's protocol, or None."""
    protocol = _protocol_of(kind)
    for name in sorted(_members(kind)):
        declared, own = inspect.getattr_static(protocol, name, None), getattr(component, name, None)
        if not inspect.isfunction(declared) or not callable(own):
            continue
        _, *parameters = inspect.signature(declared).parameters.values()
        positional = [None for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        keywords = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
        try:
            inspect.signature(own).bind(*positional, **keywords)
        except TypeError:
            written = ", ".join(str(p.replace(annotation=p.empty)) for p in parameters)
            return f"{name} must take the arguments ({written}); see rlcl.types.{protocol.__name__}"
        except ValueError:  # a function without a signature
            continue
    return None


def missing_members_message(kind: str, missing: list[str]) -> str:
    """Return a message that lists missing members and the remedy.

    The remedy is to define them, or to derive the class from the protocol if it has defaults for them.
    """
    protocol = _protocol_of(kind)
    required = protocol.__abstractmethods__ or missing
    needed = [name for name in missing if name in required]
    message = f"lacks {', '.join(needed or missing)}, which every {kind} has"
    if needed == missing:
        return f"{message}; see rlcl.types"
    defaults = "defaults for the rest" if needed else "a default" if len(missing) == 1 else "defaults"
    return f"{message}; derive the class from rlcl.types.{protocol.__name__}, which has {defaults}"


def _members(kind: str) -> set[str]:
    """Return the public names of a kind's protocol."""
    bases = _protocol_of(kind).__mro__[:-1]
    names = {name for base in bases for name in (*vars(base), *inspect.get_annotations(base))}
    return {name for name in names if not name.startswith("_")}


def _protocol_of(kind: str) -> Any:
    return next((protocol for protocol, k in PROTOCOLS.items() if k == kind), Protocol)
