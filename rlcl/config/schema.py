"""JSON schema of a config, for editors."""

from __future__ import annotations

import enum
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from attrs import NOTHING

from rlcl import registry
from rlcl.config.aliases import aliases_of
from rlcl.config.components import Component, Setting, is_settings_group, settings, unstructure
from rlcl.config.descriptions import descriptions
from rlcl.config.rules import Rule, fixed_length, is_mapping, is_sequence, item_hint, kind_of, union_members, value_hint
from rlcl.errors import Problem

__all__ = ["json_schema"]

_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_BY_REFERENCE = {"type": "string", "pattern": ":"}  # package.module:Class or file.py:Class

Schema = dict[str, Any]


def json_schema(cls: Any) -> Schema:
    """Return the JSON schema (draft 2020-12) of a config class, with all registered components.

    Args:
        cls: an attrs class of settings.
    """
    definitions: Schema = {}
    top = _group(cls, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": cls.__name__,
        **top,
        "$defs": definitions,
    }


def _group(cls: Any, definitions: Schema, title: str = "") -> Schema:
    fields, texts = settings(cls), descriptions(cls)
    schema: Schema = {
        "type": "object",
        "properties": {s.name: _property(s, texts.get(s.name), definitions) for s in fields if not s.extra},
        "additionalProperties": any(s.extra for s in fields),
    }
    for name, alias in aliases_of(cls).items():
        setting = schema["properties"].get(alias.setting, {}) if alias.convert is None else {}
        allowed = {key: value for key, value in setting.items() if key not in ("default", "description")}
        schema["properties"][name] = {**allowed, "description": f"another name of {alias.setting}"}
    if required := [s.name for s in fields if s.default is None]:
        schema["required"] = required
    if title:
        schema["title"] = title
    return schema


def _property(setting: Setting, description: str | None, definitions: Schema) -> Schema:
    schema = _any_of(setting.hint, setting.rule, definitions)
    default = NOTHING if setting.default is None else setting.default()
    if isinstance(default, Component):  # options without a type change the default component
        name = f"{default.kind}.{default.type}"
        if name in definitions:
            schema = {"anyOf": [schema, {"$ref": f"#/$defs/{name}"}]}
    if default is not NOTHING:
        schema = {**schema, "default": _finite(unstructure(default))}
    return {**schema, "description": description} if description else schema


def _finite(value: Any) -> Any:
    """Return infinity as text, since JSON does not support it."""
    return str(value) if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


def _any_of(hint: Any, rule: Rule, definitions: Schema) -> Schema:
    parts = [_member(member, rule, definitions) for member in union_members(hint)]
    return parts[0] if len(parts) == 1 else {"anyOf": parts}


def _member(member: Any, rule: Rule, definitions: Schema) -> Schema:
    if (kind := kind_of(member)) is not None:
        return _kind(kind, definitions)
    if get_origin(member) is Literal:
        return {"enum": list(get_args(member))}
    if is_sequence(member):
        return _list(member, rule, definitions)
    if is_mapping(member):
        return {"type": "object", "additionalProperties": _any_of(value_hint(member), rule, definitions)}
    if is_settings_group(member):
        return _reference(f"group.{member.__name__}", definitions, lambda: _group(member, definitions))
    if isinstance(member, type) and issubclass(member, enum.Enum):
        return {"enum": [item.value for item in member]}
    return _scalar(member, rule)


def _scalar(member: Any, rule: Rule) -> Schema:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string", NoneType: "null"}
    schema: Schema = {"type": names[member]} if member in names else {}
    if member in (int, float):
        schema |= {_BOUNDS[name]: bound for name, bound in rule.bounds.items()}
    if member is str and rule.pattern is not None:
        schema["pattern"] = f"^(?:{rule.pattern[0]})$"
    return {"enum": list(rule.choices)} if rule.choices is not None and member is not NoneType else schema


def _list(member: Any, rule: Rule, definitions: Schema) -> Schema:
    if (size := fixed_length(member)) is not None:
        items = [_any_of(item_hint(member, index), rule, definitions) for index in range(size)]
        return {"type": "array", "prefixItems": items, "minItems": size, "maxItems": size}
    return {"type": "array", "items": _any_of(item_hint(member, 0), rule, definitions)}


def _kind(kind: str, definitions: Schema) -> Schema:
    """Return the schema of a component: a registered name with or without options, or ``module:Class``."""
    return _reference(kind, definitions, lambda: _components(kind, definitions))


def _components(kind: str, definitions: Schema) -> Schema:
    options: list[Schema] = [
        {"type": "object", "properties": {"type": _BY_REFERENCE}, "required": ["type"]},
        _BY_REFERENCE,
    ]
    for name in registry.entries(kind):
        try:
            schema = _group(registry.find(kind, name), definitions, title=name)
        except Problem:  # it needs a package that is not installed
            schema = {"type": "object", "properties": {}, "title": name}
        schema["properties"] = {**schema["properties"], "type": {"const": name}, "extends": {"type": "null"}}
        definitions[f"{kind}.{name}"] = schema
        options.append({"allOf": [{"$ref": f"#/$defs/{kind}.{name}"}, {"required": ["type"]}]})
        if "required" not in schema:
            options.append({"const": name})
    if kind == "encoder":
        options.append({"type": "array", "items": {"$ref": "#/$defs/encoder"}})
    return {"anyOf": options}


def _reference(name: str, definitions: Schema, make: Any) -> Schema:
    if name not in definitions:
        definitions[name] = {}  # a kind may contain itself
        definitions[name] = make()
    return {"$ref": f"#/$defs/{name}"}
