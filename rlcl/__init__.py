"""Supervised, unsupervised, reinforcement and continual learning with one trainer.

Each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlcl.data.readers.scikit import Digits
    from rlcl.data.readers.torchvision import Mnist
    from rlcl.encoders.scale import Scale
    from rlcl.encoders.standardize import Standardize
    from rlcl.evaluation.plan import EvaluationInterval, Plan
    from rlcl.experiment import Experiment, load_experiment
    from rlcl.launch.seeds import run_experiment
    from rlcl.learners.optimizers import Adam, Sgd
    from rlcl.learners.reinforcement.dqn import Dqn
    from rlcl.learners.reinforcement.ppo import Ppo
    from rlcl.learners.reinforcement.sac import Sac
    from rlcl.learners.reinforcement.td3 import Td3
    from rlcl.learners.sb3.learner import StableBaselines3
    from rlcl.learners.supervised.classifier import Classifier
    from rlcl.learners.supervised.regressor import Regressor
    from rlcl.learners.unsupervised.autoencoder import Autoencoder
    from rlcl.methods.distill import Distill
    from rlcl.methods.ewc import Ewc
    from rlcl.methods.l2_init import L2Init
    from rlcl.methods.rehearsal import Rehearsal
    from rlcl.methods.si import Si
    from rlcl.networks.cnn import Cnn
    from rlcl.networks.mlp import Mlp
    from rlcl.protection.protect import protect
    from rlcl.seeding import Seeds
    from rlcl.streams.class_incremental import ClassIncremental
    from rlcl.streams.environments import Environments, EnvironmentTask
    from rlcl.training.trainer import Trainer
    from rlcl.types import Budget, Visibility

MODULES = {
    "Adam": "rlcl.learners.optimizers",
    "Autoencoder": "rlcl.learners.unsupervised.autoencoder",
    "Budget": "rlcl.types",
    "ClassIncremental": "rlcl.streams.class_incremental",
    "Classifier": "rlcl.learners.supervised.classifier",
    "Cnn": "rlcl.networks.cnn",
    "Digits": "rlcl.data.readers.scikit",
    "Distill": "rlcl.methods.distill",
    "Dqn": "rlcl.learners.reinforcement.dqn",
    "EnvironmentTask": "rlcl.streams.environments",
    "Environments": "rlcl.streams.environments",
    "EvaluationInterval": "rlcl.evaluation.plan",
    "Ewc": "rlcl.methods.ewc",
    "Experiment": "rlcl.experiment",
    "L2Init": "rlcl.methods.l2_init",
    "Mlp": "rlcl.networks.mlp",
    "Mnist": "rlcl.data.readers.torchvision",
    "Plan": "rlcl.evaluation.plan",
    "Ppo": "rlcl.learners.reinforcement.ppo",
    "Regressor": "rlcl.learners.supervised.regressor",
    "Rehearsal": "rlcl.methods.rehearsal",
    "Sac": "rlcl.learners.reinforcement.sac",
    "Scale": "rlcl.encoders.scale",
    "Seeds": "rlcl.seeding",
    "Sgd": "rlcl.learners.optimizers",
    "Si": "rlcl.methods.si",
    "StableBaselines3": "rlcl.learners.sb3.learner",
    "Standardize": "rlcl.encoders.standardize",
    "Td3": "rlcl.learners.reinforcement.td3",
    "Trainer": "rlcl.training.trainer",
    "Visibility": "rlcl.types",
    "load_experiment": "rlcl.experiment",
    "protect": "rlcl.protection.protect",
    "run_experiment": "rlcl.launch.seeds",
}

__all__ = [
    "Adam",
    "Autoencoder",
    "Budget",
    "ClassIncremental",
    "Classifier",
    "Cnn",
    "Digits",
    "Distill",
    "Dqn",
    "EnvironmentTask",
    "Environments",
    "EvaluationInterval",
    "Ewc",
    "Experiment",
    "L2Init",
    "Mlp",
    "Mnist",
    "Plan",
    "Ppo",
    "Regressor",
    "Rehearsal",
    "Sac",
    "Scale",
    "Seeds",
    "Sgd",
    "Si",
    "StableBaselines3",
    "Standardize",
    "Td3",
    "Trainer",
    "Visibility",
    "load_experiment",
    "protect",
    "run_experiment",
]


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module rlcl has no attribute {name!r}")
    return getattr(import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
