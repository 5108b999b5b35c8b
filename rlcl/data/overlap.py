"""Detection of equal rows by hashing."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["count_duplicates", "find_copies", "row_hashes"]

Array = np.ndarray[Any, Any]

CHUNK = 1 << 20  # bytes hashed at a time, so that they stay in the CPU cache


def row_hashes(inputs: Tensor) -> Array:
    """Compute hashes (N,) uint64 of rows (N, *observation) on the CPU; equal bytes have equal hashes.

    Different rows can have equal hashes, but rarely; :func:`find_copies` compares the rows themselves.
    """
    rows = np.ascontiguousarray(inputs.numpy()).reshape(len(inputs), inputs.shape[1:].numel()).view(np.uint8)
    width = -(-rows.shape[1] // 8)
    keys = np.random.default_rng(0).integers(1, 2**63, size=width, dtype=np.uint64) | np.uint64(1)
    hashes = np.empty(len(rows), np.uint64)
    step = max(CHUNK // (8 * width), 1)
    words = np.zeros((min(step, len(rows)), 8 * width), np.uint8)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        words[: len(part), : part.shape[1]] = part
        mixed = words[: len(part)].view(np.uint64) * keys
        # The high bits of a product depend on all bits of its word. They are folded down before the words are added.
        mixed ^= mixed >> np.uint64(32)
        mixed *= keys[::-1]
        mixed ^= mixed >> np.uint64(29)
        hashes[start : start + step] = mixed.sum(1, dtype=np.uint64)
    return hashes


def find_copies(train: Tensor, test: Tensor) -> Array:
    """Find the test rows that equal a training row, bit for bit.

    Args:
        train: (N, *observation).
        test: (M, *observation) of the same type.

    Returns:
        (K, 2) int64: the index of each such test row, and of the first training row that it equals.
    """
    if train.dtype != test.dtype:
        return np.empty((0, 2), np.int64)
    train_hashes, test_hashes = row_hashes(train), row_hashes(test)
    distinct, first = np.unique(train_hashes, return_index=True)
    positions = np.minimum(np.searchsorted(distinct, test_hashes), len(distinct) - 1)
    (rows,) = np.nonzero(distinct[positions] == test_hashes)
    pairs = np.stack([rows, first[positions[rows]]], 1).astype(np.int64)
    return pairs[[_same(test[a], train[b]) for a, b in pairs.tolist()]] if len(pairs) else pairs


def count_duplicates(inputs: Tensor) -> int:
    """Count the rows that equal an earlier row."""
    return len(inputs) - len(np.unique(row_hashes(inputs)))


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(np.array_equal(np.atleast_1d(a.numpy()).view(np.uint8), np.atleast_1d(b.numpy()).view(np.uint8)))
