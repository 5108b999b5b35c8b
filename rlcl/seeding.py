"""One seed a run, children spawned by name, and generator state in and out.

Nothing in rlcl draws from a global generator, except torch's own layers (weight initialisation,
dropout) and Stable-Baselines3; those global states are seeded, saved and restored here.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from attrs import frozen

__all__ = ["Seeds", "global_state", "load_global_state", "preserved_global_state", "seed_globals"]


@frozen
class Seeds:
    """A tree of seeds: the same names give the same numbers, whatever else is drawn.

    Args:
        seed: the run's seed, at least 0.
        path: names of the branches from the root to here.
    """

    seed: int
    path: tuple[str, ...] = ()

    def child(self, name: str) -> Seeds:
        """The branch of that name."""
        return Seeds(self.seed, (*self.path, name))

    def sequence(self) -> np.random.SeedSequence:
        """NumPy's SeedSequence of this node, its spawn key being the checksum of each name."""
        return np.random.SeedSequence(self.seed, spawn_key=tuple(zlib.crc32(name.encode()) for name in self.path))

    def integer(self) -> int:
        """A whole number in [0, 2**31)."""
        return int(self.sequence().generate_state(1)[0]) >> 1

    def numpy(self) -> np.random.Generator:
        return np.random.default_rng(self.sequence())

    def torch(self, device: str = "cpu") -> torch.Generator:
        return torch.Generator(device=device).manual_seed(self.integer())


def seed_globals(seeds: Seeds) -> None:
    """Seeds the global generators of torch, NumPy and Python, for libraries that use them."""
    torch.manual_seed(seeds.child("torch").integer())
    np.random.seed(seeds.child("numpy").integer())
    random.seed(seeds.child("python").integer())


def global_state() -> dict[str, Any]:
    """The state of every global generator, as tensors and plain values."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def load_global_state(state: Mapping[str, Any]) -> None:
    """Restores what :func:`global_state` gave."""
    torch.set_rng_state(state["torch"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def preserved_global_state() -> Iterator[None]:
    """Leaves the global generators as they were: evaluating must not change training."""
    state = global_state()
    try:
        yield
    finally:
        load_global_state(state)
