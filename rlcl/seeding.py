"""Random generators derived from one seed per run, and the state of the global generators.

rlcl samples from its own generators. Only torch's layers (weight initialization, dropout) and
Stable-Baselines3 use the global ones; their states are seeded, saved and restored here.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from attrs import frozen

__all__ = ["Seeds", "global_state", "load_global_state", "preserved_global_state", "seed_globals"]


@frozen
class Seeds:
    """A node in a tree of seeds.

    Its random numbers depend only on the seed and the names on its path, and not on other nodes.

    Args:
        seed: the run's seed, at least 0.
        path: names of the nodes from the root to this node.
    """

    seed: int
    path: tuple[str, ...] = ()

    def child(self, name: str) -> Seeds:
        """Return the child node with a name."""
        return Seeds(self.seed, (*self.path, name))

    def sequence(self) -> np.random.SeedSequence:
        """Return NumPy's SeedSequence of this node; its spawn key is the CRC-32 of each name."""
        return np.random.SeedSequence(self.seed, spawn_key=tuple(zlib.crc32(name.encode()) for name in self.path))

    def integer(self) -> int:
        """Return an integer in [0, 2**31)."""
        return int(self.sequence().generate_state(1)[0]) >> 1

    def numpy(self) -> np.random.Generator:
        """Return a NumPy generator of this node."""
        return np.random.default_rng(self.sequence())

    def torch(self, device: str = "cpu") -> torch.Generator:
        """Return a torch generator of this node on a device."""
        return torch.Generator(device=device).manual_seed(self.integer())


def seed_globals(seeds: Seeds) -> None:
    """Seed the global generators of torch, NumPy and Python, for libraries that use them."""
    torch.manual_seed(seeds.child("torch").integer())
    np.random.seed(seeds.child("numpy").integer())
    random.seed(seeds.child("python").integer())


def global_state() -> dict[str, Any]:
    """Return the state of all global generators as tensors and plain values."""
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
    """Restore a state that :func:`global_state` returned."""
    torch.set_rng_state(state["torch"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def reproducible_backward(rows: int) -> AbstractContextManager[None]:
    """Return a context in which the gradient of a network with convolutions is the same in each run.

    With several threads, the gradient of a convolution with respect to one image differs in its last bits from run to
    run (torch 2.13, oneDNN). One example is therefore computed in one thread.

    Args:
        rows: number of examples in the pass.
    """
    return _single_thread() if rows == 1 and torch.get_num_threads() > 1 else nullcontext()


@contextmanager
def _single_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def preserved_global_state() -> Iterator[None]:
    """Restore the state of the global generators on exit, so that evaluation does not change training."""
    state = global_state()
    try:
        yield
    finally:
        load_global_state(state)
