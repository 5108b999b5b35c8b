"""Split MNIST for Avalanche, rlcl and bare loops, with the same network, optimizer and minibatch size.

SGD, one epoch per experience, classes in ascending order.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from rlcl.data.avalanche_import import import_avalanche
from rlcl.data.readers.torchvision import Mnist
from rlcl.data.root import data_root
from rlcl.encoders.scale import Scale
from rlcl.evaluation.plan import Plan
from rlcl.learners.optimizers import Sgd
from rlcl.learners.supervised.classifier import Classifier
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.training.trainer import Trainer
from rlcl.types import Budget

LR = 0.03

Tensors = list[tuple[Tensor, Tensor]]
STREAM = ClassIncremental(data=Mnist(), experiences=5).make(Seeds(0), Budget(epochs=1))


def encoded(source: Any) -> tuple[Tensor, Tensor]:
    x, y = source.read()
    return x.float() / 255, y


TRAIN: Tensors = [encoded(e.train) for e in STREAM]
TEST: Tensors = [encoded(e.test) for e in STREAM]


@frozen
class Work:
    """The settings that all contestants share.

    Args:
        hidden: units of the hidden layers of the network.
        batch: examples in a minibatch.
        experiences: number of experiences to train on, at most 5.
    """

    hidden: tuple[int, ...] = (400, 400)
    batch: int = 128
    experiences: int = 5


LARGE = Work()
SMALL = Work(hidden=(100, 100), batch=10, experiences=2)


def network(work: Work = LARGE) -> nn.Module:
    module: nn.Module = Mlp(hidden=work.hidden).build((1, 28, 28), 10, 1)
    return module


def trainer(*methods: Any, work: Work = LARGE) -> Trainer:
    network_ = Mlp(hidden=work.hidden)
    learner = Classifier(network=network_, optimizer=Sgd(lr=LR), batch_size=work.batch, methods=methods)
    return Trainer(learner, STREAM, Plan(every="end", before=False), encoder=Scale(maximum=255.0))


def ours(*methods: Any, work: Work = LARGE) -> Trainer:
    made = trainer(*methods, work=work)
    for experience in made._experiences[: work.experiences]:
        for _ in made.learner.learn(experience):
            pass
    return made


def avalanche_modules() -> Any:
    """Import Avalanche and the submodules that are used here, and return the package."""
    warnings.simplefilter("ignore")
    import_avalanche()
    import avalanche.benchmarks
    import avalanche.benchmarks.utils
    import avalanche.evaluation.metrics
    import avalanche.training
    import avalanche.training.plugins

    return avalanche


def benchmark_of(avalanche: Any) -> Any:
    """Return an Avalanche benchmark of the encoded tensors of the same experiences."""
    decorate = avalanche.benchmarks.utils._make_taskaware_classification_dataset
    train, test = (
        [decorate(TensorDataset(x, y), targets=y.tolist(), task_labels=0) for x, y in part] for part in (TRAIN, TEST)
    )
    return avalanche.benchmarks.dataset_benchmark(train, test)


def split_mnist(avalanche: Any) -> Any:
    """Return Avalanche's own SplitMNIST."""
    return avalanche.benchmarks.SplitMNIST(5, fixed_class_order=list(range(10)), dataset_root=str(data_root()))


def strategy_of(avalanche: Any, name: str, work: Work = LARGE, **options: Any) -> Any:
    plugins, metrics = avalanche.training.plugins, avalanche.evaluation.metrics
    module = network(work)
    return getattr(avalanche.training, name)(
        model=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=LR),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=work.batch,
        train_epochs=1,
        eval_mb_size=512,
        evaluator=plugins.EvaluationPlugin(metrics.accuracy_metrics(experience=True), loggers=[]),
        **options,
    )


def theirs(avalanche: Any, benchmark: Any, name: str, work: Work = LARGE, **options: Any) -> Any:
    strategy = strategy_of(avalanche, name, work, **options)
    for experience in benchmark.train_stream[: work.experiences]:
        strategy.train(experience)
    return strategy
