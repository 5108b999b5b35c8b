"""Update part of a bundle: the learner's state, with deletion of stored examples."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from rlcl.deploy.bundle import UPDATE, Bundle, seal
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.updating.added_experiences import load_added, save_added
from rlcl.deploy.updating.new_data import NewData
from rlcl.errors import BundleError, Problem
from rlcl.methods.memories.deletion import example_count, is_memory_state, without_rows
from rlcl.tracking.folder import disk_errors
from rlcl.training import checkpoint

__all__ = ["ExampleMemory", "forget", "memories", "parse_rows", "write_part"]


@frozen
class ExampleMemory:
    """Memory of examples in a learner's state.

    Args:
        name: path in the state, for example ``methods/0/memory``.
        rows: number of stored examples.
        columns: names of the stored arrays.
    """

    name: str
    rows: int
    columns: tuple[str, ...]


def write_part(folder: Path, state: Mapping[str, Any], added: Sequence[NewData] = ()) -> None:
    """Write a learner's state in the format of a checkpoint to a new folder, and write its checksums.

    Args:
        folder: folder of the update part; must not exist.
        state: state of the learner.
        added: data of earlier updates, whose held-out rows are stored.
    """
    checkpoint_folder = checkpoint.save(folder.with_name(f".{folder.name}.state"), 0, state)
    checkpoint_folder.rename(folder)
    checkpoint_folder.parent.rmdir()
    save_added(folder, added)
    seal(folder)


def memories(bundle: Bundle) -> list[ExampleMemory]:
    """Return all memories of examples of a bundle's learner.

    Raises:
        BundleError: the bundle has no update part, or the part is damaged.
    """
    states = _memory_states(checkpoint.load(bundle.update))
    return [ExampleMemory(name, example_count(state), tuple(state.get("columns", state))) for name, state in states]


def forget(bundle: Bundle, rows: Sequence[int], memory: str | None = None) -> int:
    """Delete rows of a memory permanently: the update part is rewritten without them.

    The network weights, which were trained on these rows, and the other files of the bundle do not change.

    Args:
        bundle: bundle with an update part.
        rows: indices of the examples in the memory, from 0.
        memory: name of the memory, see :func:`memories`; may be None if the bundle has only one.

    Returns:
        Number of remaining rows.

    Raises:
        BundleError: the memory or a row does not exist.
    """
    state = checkpoint.load(bundle.update)
    states = dict(_memory_states(state))
    if not states:
        raise BundleError(f"{bundle.path} stores no examples; there is nothing to delete")
    name = memory or next(iter(states))
    if name not in states or (memory is None and len(states) > 1):
        raise BundleError(f"--memory: expected one of {', '.join(states)}; got {memory}")
    count = example_count(states[name])
    invalid = sorted(row for row in set(rows) if not 0 <= row < count)
    if invalid:
        raise BundleError(f"--rows {invalid[0]}: expected rows of {name}, 0 to {count - 1}")
    new_state = _with_value_at(state, name.split("/"), without_rows(states[name], set(rows)))
    _replace_part(bundle.path, new_state)
    Deployment(bundle.path).audit("forget", {"bundle": bundle.digest, "memory": name, "rows": len(set(rows))})
    return count - len(set(rows))


def _replace_part(bundle: Path, state: Mapping[str, Any]) -> None:
    """Replace the update part and delete the old one; temporary folders are outside the bundle."""
    new, old = (bundle.with_name(f".{bundle.name}.{suffix}.{os.getpid()}") for suffix in ("new", "old"))
    with disk_errors(bundle):
        try:
            write_part(new, state, load_added(bundle / UPDATE))
            (bundle / UPDATE).rename(old)
            try:
                new.rename(bundle / UPDATE)
            except OSError:
                old.rename(bundle / UPDATE)
                raise
        finally:
            for temporary in (new, old):
                shutil.rmtree(temporary, ignore_errors=True)


def parse_rows(text: str) -> list[int]:
    """Parse row indices such as ``3,5-9``.

    Raises:
        Problem: the text has another form.
    """
    rows: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise Problem(f"--rows: expected integers and ranges such as 3,5-9, got {text!r}")
        rows.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    return rows


def _memory_states(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path and the state of every memory in a tree."""
    if is_memory_state(tree):
        yield "/".join(path), tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _memory_states(value, (*path, str(key)))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from _memory_states(value, (*path, str(index)))


def _with_value_at(tree: Any, path: Sequence[str], value: Any) -> Any:
    """Return a copy of a tree with another value at a path."""
    if not path:
        return value
    key, *rest = path
    if isinstance(tree, Mapping):
        return {k: _with_value_at(v, rest, value) if str(k) == key else v for k, v in tree.items()}
    return type(tree)(_with_value_at(v, rest, value) if str(i) == key else v for i, v in enumerate(tree))
