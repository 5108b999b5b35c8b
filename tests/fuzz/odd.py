"""Values, texts and bytes that nobody expects, and where to put them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

__all__ = ["VALUES", "deep", "mutated_bytes", "places", "put", "values_for"]

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    0.0,
    0.5,
    -0.5,
    1.5,
    1e-300,
    1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
    10**6,
    10**9,
    10**12,
    10**15,
    2**63 - 1,
    2**63,
    -(2**63),
    10**30,
    10**400,
    "",
    " ",
    "x",
    "0",
    "1e3",
    "null",
    "é",
    "a\u0000b",
    "\u202e",
    "[/]",
    "[bold]",
    "{0}",
    "%s",
    "x" * 300,
    "y" * 5000,
    "/",
    "..",
    "no/such/file.py:Class",
    "os:system",
    "os.path:join",
    "json:dumps",
    "rlcl:run",
    [],
    {},
    [[]],
    [None],
    [1, 2, 3],
    ["a", 1],
    {"type": "x"},
    {"type": None},
    {"extends": None},
    {"": 1},
    {1: 2},
    {"a": {"b": {"c": 1}}},
)


def deep(levels: int) -> list[Any]:
    """Lists within each other."""
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


def values_for(rng: random.Random, value: Any) -> Any:
    """Something else in the place of a value, near to it or far from it."""
    if rng.random() < 0.6 and isinstance(value, int | float) and not isinstance(value, bool):
        return rng.choice((value + 1, value - 1, -value, value * 2, value * 1000, value / 3, str(value), [value]))
    if rng.random() < 0.3 and isinstance(value, bool):
        return not value
    if rng.random() < 0.2 and isinstance(value, str):
        return rng.choice((value + "x", value[:-1], value.upper(), [value], {"type": value}, value[::-1]))
    if rng.random() < 0.03:
        return deep(rng.choice((30, 50, 200)))
    return rng.choice(VALUES)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values within a tree."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        yield (*path, key)
        yield from places(value, (*path, key))


def put(rng: random.Random, tree: Any) -> tuple[Any, str]:
    """A tree with one thing changed in it, and what."""
    every = list(places(tree))
    if not every or rng.random() < 0.01:
        value = rng.choice(VALUES)
        return value, f"all becomes {value!r:.80}"
    path = rng.choice(every)
    node = tree
    for key in path[:-1]:
        node = node[key]
    key, how = path[-1], rng.random()
    if how < 0.15:
        del node[key]
        return tree, f"{path} is gone"
    if how < 0.22 and isinstance(node, dict):
        name = rng.choice((f"{key}x", str(key)[:-1], "type", "x", "", 1, None))
        node[name] = node.pop(key)
        return tree, f"{path} is called {name!r}"
    if how < 0.25 and isinstance(node, list):
        node.append(node[key])
        return tree, f"{path} stands twice"
    node[key] = values_for(rng, node[key])
    return tree, f"{path} becomes {node[key]!r:.80}"


def mutated_bytes(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Bytes that were damaged, and how."""
    made, how = bytearray(data), rng.random()
    if not made or how < 0.03:
        return rng.choice((b"", b"\x00", b"\xff\xfe", b"\n" * 9, rng.randbytes(200), b"[" * 10_000)), "replaced"
    if how < 0.25:
        cut = rng.randrange(len(made))
        return bytes(made[:cut]), f"cut at {cut}"
    if how < 0.6:
        at = [rng.randrange(len(made)) for _ in range(rng.choice((1, 1, 2, 5, 40)))]
        for place in at:
            made[place] = rng.randrange(256)
        return bytes(made), f"changed at {at}"
    if how < 0.7:
        at, more = rng.randrange(len(made) + 1), rng.choice((b"\x00", b"\n", b",", b'"', rng.randbytes(9), b"1e999"))
        return bytes(made[:at]) + more + bytes(made[at:]), f"{more!r} put in at {at}"
    if how < 0.85:
        start, size = rng.randrange(len(made)), rng.choice((1, 2, 8, 100))
        return bytes(made[:start] + made[start + size :]), f"{size} bytes left out at {start}"
    start, size = rng.randrange(len(made)), rng.choice((1, 8, 100))
    return bytes(made[:start] + made[start : start + size] + made[start:]), f"{size} bytes repeated at {start}"
