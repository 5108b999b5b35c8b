"""Results of a costly function that never changes, kept by what they were computed from."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import torch
from attrs import define, field
from torch import Tensor

__all__ = ["Remembered"]


@define(eq=False)
class Remembered:
    """Keeps the results of the rows that were asked for last.

    A row is known by a digest of its bytes, not by where it lies: sources make new tensors whenever
    they are read, and the same image may be in many experiences. So nothing kept is ever stale.

    Args:
        capacity: rows that are kept; the one not asked for longest leaves first. 0 keeps nothing.
    """

    capacity: int
    _rows: OrderedDict[bytes, Tensor] = field(init=False, factory=OrderedDict)

    def __call__(self, x: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """What ``compute`` makes of each row.

        Args:
            x: (B, *shape).
            compute: from (M, *shape) to (M, *result), row by row; always the same function.

        Returns:
            (B, *result), of memory of its own.
        """
        if not self.capacity:
            return compute(x)
        keys = [_digest(row) for row in x.cpu()]
        missing = {key: place for place, key in enumerate(keys) if key not in self._rows}
        found = {key: self._rows[key] for key in keys if key in self._rows}
        if missing:
            fresh = compute(x[list(missing.values())])
            found |= {key: row.clone() for key, row in zip(missing, fresh, strict=True)}
        for key in keys:
            self._rows[key] = found[key]
            self._rows.move_to_end(key)
        while len(self._rows) > self.capacity:
            self._rows.popitem(last=False)
        return torch.stack([found[key] for key in keys])


def _digest(row: Tensor) -> bytes:
    content = row.contiguous().flatten().view(torch.uint8).numpy().data
    return hashlib.blake2b(content, digest_size=16, person=str(row.dtype).encode()[:16]).digest()
