"""Measure the time of PPO's updates with each method, compared with fine-tuning.

CartPole, two tasks, Adam, one thread, two sizes: networks 64-64 with minibatches of 64 (defaults of Stable-Baselines3)
and 256-256 with minibatches of 256. Every method is trained on the first task and timed within the second one. The
methods alternate after each rollout. The figures contain the updates alone, not env steps and boundaries.

    python benchmarks/speed/policy_step.py [rollouts]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from interleaved import ratio, report

from rlcl.experiment import experiment_from
from rlcl.launch.build import make_trainer
from rlcl.learners.reinforcement.ppo import Ppo, RolloutBatch

ROLLOUTS = 40
# The settings of the method, and the maximum time of its updates relative to fine-tuning; None if there is none.
METHODS: Mapping[str, tuple[list[dict[str, Any]], float | None]] = {
    "fine-tuning": ([], None),
    "l2": ([{"type": "l2", "strength": 0.1}], 1.15),
    "ewc": ([{"type": "ewc", "strength": 100, "samples": 100}], 1.15),
    "l2_init": ([{"type": "l2_init"}], None),
    "si": ([{"type": "si"}], None),
    "mas": ([{"type": "mas", "samples": 100}], None),
    "shrink_and_perturb": ([{"type": "shrink_and_perturb"}], None),
    "continual_backprop": ([{"type": "continual_backprop"}], None),
    "cloning": ([{"type": "cloning", "samples": 1000, "batch_size": 64}], None),
    "clear": ([{"type": "clear", "capacity": 4096}], None),
}
SIZES: Mapping[str, tuple[int, int]] = {"64-64, minibatch 64": (64, 64), "256-256, minibatch 256": (256, 256)}


class Timed(Ppo):
    """PPO that measures the time of its updates."""

    seconds: float

    def update_on(self, batch: RolloutBatch) -> None:
        started = time.perf_counter()
        super().update_on(batch)
        self.seconds = time.perf_counter() - started


def rollouts(methods: list[dict[str, Any]], width: int, batch_size: int) -> Iterator[float]:
    """Train on the first task, and yield the seconds of the updates on each rollout of the second one."""
    config = {
        "name": "case",
        "stream": {
            "type": "environments",
            "env": "rlcl_envs/CartPole-v1",
            "vectorization": "native",
            "tasks": [{}, {"attributes": {"gravity": 20}, "budget": {"env_steps": 10**9}}],
            "num_envs": 8,
        },
        "learner": {
            "type": f"{__file__}:Timed",
            "network": {"type": "mlp", "hidden": [width, width], "activation": "tanh"},
            "n_steps": 128,
            "batch_size": batch_size,
            "epochs": 4,
            "methods": methods,
        },
        "budget": {"env_steps": 4096},
        "event_interval": 1024,
    }
    trainer = make_trainer(experiment_from(config), 0)
    first, second = trainer.stream
    for _ in trainer.learner.learn(first):
        pass
    for _ in trainer.learner.learn(second):
        yield trainer.learner.seconds


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else ROLLOUTS
    torch.set_num_threads(1)
    rows, targets = {}, {}
    for size, (width, batch_size) in SIZES.items():
        running = {name: rollouts(methods, width, batch_size) for name, (methods, _) in METHODS.items()}
        seconds: dict[str, list[float]] = {name: [] for name in METHODS}
        for turn in range(repetitions + 1):
            for name in METHODS if turn % 2 else reversed(METHODS):
                spent = next(running[name])
                if turn:
                    seconds[name].append(spent)
        for name, (methods, limit) in METHODS.items():
            if methods:
                rows[f"{name}, {size}"] = ratio(seconds, "fine-tuning", name)
                targets[f"{name}, {size}"] = limit
    report("speed_policy_step", rows, targets, f"python benchmarks/speed/policy_step.py {repetitions}", "at most")


if __name__ == "__main__":
    main()
