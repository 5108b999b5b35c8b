"""One config changed by another: what is merged, what is replaced, and what a component of another type keeps.

The rule is one for files that extend others, for suites and for the command line. Mappings are merged; all else is
replaced. A component of another type keeps all settings that stand beside its type: those that the new type has as well
hold for it, too, and one that it lacks is refused, unless it is set to null. A mapping with ``extends: null`` takes
nothing over: it replaces what stood there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import Factory, define, frozen

from rlcl.config.faults import Fault, Key, key_path
from rlcl.errors import Problem
from rlcl.types import UNITS

__all__ = ["Merged", "Retyped", "joined", "nulled", "told", "unmarked"]

Path = tuple[Key, ...]
_NAMED = 3  # settings that a new type lacks, in a message


@frozen
class Retyped:
    """A change of a component's type.

    Args:
        old, new: the types.
        keys: the settings that were written for the old one.
    """

    old: str
    new: str
    keys: frozenset[Any]


@define
class Merged:
    """What merging did.

    Args:
        replaced: key paths at which the new value took the old one's place.
        retyped: by key path, the components whose type was changed.
    """

    replaced: list[Path] = Factory(list)
    retyped: dict[Path, Retyped] = Factory(dict)

    def replaces(self, path: Path) -> bool:
        """Whether what stood at a path is gone."""
        return any(path[: len(gone)] == gone for gone in self.replaced)

    def merge(self, base: Any, over: Any, path: Path) -> Any:
        """Mappings are merged, all else is replaced."""
        if isinstance(base, str) and isinstance(over, Mapping) and over:
            base = {"type": base}  # the shorthand of a component without options
        if isinstance(base, Mapping) and isinstance(over, str) and base and not _is_amount(base):
            over = {"type": over}
        mappings = isinstance(base, Mapping) and isinstance(over, Mapping)
        if not mappings or _is_whole(over) or (_is_amount(base) and _is_amount(over)):
            self.replaced.append(path)
            return over
        if "type" in over and base and base.get("type") != over["type"]:
            old = str(base.get("type", "the default"))
            self.retyped[path] = Retyped(old, str(over["type"]), frozenset(base.keys() - {"type"}))
        both = {key: self.merge(base[key], over[key], (*path, key)) for key in base.keys() & over.keys()}
        return {**base, **over, **both}

    def put(self, node: Any, path: Path, value: Any, done: Path = ()) -> tuple[Any, Path]:
        """The node changed by one value within it, and the value's path with indices as integers."""
        if not path:
            return self.merge(node, value, done), done
        key, rest, where = path[0], path[1:], key_path((*done, path[0]))
        if not rest and key == "extends" and value is None:
            raise Problem(f"it stands beside the type; write {key_path(done) or 'key'}={{extends: null, ...}}", where)
        if isinstance(node, list):
            if not isinstance(key, int) or key >= len(node):
                raise Problem(f"there is no such item; {key_path(done)} has {len(node)}, counted from 0", where)
            item, at = self.put(node[key], rest, value, (*done, key))
            return [*node[:key], item, *node[key + 1 :]], at
        if node is not None and not isinstance(node, str | Mapping):
            raise Problem(f"{key_path(done)} is {node!r}, which has no keys", where)
        if isinstance(key, int) and not node:
            raise Problem(f"{key_path(done)} has no items; give the whole list", where)
        if not rest and key in ("type", *UNITS):
            return self.merge(node, {key: value}, done), (*done, key)
        old, key = {"type": node} if isinstance(node, str) else dict(node or {}), str(key)
        old[key], at = self.put(old.get(key), rest, value, (*done, key))
        return old, at


def joined(before: Mapping[Path, Retyped], after: Mapping[Path, Retyped]) -> dict[Path, Retyped]:
    """Two changes of types, one after the other."""
    twice = {
        path: Retyped(before[path].old, after[path].new, before[path].keys | after[path].keys)
        for path in before.keys() & after.keys()
    }
    return {**before, **after, **twice}


def told(faults: Iterable[Fault], retyped: Mapping[Path, Retyped]) -> Iterator[Fault]:
    """The faults, those of one component whose new type lacks settings of the old one as one."""
    lacking: dict[Path, list[str]] = {}
    for fault in faults:
        if _is_left(fault, retyped):
            lacking.setdefault(fault.path[:-1], []).append(str(fault.path[-1]))
        else:
            yield fault
    for path, keys in lacking.items():
        yield Fault((*path, "type"), _lacks(retyped[path], keys))


def _lacks(change: Retyped, keys: list[str]) -> str:
    """What is wrong and what to write; of many keys, such as those of a resolved config, the first ones alone."""
    more = len(keys) - _NAMED
    named = ", ".join(keys) if more <= 0 else f"{', '.join(keys[:_NAMED])} and {more} more"
    nulls = "".join(f", {key}: null" for key in keys)
    left_out = f"{{type: {change.new}{nulls}}} to leave {'it' if len(keys) == 1 else 'them'} out, or "
    return (
        f"{change.new} has no setting {named}, which {change.old} was given; write {left_out if more <= 0 else ''}"
        f"{{extends: null, type: {change.new}}} to take over nothing of {change.old}"
    )


def nulled(data: Any, faults: Iterable[Fault], retyped: Mapping[Path, Retyped]) -> Any:
    """The data without settings that a new type lacks and that are null; the same object where there are none."""
    for fault in faults:
        if _is_left(fault, retyped):
            data = _without(data, fault.path)
    return data


def _is_left(fault: Fault, retyped: Mapping[Path, Retyped]) -> bool:
    return fault.unknown and fault.path[:-1] in retyped and fault.path[-1] in retyped[fault.path[:-1]].keys


def _without(node: Any, path: Path) -> Any:
    """The node without the value at a path where that is null."""
    key, rest = path[0], path[1:]
    if not rest:
        return node if node[key] is not None else {k: v for k, v in node.items() if k != key}
    inner = _without(node[key], rest)
    if inner is node[key]:
        return node
    if isinstance(node, list):
        return [inner if index == key else item for index, item in enumerate(node)]
    return {**node, key: inner}


def _is_whole(node: Any) -> bool:
    """Whether a mapping says that it takes nothing over."""
    return isinstance(node, Mapping) and "extends" in node and node["extends"] is None


def unmarked(node: Any) -> Any:
    """The node without marks that there is nothing to take over."""
    if isinstance(node, list):
        return [unmarked(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    return {key: unmarked(item) for key, item in node.items() if key != "extends" or item is not None}


def _is_amount(node: Mapping[Any, Any]) -> bool:
    """Whether it is a budget, of which there can be but one unit: a new one replaces the old."""
    return bool(node) and set(node) <= set(UNITS)
