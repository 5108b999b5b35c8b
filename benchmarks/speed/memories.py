"""Measure the time of an insertion into a full memory for several capacities, and the size of the memory.

The memories contain 1,000 to 1,000,000 images of 8 x 8 bytes with a label; one thread. Ten images at a time are
inserted into a memory that has just been filled, so that nearly all of them are written. This is the slowest state of a
memory, and it is restored before each round. Capacities alternate. The output contains the median over the rounds, also
relative to that of the smallest capacity. Larger memories do not fit into the processor's caches, which may affect
their times.

    python benchmarks/speed/memories.py
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from interleaved import RESULTS

from rlcl.methods.memories.class_balanced import BalancedMemory
from rlcl.methods.memories.memory import Memory
from rlcl.methods.memories.reservoir import ReservoirMemory

CAPACITIES = (1_000, 10_000, 100_000, 1_000_000)
ITEM = 64 + 8  # bytes of an image and its label
BATCH, INSERTIONS, ROUNDS = 10, 10, 41

MEMORIES: Mapping[str, Callable[[int], Memory]] = {
    "reservoir": lambda capacity: ReservoirMemory(capacity, np.random.default_rng(0)),
    "class_balanced": lambda capacity: BalancedMemory(capacity, np.random.default_rng(0)),
}


def items(count: int, seed: int) -> dict[str, torch.Tensor]:
    """Sample random images (N, 1, 8, 8) uint8 with labels of ten classes."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "inputs": torch.randint(256, (count, 1, 8, 8), dtype=torch.uint8, generator=generator),
        "targets": torch.randint(10, (count,), generator=generator),
    }


def filled(make: Callable[[int], Memory], capacity: int) -> Memory:
    """Return a memory that has just been filled."""
    memory, offered = make(capacity), items(capacity, 0)
    memory.insert(**offered)
    assert len(memory) == capacity
    return memory


def microseconds(memory: Memory, full: Mapping[str, Any], offered: dict[str, torch.Tensor]) -> float:
    """Measure the microseconds per item of successive insertions, from the state in which the memory became full."""
    memory.load_state_dict(full)
    memory.insert(**offered)  # warms up
    started = time.process_time()
    for _ in range(INSERTIONS):
        memory.insert(**offered)
    return 1e6 * (time.process_time() - started) / (INSERTIONS * BATCH)


def main() -> None:
    torch.set_num_threads(1)
    offered = items(BATCH, 1)
    rows = {}
    print(f"{'memory':16} {'capacity':>10} {'us an item':>11} {'beside 1,000':>13} {'bytes an item':>14}")
    for name, make in MEMORIES.items():
        memories = {capacity: filled(make, capacity) for capacity in CAPACITIES}
        states = {capacity: memory.state_dict() for capacity, memory in memories.items()}
        times = [[microseconds(m, states[c], offered) for c, m in memories.items()] for _ in range(ROUNDS)]
        medians = dict(zip(CAPACITIES, np.median(times, axis=0).tolist(), strict=True))
        smallest = medians[CAPACITIES[0]]
        for capacity, memory in memories.items():
            median = medians[capacity]
            each = memory.bytes / capacity
            assert each == ITEM
            rows[f"{name} {capacity}"] = {"ratio": median / smallest, "bytes_an_item": each}
            print(f"{name:16} {capacity:10,} {median:11.2f} {median / smallest:13.2f} {each:14.0f}")
    content = {"command": "python benchmarks/speed/memories.py", "torch": torch.__version__, "rows": rows}
    (RESULTS / "speed_memories.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
