"""Measure the cost of evaluation within experiences, compared with a bare PyTorch loop of the same forward passes.

Our cost is the time of a run with ``evaluation.every: {updates: N}`` on the seen experiences, minus that of the same
run with evaluation at boundaries only. It is measured in processor time, because other work on the machine would affect
the difference twice. The bare loop starts with encoded test sets, and with its network in evaluation mode. Our
evaluation needs an additional 0.15 ms per test set (switching modes, reading and encoding inputs, a record) and 0.1 ms
per evaluation (the state of NumPy's global generator). This overhead is large compared with the forward pass of 72
digits, and small compared with that of 2,000 images of MNIST.

    python benchmarks/speed/evaluation.py [repetitions]
"""

from __future__ import annotations

import sys
import time

import torch
from interleaved import measure, ratio, report
from torch import Tensor

from rlcl.data.readers.scikit import Digits
from rlcl.data.readers.torchvision import Mnist
from rlcl.encoders.scale import Scale
from rlcl.evaluation.outcome import Outcome
from rlcl.evaluation.plan import EvaluationInterval, Plan
from rlcl.learners.optimizers import Sgd
from rlcl.learners.supervised.classifier import Classifier
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.stream import Stream
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, DataSet


def ours(stream: Stream, maximum: float, hidden: tuple[int, ...], batch_size: int, plan: Plan) -> Outcome:
    learner = Classifier(network=Mlp(hidden=hidden), optimizer=Sgd(lr=0.03), batch_size=batch_size)
    return Trainer(learner, stream, plan, encoder=Scale(maximum=maximum)).fit()


@torch.no_grad()
def bare(test: list[tuple[Tensor, Tensor]], hidden: tuple[int, ...], evaluations: list[int]) -> list[float]:
    """Compute the accuracies on the first n test sets, for each n in ``evaluations``."""
    network = Mlp(hidden=hidden).build(tuple(test[0][0].shape[1:]), 10, 1).eval()
    return [float((network(x).argmax(1) == y).float().mean()) for seen in evaluations for x, y in test[:seen]]


def compare(
    data: DataSet, maximum: float, hidden: tuple[int, ...], batch_size: int, epochs: int, every: int, n: int
) -> dict[str, float]:
    stream = ClassIncremental(data=data).make(Seeds(0), Budget(epochs=epochs))
    test = [(x.float() / maximum, y) for x, y in (e.test.read() for e in stream)]  # type: ignore[union-attr]
    intervals = EvaluationInterval(updates=every), "experience"
    within, boundaries = (Plan(before=False, on="seen", every=interval) for interval in intervals)
    many, few = (ours(stream, maximum, hidden, batch_size, plan) for plan in (within, boundaries))
    steps = {(r.step, r.trained_on) for r in many.records} - {(r.step, r.trained_on) for r in few.records}
    evaluations = [trained_on + 1 for _, trained_on in sorted(steps)]
    seconds = measure(
        {
            "within": lambda: ours(stream, maximum, hidden, batch_size, within),
            "boundaries": lambda: ours(stream, maximum, hidden, batch_size, boundaries),
            "bare": lambda: bare(test, hidden, evaluations),
        },
        n,
        time.process_time,
    )
    extra = [a - b for a, b in zip(seconds["within"], seconds["boundaries"], strict=True)]
    return ratio({"ours": extra, "bare": seconds["bare"]}, "ours", "bare")


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    torch.set_num_threads(1)
    rows = {
        "Split MNIST, MLP 400-400, every 10 updates": compare(Mnist(), 255.0, (400, 400), 128, 1, 10, n),
        "digits, MLP 64-64, every 2 updates": compare(Digits(), 16.0, (64, 64), 32, 20, 2, n),
    }
    targets = dict(zip(rows, (0.8, 0.15), strict=True))
    report("speed_evaluation", rows, targets, f"python benchmarks/speed/evaluation.py {n}")


if __name__ == "__main__":
    main()
