"""The JSON schema of a config, for editors."""

from __future__ import annotations

import enum
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from attrs import NOTHING

from rlcl import registry
from rlcl.config.components import Component, Setting, is_record, settings, unstructure
from rlcl.config.descriptions import descriptions
from rlcl.config.rules import Rule, arms, fixed_length, is_mapping, is_sequence, item_hint, kind_of, value_hint
from rlcl.errors import Problem

__all__ = ["json_schema"]

_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_ELSEWHERE = {"type": "string", "pattern": ":"}  # package.module:Class or file.py:Class

Schema = dict[str, Any]


def json_schema(cls: Any) -> Schema:
    """The JSON schema (draft 2020-12) of a config class, with every component that has a name.

    Args:
        cls: an attrs class of settings.
    """
    definitions: Schema = {}
    top = _record(cls, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": cls.__name__,
        **top,
        "$defs": definitions,
    }


def _record(cls: Any, definitions: Schema, title: str = "") -> Schema:
    fields, meanings = settings(cls), descriptions(cls)
    made: Schema = {
        "type": "object",
        "properties": {s.name: _property(s, meanings.get(s.name), definitions) for s in fields if not s.extra},
        "additionalProperties": any(s.extra for s in fields),
    }
    if required := [s.name for s in fields if s.default is None]:
        made["required"] = required
    if title:
        made["title"] = title
    return made


def _property(setting: Setting, meaning: str | None, definitions: Schema) -> Schema:
    made = _any_of(setting.hint, setting.rule, definitions)
    default = NOTHING if setting.default is None else setting.default()
    if isinstance(default, Component):  # options alone change the default component
        name = f"{default.kind}.{default.type}"
        if name in definitions:
            made = {"anyOf": [made, {"$ref": f"#/$defs/{name}"}]}
    if default is not NOTHING:
        made = {**made, "default": _finite(unstructure(default))}
    return {**made, "description": meaning} if meaning else made


def _finite(value: Any) -> Any:
    """JSON has no infinity."""
    return str(value) if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


def _any_of(hint: Any, rule: Rule, definitions: Schema) -> Schema:
    parts = [_arm(arm, rule, definitions) for arm in arms(hint)]
    return parts[0] if len(parts) == 1 else {"anyOf": parts}


def _arm(arm: Any, rule: Rule, definitions: Schema) -> Schema:
    if (kind := kind_of(arm)) is not None:
        return _kind(kind, definitions)
    if get_origin(arm) is Literal:
        return {"enum": list(get_args(arm))}
    if is_sequence(arm):
        return _list(arm, rule, definitions)
    if is_mapping(arm):
        return {"type": "object", "additionalProperties": _any_of(value_hint(arm), rule, definitions)}
    if is_record(arm):
        return _reference(f"group.{arm.__name__}", definitions, lambda: _record(arm, definitions))
    if isinstance(arm, type) and issubclass(arm, enum.Enum):
        return {"enum": [member.value for member in arm]}
    return _scalar(arm, rule)


def _scalar(arm: Any, rule: Rule) -> Schema:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string", NoneType: "null"}
    made: Schema = {"type": names[arm]} if arm in names else {}
    if arm in (int, float):
        made |= {_BOUNDS[name]: bound for name, bound in rule.bounds.items()}
    if arm is str and rule.pattern is not None:
        made["pattern"] = f"^(?:{rule.pattern[0]})$"
    return {"enum": list(rule.choices)} if rule.choices is not None and arm is not NoneType else made


def _list(arm: Any, rule: Rule, definitions: Schema) -> Schema:
    if (size := fixed_length(arm)) is not None:
        items = [_any_of(item_hint(arm, index), rule, definitions) for index in range(size)]
        return {"type": "array", "prefixItems": items, "minItems": size, "maxItems": size}
    return {"type": "array", "items": _any_of(item_hint(arm, 0), rule, definitions)}


def _kind(kind: str, definitions: Schema) -> Schema:
    """Any component of a kind: its name, its name with options, or one by ``module:Class``."""
    return _reference(kind, definitions, lambda: _components(kind, definitions))


def _components(kind: str, definitions: Schema) -> Schema:
    options: list[Schema] = [{"type": "object", "properties": {"type": _ELSEWHERE}, "required": ["type"]}, _ELSEWHERE]
    for name in registry.entries(kind):
        try:
            made = _record(registry.find(kind, name), definitions, title=name)
        except Problem:  # it needs a package that is not installed here
            made = {"type": "object", "properties": {}, "title": name}
        made["properties"] = {**made["properties"], "type": {"const": name}, "extends": {"type": "null"}}
        definitions[f"{kind}.{name}"] = made
        options.append({"allOf": [{"$ref": f"#/$defs/{kind}.{name}"}, {"required": ["type"]}]})
        if "required" not in made:
            options.append({"const": name})
    if kind == "encoder":
        options.append({"type": "array", "items": {"$ref": "#/$defs/encoder"}})
    return {"anyOf": options}


def _reference(name: str, definitions: Schema, make: Any) -> Schema:
    if name not in definitions:
        definitions[name] = {}  # a kind may hold itself
        definitions[name] = make()
    return {"$ref": f"#/$defs/{name}"}
