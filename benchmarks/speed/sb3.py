"""Measure the speed of Stable-Baselines3 through rlcl, compared with Stable-Baselines3 alone, on the same task.

python benchmarks/speed/sb3.py [repetitions]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import stable_baselines3
import torch
from interleaved import measure, ratio, report
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from rlcl.evaluation.plan import Plan
from rlcl.learners.sb3.learner import StableBaselines3
from rlcl.seeding import Seeds
from rlcl.streams.environments import Environments
from rlcl.training.trainer import Trainer
from rlcl.types import Budget

# Settings of RL Zoo, with a budget that takes some seconds.
WORK: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "PPO": (
        "CartPole-v1",
        8,
        16_384,
        {"n_steps": 32, "batch_size": 256, "n_epochs": 20, "gamma": 0.98, "gae_lambda": 0.8, "ent_coef": 0.0},
    ),
    "DQN": (
        "CartPole-v1",
        1,
        8_192,
        {
            "learning_rate": 2.3e-3,
            "batch_size": 64,
            "buffer_size": 100_000,
            "learning_starts": 1000,
            "gamma": 0.99,
            "target_update_interval": 10,
            "train_freq": 256,
            "gradient_steps": 128,
            "exploration_fraction": 0.16,
            "exploration_final_eps": 0.04,
            "policy_kwargs": {"net_arch": [256, 256]},
        },
    ),
    "SAC": ("Pendulum-v1", 1, 400, {"learning_rate": 1e-3, "learning_starts": 100}),
}


def alone(name: str) -> Callable[[], None]:
    env, num_envs, steps, options = WORK[name]

    def run() -> None:
        from rlcl.data.environments.environment import Environment

        source = Environment(env, num_envs=num_envs)
        vector = DummyVecEnv([lambda: Monitor(source.make())] * num_envs)
        policy_kwargs = dict(options.get("policy_kwargs", {}))
        arguments = {**options, "policy_kwargs": policy_kwargs} if policy_kwargs else options
        model = getattr(stable_baselines3, name)("MlpPolicy", vector, seed=0, device="cpu", **arguments)
        model.set_logger(Logger(folder=None, output_formats=[]))  # the default logger would leave an empty folder
        model.learn(steps)

    return run


def ours(name: str) -> Callable[[], None]:
    env, num_envs, steps, options = WORK[name]

    def run() -> None:
        stream = Environments(env=env, num_envs=num_envs).make(Seeds(0), Budget(env_steps=steps))
        learner = StableBaselines3(algorithm=name, options=options)
        trainer = Trainer(learner, stream, Plan(every="end", before=False, episodes=1), event_interval=2048)
        for _ in learner.learn(trainer.stream[0]):
            pass

    return run


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 13
    torch.set_num_threads(1)
    rows = {}
    for name in WORK:
        rows[f"{name} {WORK[name][0]}"] = ratio(measure({"ours": ours(name), "alone": alone(name)}, n), "ours", "alone")
    report("speed_sb3", rows, dict.fromkeys(rows, 0.97), f"python benchmarks/speed/sb3.py {n}")


if __name__ == "__main__":
    main()
