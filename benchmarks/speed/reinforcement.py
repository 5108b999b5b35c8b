"""Measure the speed of rlcl's PPO, DQN, SAC and TD3, compared with those of Stable-Baselines3.

Both sides have the same budget, one thread and the settings of RL Zoo, and create their environments within the
measured time. Ours also has a stream, events and hooks of methods. The rows are

- "sync": ours uses Gymnasium's environments one after the other, as Stable-Baselines3 does;
- "native": ours uses the environments of rlcl_envs, whose steps are equal, bit for bit;
- "beside a bare one": "native" is compared with a PPO in one file (bare_ppo.py), which uses Gymnasium's environments
  one after the other.

    python benchmarks/speed/reinforcement.py [repetitions]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import stable_baselines3
import torch
from attrs import frozen
from bare_ppo import bare_ppo
from interleaved import measure, ratio, report
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

from rlcl.data.environments.environment import Environment, Vectorization
from rlcl.evaluation.plan import Plan
from rlcl.learners.optimizers import Adam
from rlcl.learners.reinforcement.dqn import Dqn, Exploration
from rlcl.learners.reinforcement.ppo import Ppo
from rlcl.learners.reinforcement.sac import Sac
from rlcl.learners.reinforcement.td3 import Td3
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.environments import Environments
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, Learner


@frozen
class Work:
    """A task for both sides.

    Args:
        algorithm: class of Stable-Baselines3.
        env: Gymnasium id of the environment.
        num_envs: number of parallel environments.
        steps: number of env steps.
        options: options of the class.
        learner: function that creates our learner, with the same settings.
        at_least: required ratios for ``sync`` and ``native``.
    """

    algorithm: str
    env: str
    num_envs: int
    steps: int
    options: Mapping[str, Any]
    learner: Callable[[], Learner]
    at_least: Mapping[Vectorization, float | None]


PPO = {"n_steps": 32, "batch_size": 256, "n_epochs": 20, "gamma": 0.98, "gae_lambda": 0.8, "learning_rate": 1e-3}
DQN = {
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "learning_starts": 1000,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "exploration_fraction": 0.16,
    "exploration_final_eps": 0.04,
    "policy_kwargs": {"net_arch": [256, 256]},
}
SAC = {"learning_rate": 1e-3}
TD3 = {
    "learning_rate": 1e-3,
    "gamma": 0.98,
    "buffer_size": 200_000,
    "learning_starts": 100,
    "policy_kwargs": {"net_arch": [400, 300]},
}


def ppo() -> Learner:
    optimizer = Adam(lr=1e-3, epsilon=1e-5)
    return Ppo(n_steps=32, batch_size=256, epochs=20, gamma=0.98, gae_lambda=0.8, optimizer=optimizer)


def dqn() -> Learner:
    return Dqn(
        network=Mlp(hidden=(256, 256)),
        optimizer=Adam(lr=2.3e-3),
        capacity=100_000,
        batch_size=64,
        learning_starts=1000,
        train_every=256,
        gradient_steps=128,
        target_interval=10,
        exploration=Exploration(end=0.04, share=0.16),
    )


def td3() -> Learner:
    return Td3(
        network=Mlp(hidden=(400, 300)), optimizer=Adam(lr=1e-3), gamma=0.98, capacity=200_000, learning_starts=100
    )


WORKS = {
    "PPO CartPole, 8 environments": Work("PPO", "CartPole-v1", 8, 16_384, PPO, ppo, {"sync": 1.8, "native": 1.8}),
    "PPO CartPole, 64 environments": Work("PPO", "CartPole-v1", 64, 65_536, PPO, ppo, {"native": 3.0}),
    "DQN CartPole": Work("DQN", "CartPole-v1", 1, 8_192, DQN, dqn, {"sync": 1.4}),
    "SAC Pendulum": Work("SAC", "Pendulum-v1", 1, 600, SAC, lambda: Sac(optimizer=Adam(lr=1e-3)), {"sync": 1.3}),
    "TD3 Pendulum": Work("TD3", "Pendulum-v1", 1, 800, TD3, td3, {"sync": 1.3}),
}


def theirs(work: Work) -> None:
    source = Environment(work.env, num_envs=work.num_envs)
    vector = DummyVecEnv([lambda: Monitor(source.make())] * work.num_envs)
    options = {k: dict(v) if isinstance(v, dict) else v for k, v in work.options.items()}  # it modifies its arguments
    if work.algorithm == "TD3":
        options["action_noise"] = NormalActionNoise([0.0], [0.1])  # type: ignore[arg-type]
    model = getattr(stable_baselines3, work.algorithm)("MlpPolicy", vector, seed=0, device="cpu", **options)
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.learn(work.steps)


def ours(work: Work, vectorization: Vectorization) -> None:
    env = f"rlcl_envs/{work.env}" if vectorization == "native" else work.env
    scenario = Environments(env=env, num_envs=work.num_envs, vectorization=vectorization)
    stream = scenario.make(Seeds(0), Budget(env_steps=work.steps))
    learner = work.learner()
    trainer = Trainer(learner, stream, Plan(every="end", before=False, episodes=1), event_interval=2048)
    for _ in learner.learn(trainer.stream[0]):
        pass


def bare(work: Work) -> None:
    bare_ppo(gym.make_vec(work.env, work.num_envs, vectorization_mode="sync"), work.steps)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    torch.set_num_threads(1)
    rows, targets = {}, {}
    for name, work in WORKS.items():
        contestants: dict[str, Callable[[], None]] = {"theirs": lambda w=work: theirs(w)}
        for kind in work.at_least:
            contestants[kind] = lambda w=work, k=kind: ours(w, k)
        if work.algorithm == "PPO":
            contestants["bare"] = lambda w=work: bare(w)
        seconds = measure(contestants, n)
        for kind, at_least in work.at_least.items():
            rows[f"{name}, {kind}"] = ratio(seconds, kind, "theirs")
            targets[f"{name}, {kind}"] = at_least
        if "bare" in seconds:
            row = f"{name}, beside a bare one"
            rows[row], targets[row] = ratio(seconds, "native", "bare"), None
        print(name, {k: round(min(s), 2) for k, s in seconds.items()}, flush=True)
    report("speed_reinforcement", rows, targets, f"python benchmarks/speed/reinforcement.py {n}")


if __name__ == "__main__":
    main()
