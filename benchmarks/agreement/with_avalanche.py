"""Methods of rlcl beside Avalanche's of the same name, through the same trainer, stream, network and optimizer.

Digits arrive two classes at a time. The initial weights of a seed are equal; minibatches are drawn by
each side's own generator, so that single runs differ, and means over seeds should agree within their
standard errors. Methods that differ by definition (how a memory is mixed in) differ by that. (A script of
the name avalanche.py would hide the package from itself.)

    python benchmarks/agreement/with_avalanche.py [seeds] [pair ...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from attrs import frozen

from rlcl.encoders.standardize import Standardize
from rlcl.evaluation.plan import Plan
from rlcl.learners.avalanche import Avalanche
from rlcl.learners.classifier import Classifier
from rlcl.learners.optimizers import Sgd
from rlcl.methods.rehearsal import Rehearsal
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.training.trainer import Outcome, Trainer
from rlcl.types import Budget, Learner, Method

SHARED: Mapping[str, Any] = {"network": Mlp(hidden=(100,)), "optimizer": Sgd(lr=0.05), "batch_size": 32}
EXPERIENCES, EPOCHS, MEMORY = 5, 5, 200


@frozen
class Pair:
    """The same method from both sides; Avalanche's is one strategy and its options."""

    ours: Callable[[], Sequence[Method]]
    strategy: str
    options: Mapping[str, Any] = {}


PAIRS: Mapping[str, Pair] = {
    "naive": Pair(tuple, "Naive"),
    # Theirs draws as many old examples as new ones for a minibatch.
    "replay": Pair(lambda: [Rehearsal(capacity=MEMORY, batch_size=32)], "Replay", {"mem_size": MEMORY}),
}


def run(learner: Learner, seed: int) -> Outcome:
    """One run on split digits."""
    stream = ClassIncremental(experiences=EXPERIENCES).make(Seeds(seed), Budget(epochs=EPOCHS))
    return Trainer(learner, stream, Plan(before=False), encoder=Standardize(), seed=seed).fit()


def compare(name: str, pair: Pair, seeds: int) -> None:
    """Prints the last row of R and its mean for both sides, over seeds."""
    sides: Mapping[str, Callable[[], Learner]] = {
        "rlcl": lambda: Classifier(methods=tuple(pair.ours()), **SHARED),
        "avalanche": lambda: Avalanche(strategy=pair.strategy, options=pair.options, **SHARED),
    }
    for side, make in sides.items():
        rows = np.stack([run(make(), seed).R[-1] for seed in range(seeds)])
        means = rows.mean(1)
        error = means.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else float("nan")
        cells = "  ".join(f"{value:.3f}" for value in rows.mean(0))
        print(f"{name:10} {side:10} {cells}   mean {means.mean():.4f}, standard error {error:.4f}")


def main() -> None:
    """Compares the pairs that are named, all by default."""
    torch.set_num_threads(1)
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for name in sys.argv[2:] or PAIRS:
        compare(name, PAIRS[name], seeds)


if __name__ == "__main__":
    main()
