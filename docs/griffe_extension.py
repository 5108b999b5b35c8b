"""Griffe extension for the API reference: parameters of attrs classes and named tuples, references in docstrings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from griffe import (
    Attribute,
    Class,
    Expr,
    ExprCall,
    ExprKeyword,
    Extension,
    Function,
    Module,
    Parameter,
    ParameterKind,
    Parameters,
)

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([^`]+)`")
DECORATORS = frozenset({"attrs.define", "attrs.frozen"})


class ApiReference(Extension):
    """Adds an ``__init__`` with one parameter per field to each attrs class and named tuple.

    References of Sphinx become code, since the reference is written in Markdown.
    """

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Rewrite the references in a docstring; griffe calls this method for each object."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Visit all classes of a loaded package; griffe calls this method."""
        for cls in list(_classes(pkg)):
            if _has_fields(cls) and "__init__" not in cls.members:
                fields = {
                    p.name: p for parent in [*reversed(cls.mro()), cls] if _has_fields(parent) for p in _fields(parent)
                }
                self_ = Parameter("self", kind=ParameterKind.positional_or_keyword)
                init = Function(
                    "__init__", lineno=0, endlineno=0, parent=cls, parameters=Parameters(self_, *fields.values())
                )
                cls.set_member("__init__", init)


def _classes(parent: Module | Class) -> Iterator[Class]:
    for member in parent.members.values():
        if not member.is_alias and isinstance(member, Module | Class):
            if isinstance(member, Class):
                yield member
            yield from _classes(member)


def _has_fields(cls: Any) -> bool:
    paths = {d.value.canonical_path for d in cls.decorators if isinstance(d.value, Expr)}
    return bool(paths & DECORATORS) or any(base.canonical_path == "typing.NamedTuple" for base in cls.bases)


def _fields(cls: Any) -> Iterator[Parameter]:
    """Yield the parameters of a class's own fields, in order."""
    for member in cls.members.values():
        if member.is_alias or not isinstance(member, Attribute) or "instance-attribute" not in member.labels:
            continue
        if member.annotation is None or "property" in member.labels:
            continue
        arguments = list(member.value.arguments) if isinstance(member.value, ExprCall) else []
        keywords = {a.name: a.value for a in arguments if isinstance(a, ExprKeyword)}
        if str(keywords.get("init")) == "False":
            continue
        positional = [a for a in arguments if not isinstance(a, ExprKeyword)]
        default = member.value
        if isinstance(member.value, ExprCall) and member.value.canonical_path.rpartition(".")[2] in ("field", "option"):
            default = (positional or [keywords.get("default")])[0]
        if "factory" in keywords:
            default = ExprCall(keywords["factory"], [])
        yield Parameter(
            member.name.lstrip("_"), annotation=member.annotation, kind=ParameterKind.keyword_only, default=default
        )
