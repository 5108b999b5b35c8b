"""The settings that components need to be built, and to be built small; every registered component may have an entry.

``{folder}`` stands for the folder of :mod:`matrix.materials`. A component with several entries is several values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["AMOUNTS", "BUDGETS", "ENVIRONMENTS", "FIXED", "LARGE", "MINIMAL", "NOT_HERE", "OMITTED", "WITH_LARGE"]

Settings = Mapping[str, Any]

MLP = {"type": "mlp", "hidden": [8]}
OFF_POLICY = {"capacity": 60, "batch_size": 8, "learning_starts": 8, "train_every": 8}
SB3_OFF_POLICY = {"learning_starts": 8, "buffer_size": 60, "batch_size": 8, "train_freq": 8}
TABLE = {"path": "{folder}/table.csv"}
PICTURES = {"moments": 1, "images": 2, "points": 20, "frames": 5}

# By component; an entry whose values are mappings of their own, by variant, where one entry is not enough.
MINIMAL: Mapping[str, Settings | Mapping[str, Settings]] = {
    "data.csv": {
        "": {"path": "{folder}/plain.csv", "target": "kind"},
        "unlabelled": {"path": "{folder}/unlabelled.csv"},
        "regression": {"path": "{folder}/unlabelled.csv", "target": "a", "regression": True},
    },
    "data.table": {
        "": {**TABLE, "target": "kind"},
        "whole": {"path": "{folder}/whole.csv", "target": "kind"},
        "unlabelled": {**TABLE, "drop": ["kind"]},
        "regression": {**TABLE, "target": "weight", "regression": True},
    },
    "data.npz": {"path": "{folder}/images.npz"},
    "data.npy": {"path": "{folder}/arrays"},
    "data.image_folder": {"path": "{folder}/pictures"},
    "data.avalanche": {"benchmark": "SplitMNIST", "options": {"n_experiences": 5, "shuffle": False}},
    "stream.class_incremental": {"experiences": 2},
    "stream.task_incremental": {"experiences": 2},
    "stream.domain_incremental": {"experiences": 2},
    "stream.data_incremental": {"experiences": 2},
    "stream.permuted": {"experiences": 2},
    "stream.rotated": {"experiences": 2},
    "stream.avalanche": {"benchmark": "SplitMNIST", "options": {"n_experiences": 5}},
    "stream.slowly_changing_regression": {"examples": 96, "period": 32},
    "stream.environments": {
        "": {"tasks": [{"name": "once"}, {"name": "again"}]},
        "repeated": {"tasks": [{"name": "once"}, {"name": "again"}], "sequence": ["again", "once", "again"]},
        "padded": {"tasks": [{"name": "once"}, {"name": "other", "env": "CartPole-v1"}], "spaces": "pad"},
        "drifting": {"drift": [{"parameter": "reward.scale", "probes": [1.0]}]},
    },
    "stream.drifting": {"parts": 3, "drift": [{"parameter": "input.scale", "probes": [1.0]}]},
    "drift.constant": {"value": 1.5},
    "drift.piecewise": {"values": [1.0, 2.0], "steps": [16]},
    "drift.linear": {"start": 1.0, "end": 2.0, "steps": 32},
    "drift.sinusoid": {"mean": 1.0, "amplitude": 0.5, "period": 16},
    "drift.random_walk": {"start": 1.0, "deviation": 0.1},
    "drift.cyclic": {"values": [1.0, 2.0], "interval": 16},
    "encoder.sklearn": {"transformer": "QuantileTransformer", "options": {"n_quantiles": 10}},
    "encoder.pca": {"components": 2},
    "encoder.random_fourier": {"features": 8},
    "encoder.quantile": {"quantiles": 10},
    "encoder.frame_stack": {"frames": 2},
    "encoder.grey_scale": {"resize": 8},
    "encoder.one_hot": {"classes": 17},  # as many as pixels of the digits may have values
    "encoder.backbone": {"model": "resnet18", "weights": "{folder}/resnet18.pth", "resize": 32},
    "encoder.trained": {"run": "{folder}/runs/trained"},
    "encoder.compose": {"encoders": [{"type": "standardize", "fit_on": "running"}, {"type": "flatten"}]},
    "encoder.columns": {"numeric": [{"type": "impute"}, {"type": "standardize"}], "categorical": {"type": "one_hot"}},
    "network.mlp": {"": {"hidden": [8]}, "dropout": {"hidden": [8], "dropout": 0.3, "layer_norm": True}},
    "network.cnn": {"channels": [4], "hidden": [8]},
    "network.nature_cnn": {"hidden": 8},
    "network.resnet18": {"width": 4, "small_images": False},
    "network.torchvision": {"name": "squeezenet1_1"},
    "network.avalanche": {"model": "SimpleMLP", "options": {"hidden_size": 8}},
    "network.multihead": {"body": MLP, "features": 8},
    "network.progressive": {"hidden": [8]},
    "optimizer.sgd": {"lr": 0.0001, "momentum": 0.9},
    "optimizer.adam": {"lr": 0.0001},
    "optimizer.adamw": {"lr": 0.0001},
    "optimizer.rmsprop": {"lr": 0.0001},
    "schedule.steps": {"at": [0.5]},
    "learner.classifier": {"batch_size": 16},
    "learner.regressor": {"batch_size": 8},
    "learner.nearest_mean": {"batch_size": 8},
    "learner.streaming_lda": {"batch_size": 8},
    "learner.icarl": {"batch_size": 8, "capacity": 20, "memory_batch_size": 4},
    "learner.gdumb": {"batch_size": 8, "capacity": 20, "epochs": 2},
    "learner.kmeans": {"batch_size": 8, "clusters": 3},
    "learner.autoencoder": {"batch_size": 8, "decoder": MLP, "code": 3},
    "learner.vae": {
        "": {"batch_size": 8, "decoder": MLP, "code": 3, "likelihood": "gaussian"},
        "bernoulli": {"batch_size": 8, "decoder": MLP, "code": 3, "likelihood": "bernoulli"},
    },
    "learner.barlow_twins": {
        "batch_size": 8,
        "projector": MLP,
        "features": 8,
        "projection": 8,
        "augment": [{"type": "noise"}],
    },
    "learner.simsiam": {
        "batch_size": 8,
        "projector": MLP,
        "predictor": MLP,
        "features": 8,
        "projection": 8,
        "augment": [{"type": "noise"}],
    },
    "learner.ppo": {"n_steps": 8, "batch_size": 8, "epochs": 2},
    "learner.dqn": OFF_POLICY,
    "learner.sac": OFF_POLICY,
    "learner.td3": OFF_POLICY,
    "learner.sb3": {
        "PPO": {"algorithm": "PPO", "options": {"n_steps": 8, "batch_size": 8, "n_epochs": 2}},
        "A2C": {"algorithm": "A2C"},
        "DQN": {"algorithm": "DQN", "options": SB3_OFF_POLICY},
        "SAC": {"algorithm": "SAC", "options": SB3_OFF_POLICY},
        "MaskablePPO": {"algorithm": "MaskablePPO", "options": {"n_steps": 8, "batch_size": 8, "n_epochs": 2}},
    },
    "learner.avalanche": {
        "": {"strategy": "Naive", "batch_size": 8},
        "Replay": {"strategy": "Replay", "options": {"mem_size": 20}, "batch_size": 8},
    },
    "sink.tensorboard": PICTURES,
    "method.ewc": {"samples": 10},
    "method.mas": {"samples": 10},
    "method.distill": {"capacity": 12, "samples": 10, "batch_size": 4},
    "method.cloning": {"capacity": 12, "samples": 10, "batch_size": 4},
    "method.clear": {"capacity": 32, "length": 4},
    "method.selective_replay": {"capacity": 20},
    "method.rehearsal": {
        "": {"capacity": 12, "batch_size": 4},
        "ring": {"memory": "ring", "per_class": 3, "batch_size": 4},
    },
    "method.a_gem": {"capacity": 12, "batch_size": 4},
    "method.gem": {"per_experience": 8},
    "method.der": {"capacity": 12, "batch_size": 4},
    "method.der_plus_plus": {"capacity": 12, "batch_size": 4},
    "method.mir": {"capacity": 12, "batch_size": 4, "candidates": 8},
    "method.redo": {"every": 2},
    "method.continual_backprop": {"replacement_rate": 0.1, "maturity": 1},
    "method.generative_replay": {"batch_size": 4, "network": MLP, "decoder": MLP, "code": 3, "likelihood": "gaussian"},
}

# Environments of every kind, as settings of the stream; those of a file are in matrix.worlds.
ENVIRONMENTS: Mapping[str, Settings] = {
    "cartpole": {"env": "rlcl_envs/CartPole-v1"},
    "gymnasium's cartpole": {"env": "CartPole-v1"},
    "pendulum": {"env": "rlcl_envs/Pendulum-v1"},
    "image": {"env": "{worlds}:Image"},
    "photo": {"env": "{worlds}:Photo"},
    "dictionary": {"env": "{worlds}:Parts"},
    "masked": {"env": "{worlds}:Masked"},
    "choices": {"env": "{worlds}:Choices"},
}

# What an option may be beside its default, by place; enumerations and yes or no need no entry.
AMOUNTS: Mapping[str, tuple[Any, ...]] = {
    "learner.batch_size": (1, 500),
    "learner.accumulate": (3,),
    "learner.clip_norm": (0.5,),
    "learner.ema": (0.9,),
    "learner.labelled": (0.3,),
    "learner.target_kl": (1e-6,),
    "learner.n_step": (3,),
    "learner.gradient_steps": (-1,),
    "learner.train_every": (3,),
    "learner.random_steps": (16,),
    "stream.observation_offsets": (1.0,),
    "network.small_images": (True,),
    "evaluation.every": ({"updates": 3}, {"env_steps": 20}),
    "experiment.validation": (0.25,),
    "experiment.threads": (2,),
    "stream.num_envs": (3,),
}

# What is the same in all combinations: small evaluations and often a checkpoint.
FIXED: Settings = {
    "checkpoint_minutes": 0.001,
    "event_interval": 1,
    "evaluation": {"episodes": 1, "episode_steps": 20, "probe_samples": 16},
    "tensorboard": PICTURES,
}
BUDGETS: Settings = {"epochs": 1, "updates": 6, "samples": 50, "env_steps": 48}  # no registered learner counts episodes

# Left out, and why.
OMITTED: Mapping[str, str] = {
    "learner.compile": "half a minute for each network",
    "learner.precision=float16": "seconds for each update of a convolution on a processor",
    "data.regression": "a variant of each data set has it, with a target of numbers",
    "method.memory=ring": "a variant of rehearsal has it, with per_class",
    "data.expect": "an empty expectation expects nothing",
    "experiment.device": "what another device gives differs in the last bits",
    "experiment.name": "named by the combination",
}
# Networks that whole epochs would take minutes of, and what an experiment with one has instead of the above.
LARGE = ("resnet18", "torchvision")
WITH_LARGE: Settings = {"checkpoint_minutes": 0.03}
NOT_HERE: Mapping[str, str] = {
    **dict.fromkeys(
        ("data.emnist", "data.svhn", "data.cifar10", "data.cifar100"),
        "its files are not generated in their true format",
    ),
    **dict.fromkeys(("sink.mlflow", "sink.wandb", "sink.trackio"), "make services tries trackers"),
}
