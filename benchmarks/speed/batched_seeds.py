"""Measure the env steps per second of eight seeds in one computation (``batched_seeds``), compared with one seed alone.

There are four settings: the defaults of ``ppo`` (minibatches of 64) with shorter rollouts, those of RL Zoo for PPO
(minibatches of 256), those of RL Zoo for DQN (256-256), and the latter with two layers of 64 units. Environments are
native, on one thread. Each side creates its environments and networks within the measured time. A ratio of 1 is the
total rate of one seed alone, which is also that of eight seeds one after the other.

    python benchmarks/speed/batched_seeds.py [repetitions]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import attrs
import torch
from attrs import frozen
from interleaved import measure, ratio, report
from reinforcement import dqn, ppo

from rlcl.evaluation.plan import Plan
from rlcl.learners.fast.batched_seeds import BatchedSeeds
from rlcl.learners.reinforcement.ppo import Ppo
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.environments import Environments
from rlcl.training.trainer import Trainer
from rlcl.types import Budget

SEEDS = 8


@frozen
class Work:
    """The task of each seed.

    Args:
        learner: function that creates the learner.
        num_envs: number of parallel environments.
        steps: number of env steps.
        at_least: required rate relative to one seed; None if the arithmetic leaves no room for a speedup.
    """

    learner: Callable[[], Any]
    num_envs: int
    steps: int
    at_least: float | None


WORKS = {
    "PPO CartPole, 64-64, minibatches of 64": Work(lambda: Ppo(n_steps=128), 8, 4_096, 2.0),
    "PPO CartPole, 64-64, minibatches of 256": Work(ppo, 8, 16_384, 2.0),
    "DQN CartPole, 64-64": Work(lambda: attrs.evolve(dqn(), network=Mlp(hidden=(64, 64))), 1, 8_192, 2.0),
    "DQN CartPole, 256-256": Work(dqn, 1, 4_096, None),
}


def trained(work: Work, seeds: int) -> None:
    """Train some seeds in the same way as a run does."""
    batched, steps = BatchedSeeds(), []
    batched.paused = True
    with ExitStack() as joined:
        for seed in range(seeds):
            scenario = Environments(env="rlcl_envs/CartPole-v1", num_envs=work.num_envs, vectorization="native")
            stream, learner = scenario.make(Seeds(seed), Budget(env_steps=work.steps)), work.learner()
            plan = Plan(every="end", before=False, episodes=1)
            trainer = Trainer(learner, stream, plan, seed=seed, event_interval=2048)
            if seeds > 1:
                joined.enter_context(batched.registered(learner))
            steps.append(learner.learn(trainer.stream[0]))
        while steps:
            steps = [one for one in steps if next(one, "ended") != "ended"]
            batched.paused = False


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    torch.set_num_threads(1)
    rows, targets = {}, {}
    for name, work in WORKS.items():
        contestants = {"alone": lambda w=work: trained(w, 1), "together": lambda w=work: trained(w, SEEDS)}
        seconds = measure(contestants, n)
        seconds["together"] = [took / SEEDS for took in seconds["together"]]  # per seed
        rows[name], targets[name] = ratio(seconds, "together", "alone"), work.at_least
        rates = {k: round(work.steps / min(took)) for k, took in seconds.items()}
        print(name, "env steps a second", rates, flush=True)
    report("speed_batched_seeds", rows, targets, f"python benchmarks/speed/batched_seeds.py {n}")


if __name__ == "__main__":
    main()
