"""Compare methods of rlcl with Avalanche's methods of the same name, with the same definition and the same trainer.

Avalanche's strategies run unmodified (the learner ``avalanche``, whose weights equal those of a plain script, bit for
bit). Stream, network, initial weights, optimizer and minibatch size of a seed are equal on both sides. Each side
samples minibatches and memories with its own generator. Single runs therefore differ, and means over seeds should agree
within the spread of the seeds. docs/reference/methods.md describes the differences between the default definitions;
here both sides are set to the same definition. (A script named avalanche.py could not import the package avalanche.)

    python benchmarks/agreement/with_avalanche.py [seeds] [stream ...]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen

from rlcl.data.avalanche_import import import_avalanche
from rlcl.data.readers.torchvision import Mnist
from rlcl.encoders.scale import Scale
from rlcl.evaluation.plan import Plan
from rlcl.learners.avalanche.learner import Avalanche
from rlcl.learners.optimizers import Sgd
from rlcl.learners.supervised.classifier import Classifier
from rlcl.methods.ewc import Ewc
from rlcl.methods.lwf import Lwf
from rlcl.methods.rehearsal import Rehearsal
from rlcl.methods.si import Si
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.permuted import Permuted
from rlcl.streams.stream import Stream
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, Learner, Method

RESULTS = Path(__file__).parents[1] / "results" / "agreement_avalanche.json"
MEMORY, EWC, SI, LWF = 256, 10.0, 50.0, 1.0  # MEMORY is a multiple of the minibatch sizes: see docs/results.md


@frozen
class Setting:
    """A stream, and the settings of the learners on it."""

    stream: Callable[[int], Stream]
    maximum: float
    network: Mlp
    optimizer: Sgd
    batch_size: int


SETTINGS: Mapping[str, Setting] = {
    "split digits": Setting(
        lambda seed: ClassIncremental(experiences=5).make(Seeds(seed), Budget(epochs=5)),
        16.0,
        Mlp(hidden=(100,)),
        Sgd(lr=0.05),
        32,
    ),
    "permuted digits": Setting(
        lambda seed: Permuted(experiences=5).make(Seeds(seed), Budget(epochs=10)),
        16.0,
        Mlp(hidden=(100,)),
        Sgd(lr=0.1),
        32,
    ),
    "Split MNIST": Setting(
        lambda seed: ClassIncremental(data=Mnist(), experiences=5).make(Seeds(seed), Budget(epochs=1)),
        255.0,
        Mlp(hidden=(100, 100)),
        Sgd(lr=0.05),
        128,
    ),
}


@frozen
class Pair:
    """The same method on both sides: ours for a minibatch size, and Avalanche's strategy with options and plugins."""

    ours: Callable[[int], Sequence[Method]]
    strategy: str
    options: Mapping[str, Any] = {}
    plugins: Sequence[Mapping[str, Any]] = ()


RESERVOIR = {"type": "ReservoirSamplingBuffer", "max_size": MEMORY}
PAIRS: Mapping[str, Pair] = {
    "naive": Pair(lambda n: (), "Naive"),
    "replay": Pair(
        lambda n: [Rehearsal(capacity=MEMORY, batch_size=n, fill="experience")],
        "Naive",
        plugins=({"type": "ReplayPlugin", "mem_size": MEMORY, "storage_policy": RESERVOIR},),
    ),
    "ewc": Pair(
        lambda n: [Ewc(strength=2 * EWC, fisher="batch", batch_size=n, samples=None)],
        "EWC",
        {"ewc_lambda": EWC},
    ),
    "si": Pair(
        lambda n: [Si(strength=SI / 2, epsilon=1e-7, highest=1e-3, gradient="penalized")],
        "SynapticIntelligence",
        {"si_lambda": SI},
    ),
    "lwf": Pair(lambda n: [Lwf(strength=LWF)], "LwF", {"alpha": LWF, "temperature": 2}),
}


def mend_si() -> None:
    """Make Avalanche's SI copy its old weights. On a CPU they are a view of the current ones, so SI has no effect."""
    import_avalanche()
    from avalanche.training.plugins import SynapticIntelligencePlugin

    def copied(model: torch.nn.Module, target: Any, excluded: Any) -> None:
        for name, parameter in model.named_parameters():
            target[name].data = parameter.detach().flatten().clone()

    SynapticIntelligencePlugin.extract_weights = staticmethod(copied)


def run(learner: Learner, setting: Setting, seed: int) -> np.ndarray[Any, Any]:
    """Return R (T, T) of one run."""
    encoder = Scale(maximum=setting.maximum)
    r: np.ndarray[Any, Any] = (
        Trainer(learner, setting.stream(seed), Plan(before=False), encoder=encoder, seed=seed).fit().R
    )
    return r


def compare(setting: Setting, pair: Pair, seeds: int) -> dict[str, Any]:
    """Compute R of both sides over seeds, and the differences between the sides."""
    n = setting.batch_size
    shared: Mapping[str, Any] = {"network": setting.network, "optimizer": setting.optimizer, "batch_size": n}
    sides: Mapping[str, Callable[[], Learner]] = {
        "rlcl": lambda: Classifier(methods=tuple(pair.ours(n)), **shared),
        "avalanche": lambda: Avalanche(
            strategy=pair.strategy, options=pair.options, plugins=tuple(pair.plugins), **shared
        ),
    }
    found = {side: np.stack([run(make(), setting, seed) for seed in range(seeds)]) for side, make in sides.items()}
    ours, theirs = (found[side][:, -1].mean(1) for side in sides)
    spread = float(np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / 2))
    lower = np.tril_indices(found["rlcl"].shape[1])  # experiences that have been trained on
    apart = np.abs(found["rlcl"].mean(0) - found["avalanche"].mean(0))[lower]
    spreads = np.sqrt((found["rlcl"].var(0, ddof=1) + found["avalanche"].var(0, ddof=1)) / 2)[lower]
    return {
        "ours": float(ours.mean()),
        "theirs": float(theirs.mean()),
        "spread": spread,
        "standard_error": float(np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / seeds)),
        "cells": len(apart),
        "cells_within_spread": int((apart <= np.maximum(spreads, 0.01)).sum()),
        "largest_cell": float(apart.max()),
        "R_ours": found["rlcl"].mean(0).round(4).tolist(),
        "R_theirs": found["avalanche"].mean(0).round(4).tolist(),
    }


def main() -> None:
    """Compare every pair of methods on the named streams, by default on all."""
    torch.set_num_threads(1)
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    mend_si()
    rows: dict[str, Any] = json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() else {}
    print(f"{'stream':16} {'method':8} {'rlcl':>7} {'avalanche':>10} {'spread':>8} {'error':>8} {'cells within':>14}")
    for stream in sys.argv[2:] or SETTINGS:
        for name, pair in PAIRS.items():
            started = time.perf_counter()
            row = compare(SETTINGS[stream], pair, seeds)
            rows[f"{stream}, {name}"] = {**row, "seeds": seeds}
            cells = f"{row['cells_within_spread']} of {row['cells']}"
            apart = abs(row["ours"] - row["theirs"])
            verdict = "" if apart <= max(2 * row["standard_error"], 0.005) else "  apart"
            print(
                f"{stream:16} {name:8} {row['ours']:7.4f} {row['theirs']:10.4f} {row['spread']:8.4f} "
                f"{row['standard_error']:8.4f} {cells:>14}{verdict}  ({time.perf_counter() - started:.0f} s)",
                flush=True,
            )
            content = {"command": "python benchmarks/agreement/with_avalanche.py", "rows": rows}
            RESULTS.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
