"""Rows that are the same, found by hashing them."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["copies", "duplicates", "row_hashes"]

Array = np.ndarray[Any, Any]

CHUNK = 1 << 20  # bytes hashed at a time: what stays in the cache is fastest


def row_hashes(inputs: Tensor) -> Array:
    """(N,) uint64 of rows (N, *observation) on the CPU: equal bytes give equal hashes.

    Rows that differ seldom agree; :func:`copies` compares them, so that none is told wrongly.
    """
    rows = np.ascontiguousarray(inputs.numpy()).reshape(len(inputs), inputs.shape[1:].numel()).view(np.uint8)
    width = -(-rows.shape[1] // 8)
    keys = np.random.default_rng(0).integers(1, 2**63, size=width, dtype=np.uint64) | np.uint64(1)
    found = np.empty(len(rows), np.uint64)
    step = max(CHUNK // (8 * width), 1)
    words = np.zeros((min(step, len(rows)), 8 * width), np.uint8)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        words[: len(part), : part.shape[1]] = part
        mixed = words[: len(part)].view(np.uint64) * keys
        # The high bits of a product depend on all bits of its word: folded down before the words are added.
        mixed ^= mixed >> np.uint64(32)
        mixed *= keys[::-1]
        mixed ^= mixed >> np.uint64(29)
        found[start : start + step] = mixed.sum(1, dtype=np.uint64)
    return found


def copies(train: Tensor, test: Tensor) -> Array:
    """(K, 2) int64 of each test row that equals a training row, bit for bit, and the first such training row.

    Args:
        train: (N, *observation).
        test: (M, *observation) of the same type.
    """
    if train.dtype != test.dtype:
        return np.empty((0, 2), np.int64)
    ours, theirs = row_hashes(train), row_hashes(test)
    known, first = np.unique(ours, return_index=True)
    places = np.minimum(np.searchsorted(known, theirs), len(known) - 1)
    (rows,) = np.nonzero(known[places] == theirs)
    pairs = np.stack([rows, first[places[rows]]], 1).astype(np.int64)
    return pairs[[_same(test[a], train[b]) for a, b in pairs.tolist()]] if len(pairs) else pairs


def duplicates(inputs: Tensor) -> int:
    """How many rows equal an earlier one."""
    return len(inputs) - len(np.unique(row_hashes(inputs)))


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(np.array_equal(np.atleast_1d(a.numpy()).view(np.uint8), np.atleast_1d(b.numpy()).view(np.uint8)))
