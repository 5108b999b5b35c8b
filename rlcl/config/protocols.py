"""What the protocol of each kind of component asks for, and what an object lacks of it."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Any, Protocol

import rlcl.types
from rlcl.errors import Problem

__all__ = [
    "PROTOCOLS",
    "Unbuilt",
    "check_component",
    "expected_kind",
    "lacks",
    "missing_members",
    "no_component",
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
    rlcl.types.Learner: "learner",
    rlcl.types.Method: "method",
    rlcl.types.Metric: "metric",
    rlcl.types.Probe: "probe",
    rlcl.types.Sink: "sink",
    rlcl.types.Launcher: "launcher",
}


class Unbuilt:
    """A component by name, not yet built; whether it is of the kind that is asked for was checked as it was read."""


def expected_kind(kind: str) -> str:
    """A kind of component with its article."""
    return {"data": "a data set"}.get(kind, f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}")


def check_component(value: Any, kind: str, where: str) -> None:
    """
    Raises:
        Problem: a value is no component of a kind.
    """
    if (reason := no_component(value, kind)) is not None:
        raise Problem(f"expected {expected_kind(kind)}, got {reason}", where)


def no_component(value: Any, kind: str) -> str | None:
    """What a value is that is no component of a kind, with the remedy; None where it is one."""
    if isinstance(value, Unbuilt):
        return None
    if isinstance(value, type):
        complete = _members(kind) <= set(dir(value)) and not undefined_members(value, kind)
        remedy = f"; call it: {value.__name__}()" if complete and value.__module__.startswith("rlcl.") else ""
        return f"the class {value.__name__}{remedy}"
    required = _protocol_of(kind).__abstractmethods__  # what has a default may be lacking in Python
    missing = [name for name in missing_members(value, kind) if name in required or not required]
    if not missing and (callable(value) or "__call__" not in vars(_protocol_of(kind))):
        return None
    if value is None or isinstance(value, str | int | float):
        return repr(value)
    called = "a function" if isinstance(value, types.FunctionType) else f"an instance of {type(value).__name__}"
    return f"{called}, which {lacks(kind, missing)}" if missing else f"{called}, which cannot be called"


def undefined_members(target: Any, kind: str) -> list[str]:
    """What a class that derives from its kind's protocol leaves undefined, so that it cannot be constructed."""
    undefined: frozenset[str] = target.__abstractmethods__ if inspect.isabstract(target) else frozenset()
    return sorted(undefined & _members(kind))


def missing_members(component: object, kind: str) -> list[str]:
    """What the protocol of a kind asks for and a component lacks, by name."""
    has = set(dir(type(component))) | set(getattr(component, "__dict__", ()))
    return sorted(_members(kind) - has)


def lacks(kind: str, missing: list[str]) -> str:
    """What is missing, and the remedy: to define it, or to derive from the protocol, which has defaults."""
    protocol = _protocol_of(kind)
    required = protocol.__abstractmethods__ or missing
    needed = [name for name in missing if name in required]
    told = f"lacks {', '.join(needed or missing)}, which every {kind} has"
    if needed == missing:
        return f"{told}; see rlcl.types"
    defaults = "defaults for the rest" if needed else "a default" if len(missing) == 1 else "defaults"
    return f"{told}; derive the class from rlcl.types.{protocol.__name__}, which has {defaults}"


def _members(kind: str) -> set[str]:
    """The public names that the protocol of a kind asks for."""
    bases = _protocol_of(kind).__mro__[:-1]
    names = {name for base in bases for name in (*vars(base), *inspect.get_annotations(base))}
    return {name for name in names if not name.startswith("_")}


def _protocol_of(kind: str) -> Any:
    return next((protocol for protocol, k in PROTOCOLS.items() if k == kind), Protocol)
