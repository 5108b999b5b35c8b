"""Measure the speed of the classifier with trainer, events and evaluation, compared with a bare PyTorch loop.

Both sides do the same work: they start from the same data in memory, use the same optimizer and one thread, and
evaluate all of R at each boundary. Ours reads, encodes and shuffles each experience within the measured time. The bare
loop starts with encoded tensors.

    python benchmarks/speed/classifier.py [repetitions]
"""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F  # noqa: N812
from interleaved import measure, ratio, report
from torch import Tensor

from rlcl.data.readers.scikit import Digits
from rlcl.data.readers.torchvision import Mnist
from rlcl.encoders.scale import Scale
from rlcl.evaluation.plan import Plan
from rlcl.learners.optimizers import Sgd
from rlcl.learners.supervised.classifier import Classifier
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.stream import Stream
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, DataSet

Tensors = list[tuple[Tensor, Tensor]]


def bare(train: Tensors, test: Tensors, hidden: tuple[int, ...], batch_size: int, epochs: int, lr: float) -> Tensor:
    """Train and evaluate with the loop that a researcher would write by hand."""
    network = Mlp(hidden=hidden).build(tuple(train[0][0].shape[1:]), 10, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    rows = []
    for x, y in train:
        for _ in range(epochs):
            order = torch.randperm(len(x))
            for start in range(0, len(x), batch_size):
                chosen = order[start : start + batch_size]
                optimizer.zero_grad()
                loss = F.cross_entropy(network(x[chosen]), y[chosen])
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            rows.append([float((network(a).argmax(1) == b).float().mean()) for a, b in test])
    return torch.tensor(rows)


def ours(stream: Stream, maximum: float, hidden: tuple[int, ...], batch_size: int, lr: float) -> Tensor:
    learner = Classifier(network=Mlp(hidden=hidden), optimizer=Sgd(lr=lr), batch_size=batch_size)
    return torch.tensor(Trainer(learner, stream, Plan(before=False), encoder=Scale(maximum=maximum)).fit().R)


def compare(
    data: DataSet, maximum: float, hidden: tuple[int, ...], batch_size: int, epochs: int, n: int
) -> dict[str, float]:
    stream = ClassIncremental(data=data).make(Seeds(0), Budget(epochs=epochs))
    train: Tensors = [_encoded(e.train, maximum) for e in stream]
    test: Tensors = [_encoded(e.test, maximum) for e in stream]
    results: dict[str, Tensor] = {}
    lr = 0.03

    def run_ours() -> None:
        results["ours"] = ours(stream, maximum, hidden, batch_size, lr)

    def run_bare() -> None:
        results["bare"] = bare(train, test, hidden, batch_size, epochs, lr)

    seconds = measure({"ours": run_ours, "bare": run_bare}, n)
    difference = float((results["ours"].mean(1) - results["bare"].mean(1)).abs().max())
    assert difference < 0.1, f"not the same work: rows of R differ by {difference:.2f}"
    return ratio(seconds, "ours", "bare")


def _encoded(source: object, maximum: float) -> tuple[Tensor, Tensor]:
    x, y = source.read()  # type: ignore[attr-defined]
    return x.float() / maximum, y


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    torch.set_num_threads(1)
    rows = {
        "Split MNIST, MLP 400-400, batch 128": compare(Mnist(), 255.0, (400, 400), 128, 1, n),
        "digits, MLP 64-64, batch 32": compare(Digits(), 16.0, (64, 64), 32, 20, n),
    }
    targets = dict(zip(rows, (0.95, 0.88), strict=True))
    report("speed_classifier", rows, targets, f"python benchmarks/speed/classifier.py {n}")


if __name__ == "__main__":
    main()
