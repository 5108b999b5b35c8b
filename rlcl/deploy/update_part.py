"""The part of a bundle that updating alone needs: a learner's state, whose remembered examples can be deleted."""

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
from rlcl.deploy.updating.growing import added_to, save_added
from rlcl.deploy.updating.incoming import Incoming
from rlcl.errors import BundleError, Problem
from rlcl.methods.memories.deletion import is_memory, remembered, without_rows
from rlcl.tracking.folder import disk_errors
from rlcl.training import checkpoint

__all__ = ["Remembered", "forget", "memories", "parsed_rows", "write_part"]


@frozen
class Remembered:
    """A memory of examples in a learner's state.

    Args:
        name: its place in the state, for example ``methods/0/memory``.
        rows: examples in it.
        columns: names of what is kept of each.
    """

    name: str
    rows: int
    columns: tuple[str, ...]


def write_part(folder: Path, state: Mapping[str, Any], added: Sequence[Incoming] = ()) -> None:
    """Writes a learner's state as a checkpoint holds it, into a folder that is not there yet, and seals it.

    Args:
        folder: of the part.
        state: of the learner.
        added: what updates have learned, of which the held-out rows are kept.
    """
    written = checkpoint.save(folder.with_name(f".{folder.name}.state"), 0, state)
    written.rename(folder)
    written.parent.rmdir()
    save_added(folder, added)
    seal(folder)


def memories(bundle: Bundle) -> list[Remembered]:
    """Every memory of examples in a bundle's learner.

    Raises:
        BundleError: the bundle has no part for updating, or it is damaged.
    """
    found = _memories(checkpoint.load(bundle.update))
    return [Remembered(name, remembered(state), tuple(state.get("columns", state))) for name, state in found]


def forget(bundle: Bundle, rows: Sequence[int], memory: str | None = None) -> int:
    """Deletes rows of a memory for good: its tensors are written anew without them, and sealed again.

    What the weights have learned from them stays; so does what was exported beside the memory.

    Args:
        bundle: with its part for updating.
        rows: numbers from 0, as the memory holds its examples.
        memory: its name, see :func:`memories`; the only one by default.

    Returns:
        How many rows are left.

    Raises:
        BundleError: there is no such memory, or no such row.
    """
    state = checkpoint.load(bundle.update)
    found = dict(_memories(state))
    if not found:
        raise BundleError(f"{bundle.path} remembers no examples; there is nothing to delete")
    name = memory or next(iter(found))
    if name not in found or (memory is None and len(found) > 1):
        raise BundleError(f"--memory: expected one of {', '.join(found)}; got {memory}")
    count = remembered(found[name])
    beyond = sorted(row for row in set(rows) if not 0 <= row < count)
    if beyond:
        raise BundleError(f"--rows {beyond[0]}: {name} holds the rows 0 to {count - 1}")
    changed = _replaced(state, name.split("/"), without_rows(found[name], set(rows)))
    _exchange(bundle.path, changed)
    Deployment(bundle.path).audit("forget", {"bundle": bundle.digest, "memory": name, "rows": len(set(rows))})
    return count - len(set(rows))


def _exchange(bundle: Path, state: Mapping[str, Any]) -> None:
    """Puts a new part in the place of the old one, which is deleted; both lie outside of the bundle meanwhile."""
    new, old = (bundle.with_name(f".{bundle.name}.{what}.{os.getpid()}") for what in ("new", "old"))
    with disk_errors(bundle):
        try:
            write_part(new, state, added_to(bundle / UPDATE))
            (bundle / UPDATE).rename(old)
            try:
                new.rename(bundle / UPDATE)
            except OSError:
                old.rename(bundle / UPDATE)
                raise
        finally:
            for left in (new, old):
                shutil.rmtree(left, ignore_errors=True)


def parsed_rows(text: str) -> list[int]:
    """``3,5-9`` as whole numbers.

    Raises:
        Problem: it is something else.
    """
    rows: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if found is None or (found[2] and int(found[2]) < int(found[1])):
            raise Problem(f"--rows: expected whole numbers and ranges such as 3,5-9, got {text!r}")
        rows.extend(range(int(found[1]), int(found[2] or found[1]) + 1))
    return rows


def _memories(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Memories in a tree, each with its place."""
    if is_memory(tree):
        yield "/".join(path), tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _memories(value, (*path, str(key)))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from _memories(value, (*path, str(index)))


def _replaced(tree: Any, path: Sequence[str], value: Any) -> Any:
    """The tree with another value at a place."""
    if not path:
        return value
    key, *rest = path
    if isinstance(tree, Mapping):
        return {k: _replaced(v, rest, value) if str(k) == key else v for k, v in tree.items()}
    return type(tree)(_replaced(v, rest, value) if str(i) == key else v for i, v in enumerate(tree))
