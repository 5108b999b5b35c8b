"""Measure the time of an update with each method, compared with fine-tuning on the same minibatches.

Split MNIST, MLP 400-400, Adam, batch 128, one thread. Every method is trained on the first experience and timed within
the second one. The methods alternate after a few updates each. The figures do not include the cost of boundaries.

    python benchmarks/speed/step.py [rounds]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import attrs
import torch
from interleaved import ratio, report

from rlcl.data.readers.torchvision import Mnist
from rlcl.encoders.scale import Scale
from rlcl.evaluation.plan import Plan
from rlcl.learners.optimizers import Adam
from rlcl.learners.supervised.classifier import Classifier
from rlcl.methods.a_gem import AGem
from rlcl.methods.der import Der, DerPlusPlus
from rlcl.methods.ewc import Ewc
from rlcl.methods.gem import Gem
from rlcl.methods.l2 import L2
from rlcl.methods.lwf import Lwf
from rlcl.methods.mas import Mas
from rlcl.methods.mir import Mir
from rlcl.methods.rehearsal import Rehearsal
from rlcl.methods.rwalk import RWalk
from rlcl.methods.si import Si
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.training.trainer import Trainer
from rlcl.types import Budget

HIDDEN, BATCH, CHUNK, ROUNDS = (400, 400), 128, 10, 60

# The maximum time of an update relative to fine-tuning; None if there is no requirement.
METHODS: dict[str, tuple[Any, float | None]] = {
    "fine-tuning": (None, None),
    "l2": (L2(), 1.15),
    "ewc": (Ewc(samples=100), 1.15),
    "si": (Si(), 1.25),
    "mas": (Mas(samples=100), None),
    "rwalk": (RWalk(), None),
    "lwf": (Lwf(), 2.3),
    "rehearsal": (Rehearsal(capacity=500, batch_size=BATCH), 2.1),
    "der": (Der(capacity=500, batch_size=BATCH), None),
    "der_plus_plus": (DerPlusPlus(capacity=500, batch_size=BATCH), None),
    "mir": (Mir(capacity=500, batch_size=BATCH, candidates=2 * BATCH), None),
    "a_gem": (AGem(capacity=500, batch_size=BATCH), 2.1),
    "gem, one past experience": (Gem(per_experience=BATCH), None),
}
STREAM = ClassIncremental(data=Mnist(), experiences=2).make(Seeds(0), Budget(updates=20))


def updates(method: Any) -> Iterator[Any]:
    """Train on the first experience, and return an iterator of updates on the second one."""
    methods = () if method is None else (method,)
    learner = Classifier(network=Mlp(hidden=HIDDEN), optimizer=Adam(lr=1e-3), batch_size=BATCH, methods=methods)
    first, second = Trainer(learner, STREAM, Plan(every="end", before=False), encoder=Scale(maximum=255.0))._experiences
    for _ in learner.learn(first):
        pass
    return iter(learner.learn(attrs.evolve(second, budget=Budget(updates=10**6))))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    torch.set_num_threads(1)
    running = {name: updates(method) for name, (method, _) in METHODS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for turn in range(rounds + 1):
        for name in METHODS if turn % 2 else reversed(METHODS):
            started = time.perf_counter()
            for _ in range(CHUNK):
                next(running[name])
            if turn:
                seconds[name].append(time.perf_counter() - started)
    rows = {name: ratio(seconds, "fine-tuning", name) for name in METHODS if name != "fine-tuning"}
    targets = {name: limit for name, (_, limit) in METHODS.items()}
    report("speed_step", rows, targets, f"python benchmarks/speed/step.py {rounds}", "at most")


if __name__ == "__main__":
    main()
