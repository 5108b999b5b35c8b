"""Measure the speed of naive training, rehearsal and evaluation, compared with Avalanche and with a bare PyTorch loop.

Split MNIST, MLP 400-400, SGD, batch 128, one thread, no evaluation within training. Ours and Avalanche start from the
bytes of MNIST and encode within the measured time: Avalanche with its own SplitMNIST, as in its documentation, and ours
with class_incremental over mnist. "From tensors" passes the encoded float tensors of the bare loops to Avalanche, the
fastest input that it accepts. Avalanche's evaluator has no loggers.

    python benchmarks/speed/continual.py [repetitions]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from interleaved import measure, ratio, report
from split_mnist import (
    LARGE,
    LR,
    TEST,
    TRAIN,
    avalanche_modules,
    benchmark_of,
    network,
    ours,
    split_mnist,
    theirs,
)
from torch import nn

from rlcl.methods.memories.reservoir import reservoir_slots
from rlcl.methods.rehearsal import Rehearsal

BATCH, CAPACITY = LARGE.batch, 500
TARGETS = {"naive training": 3.0, "rehearsal 500": 2.5, "evaluation": 3.0}
LIMIT = 0.9  # required speed relative to the bare loop, for naive training


def bare() -> nn.Module:
    """Train with the loop that a researcher would write by hand."""
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), lr=LR)
    for x, y in TRAIN:
        order = torch.randperm(len(x))
        for start in range(0, len(x), BATCH):
            chosen = order[start : start + BATCH]
            optimizer.zero_grad()
            loss = F.cross_entropy(module(x[chosen]), y[chosen])
            loss.backward()
            optimizer.step()
    return module


def bare_rehearsal() -> nn.Module:
    """Train with the same loop and a reservoir, whose batch is concatenated with the minibatch."""
    module, rng = network(), np.random.default_rng(0)
    optimizer = torch.optim.SGD(module.parameters(), lr=LR)
    memory, labels, seen = torch.zeros(CAPACITY, 1, 28, 28), torch.zeros(CAPACITY, dtype=torch.int64), 0
    for x, y in TRAIN:
        order = torch.randperm(len(x))
        for start in range(0, len(x), BATCH):
            chosen = order[start : start + BATCH]
            a, b = x[chosen], y[chosen]
            joined, targets = a, b
            if seen:
                filled = min(seen, CAPACITY)
                drawn = torch.from_numpy(rng.choice(filled, min(BATCH, filled), replace=False))
                joined, targets = torch.cat((a, memory[drawn])), torch.cat((b, labels[drawn]))
            optimizer.zero_grad()
            loss = F.cross_entropy(module(joined), targets)
            loss.backward()
            optimizer.step()
            slots, rows = (torch.from_numpy(i) for i in reservoir_slots(seen, len(a), CAPACITY, rng))
            memory[slots], labels[slots] = a[rows], b[rows]
            seen += len(a)
    return module


@torch.no_grad()
def bare_evaluation(module: nn.Module) -> list[float]:
    module.eval()
    accuracies = [float((module(x).argmax(1) == y).float().mean()) for x, y in TEST]
    module.train()
    return accuracies


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    torch.set_num_threads(1)
    avalanche = avalanche_modules()
    own, tensors = split_mnist(avalanche), benchmark_of(avalanche)
    naive = measure(
        {
            "ours": ours,
            "theirs": lambda: theirs(avalanche, own, "Naive"),
            "from tensors": lambda: theirs(avalanche, tensors, "Naive"),
            "bare": bare,
        },
        n,
    )
    rehearsal = measure(
        {
            "ours": lambda: ours(Rehearsal(capacity=CAPACITY, batch_size=BATCH)),
            "theirs": lambda: theirs(avalanche, own, "Replay", mem_size=CAPACITY),
            "from tensors": lambda: theirs(avalanche, tensors, "Replay", mem_size=CAPACITY),
            "bare": bare_rehearsal,
        },
        n,
    )
    trained, module = ours(), bare()
    strategies = {"theirs": theirs(avalanche, own, "Naive"), "from tensors": theirs(avalanche, tensors, "Naive")}
    results: dict[str, list[float]] = {}

    def evaluate_ours() -> None:
        results["ours"] = [record.value for record in trained._evaluate(4)]

    def evaluate_theirs(name: str, benchmark: Any) -> None:
        found = strategies[name].eval(benchmark.test_stream)
        results[name] = [value for key, value in sorted(found.items()) if key.startswith("Top1_Acc_Exp")]

    def evaluate_bare() -> None:
        results["bare"] = bare_evaluation(module)

    evaluation = measure(
        {
            "ours": evaluate_ours,
            "theirs": lambda: evaluate_theirs("theirs", own),
            "from tensors": lambda: evaluate_theirs("from tensors", tensors),
            "bare": evaluate_bare,
        },
        3 * n,
    )
    for name, row in results.items():
        assert len(row) == 5, (name, row)
        assert abs(float(np.mean(row)) - float(np.mean(results["bare"]))) < 0.05, f"not the same work: {results}"
    rows, targets = {}, {}
    for work, seconds in (("naive training", naive), ("rehearsal 500", rehearsal), ("evaluation", evaluation)):
        for peer, words in (
            ("theirs", "Avalanche's"),
            ("from tensors", "Avalanche's from tensors"),
            ("bare", "bare loop"),
        ):
            rows[f"{work}, {words}"] = ratio(seconds, "ours", peer)
            targets[f"{work}, {words}"] = TARGETS[work] if peer == "theirs" else None
    targets["naive training, bare loop"] = LIMIT
    report("speed_continual", rows, targets, f"python benchmarks/speed/continual.py {n}")


if __name__ == "__main__":
    main()
