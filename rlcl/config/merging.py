"""Merging of configs, including changes of a component's type.

The same rules apply to files that extend others, to suites and to the command line. Mappings are merged; other values
are replaced. If the type of a component changes, its settings are kept: they apply to the new type, and a setting that
the new type does not have is an error, unless it is null. A mapping with ``extends: null`` replaces the former value
and is not merged with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import Factory, define, frozen

from rlcl.config.faults import Fault, Key, key_path
from rlcl.errors import Problem
from rlcl.types import UNITS

__all__ = ["ConfigMerger", "TypeChange", "combined_changes", "with_type_remedies", "without_markers", "without_nulls"]

Path = tuple[Key, ...]
_EVERY = ("evaluation", "every")  # a word or an interval, not a component
_MAX_LISTED = 3  # settings in one message


@frozen
class TypeChange:
    """A change of a component's type.

    Args:
        old, new: the types.
        keys: the settings of the old type.
    """

    old: str
    new: str
    keys: frozenset[Any]


@define
class ConfigMerger:
    """Merges configs, and records the replaced values and the changes of types.

    Args:
        replaced: key paths of the replaced values.
        type_changes: changes of a component's type, by key path.
    """

    replaced: list[Path] = Factory(list)
    type_changes: dict[Path, TypeChange] = Factory(dict)

    def replaces(self, path: Path) -> bool:
        """Return True if the former value at a path was replaced."""
        return any(path[: len(prefix)] == prefix for prefix in self.replaced)

    def merge(self, base: Any, over: Any, path: Path) -> Any:
        """Merge two mappings; replace any other value."""
        if isinstance(base, str) and isinstance(over, Mapping) and over and path[-2:] != _EVERY:
            base = {"type": base}  # the short form of a component without options
        if isinstance(base, Mapping) and isinstance(over, str) and base and not _is_budget(base):
            over = {"type": over}
        mappings = isinstance(base, Mapping) and isinstance(over, Mapping)
        if not mappings or _replaces_all(over) or (_is_budget(base) and _is_budget(over)):
            self.replaced.append(path)
            return over
        if "type" in over and base and base.get("type") != over["type"]:
            old = str(base.get("type", "the default"))
            self.type_changes[path] = TypeChange(old, str(over["type"]), frozenset(base.keys() - {"type"}))
        both = {key: self.merge(base[key], over[key], (*path, key)) for key in base.keys() & over.keys()}
        return {**base, **over, **both}

    def put(self, node: Any, path: Path, value: Any, parent: Path = ()) -> tuple[Any, Path]:
        """Set one value within a node; return the new node and the value's path with indices as integers."""
        if not path:
            return self.merge(node, value, parent), parent
        key, rest, where = path[0], path[1:], key_path((*parent, path[0]))
        if not rest and key == "extends" and value is None:
            name = key_path(parent) or "key"
            raise Problem(f"it must be set together with the type; write {name}={{extends: null, ...}}", where)
        if isinstance(node, list):
            if not isinstance(key, int) or key >= len(node):
                raise Problem(f"there is no such item; {key_path(parent)} has {len(node)}, counted from 0", where)
            item, full_path = self.put(node[key], rest, value, (*parent, key))
            return [*node[:key], item, *node[key + 1 :]], full_path
        if node is not None and not isinstance(node, str | Mapping):
            raise Problem(f"{key_path(parent)} is {node!r}, which has no keys", where)
        if isinstance(key, int) and not node:
            raise Problem(f"{key_path(parent)} has no items; set the whole list", where)
        if not rest and key in ("type", *UNITS):
            return self.merge(node, {key: value}, parent), (*parent, key)
        content, key = {"type": node} if isinstance(node, str) else dict(node or {}), str(key)
        content[key], full_path = self.put(content.get(key), rest, value, (*parent, key))
        return content, full_path


def combined_changes(before: Mapping[Path, TypeChange], after: Mapping[Path, TypeChange]) -> dict[Path, TypeChange]:
    """Return the changes of types of two consecutive merges."""
    both = {
        path: TypeChange(before[path].old, after[path].new, before[path].keys | after[path].keys)
        for path in before.keys() & after.keys()
    }
    return {**before, **after, **both}


def with_type_remedies(faults: Iterable[Fault], changes: Mapping[Path, TypeChange]) -> Iterator[Fault]:
    """Yield the faults; unknown settings that a component keeps from its old type become one fault with a remedy."""
    unknown: dict[Path, list[str]] = {}
    for fault in faults:
        if _is_of_old_type(fault, changes):
            unknown.setdefault(fault.path[:-1], []).append(str(fault.path[-1]))
        else:
            yield fault
    for path, keys in unknown.items():
        yield Fault((*path, "type"), _type_change_message(changes[path], keys))


def _type_change_message(change: TypeChange, keys: list[str]) -> str:
    """Return a message with the remedies; only the first keys are listed if there are many, as in a resolved config."""
    more = len(keys) - _MAX_LISTED
    listed = ", ".join(keys) if more <= 0 else f"{', '.join(keys[:_MAX_LISTED])} and {more} more"
    nulls = "".join(f", {key}: null" for key in keys)
    removal = f"{{type: {change.new}{nulls}}} to remove {'it' if len(keys) == 1 else 'them'}, or "
    return (
        f"{change.new} has no setting {listed}, which {change.old} has; write {removal if more <= 0 else ''}"
        f"{{extends: null, type: {change.new}}} to remove all settings of {change.old}"
    )


def without_nulls(data: Any, faults: Iterable[Fault], changes: Mapping[Path, TypeChange]) -> Any:
    """Return the data without null settings that a new type does not have; the same object if there are none."""
    for fault in faults:
        if _is_of_old_type(fault, changes):
            data = _without_null(data, fault.path)
    return data


def _is_of_old_type(fault: Fault, changes: Mapping[Path, TypeChange]) -> bool:
    return fault.unknown and fault.path[:-1] in changes and fault.path[-1] in changes[fault.path[:-1]].keys


def _without_null(node: Any, path: Path) -> Any:
    """Return the node without the value at a path if that is null."""
    key, rest = path[0], path[1:]
    if not rest:
        return node if node[key] is not None else {k: v for k, v in node.items() if k != key}
    inner = _without_null(node[key], rest)
    if inner is node[key]:
        return node
    if isinstance(node, list):
        return [inner if index == key else item for index, item in enumerate(node)]
    return {**node, key: inner}


def _replaces_all(node: Any) -> bool:
    """Return True if a mapping contains ``extends: null``."""
    return isinstance(node, Mapping) and "extends" in node and node["extends"] is None


def without_markers(node: Any) -> Any:
    """Return the node without ``extends: null``."""
    if isinstance(node, list):
        return [without_markers(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    return {key: without_markers(item) for key, item in node.items() if key != "extends" or item is not None}


def _is_budget(node: Mapping[Any, Any]) -> bool:
    """Return True if a mapping is a budget, which has one unit: a new unit replaces the old one."""
    return bool(node) and set(node) <= set(UNITS)
