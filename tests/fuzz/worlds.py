"""Environments of spaces and habits drawn by seed, checked, learned from and evaluated for a moment."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym

from fuzz.configs import trained_for
from fuzz.environments import made as drawn
from fuzz.kind import Case, Kind, quiet, refusable
from rlcl.experiment import experiment_from

__all__ = ["LEARNERS", "Worlds"]

SMALL = {"type": "mlp", "hidden": [4]}
LEARNERS: tuple[dict[str, Any], ...] = (
    {"type": "ppo", "n_steps": 8, "network": SMALL},
    {"type": "ppo", "n_steps": 8, "network": SMALL, "methods": [{"type": "ewc"}]},
    {"type": "ppo", "n_steps": 8},
    {"type": "dqn", "learning_starts": 8, "capacity": 64, "network": SMALL},
    {"type": "sac", "learning_starts": 8, "capacity": 64, "network": SMALL},
    {"type": "td3", "learning_starts": 8, "capacity": 64, "network": SMALL},
    {"type": "sb3", "algorithm": "PPO", "options": {"n_steps": 8, "batch_size": 8}},
    {"type": "sb3", "algorithm": "DQN", "options": {"learning_starts": 4, "buffer_size": 64}},
    {"type": "sb3", "algorithm": "SAC", "options": {"learning_starts": 4, "buffer_size": 64}},
)
ENCODERS: tuple[Any, ...] = (
    None,
    None,
    None,
    {"type": "running_norm"},
    {"type": "flatten"},
    {"type": "frame_stack", "frames": 2},
)
ID = "Fuzz-v0"
SECONDS = 0.5


class Worlds(Kind):
    """An environment that somebody may have written, under a learner."""

    name = "environments"

    def take(self, case: Case) -> str:
        made = drawn(case.seed)
        gym.register(ID, made)
        stream = {"type": "environments", "env": ID, "num_envs": case.rng.choice((1, 1, 2))}
        config = {
            "name": "fuzz",
            "stream": stream,
            "learner": case.rng.choice(LEARNERS),
            "budget": {"env_steps": 32},
            "evaluation": {"episodes": 1, "episode_steps": 10},
            "sinks": [],
        }
        encoder = case.rng.choice(ENCODERS)
        config |= {} if encoder is None else {"encoder": encoder}
        case.tried += [_described(made), repr(config)]
        file = str(sys.modules[made.__module__].__file__)
        try:
            with quiet():
                return refusable(lambda: _trained(config), users=file)
        finally:
            del gym.registry[ID]


def _trained(config: dict[str, Any]) -> str:
    trained_for(experiment_from(config), SECONDS)
    return "trained"


def _described(made: type[gym.Env[Any, Any]]) -> str:
    try:
        env = made()
        return f"{env.observation_space}\n{env.action_space}\n{vars(env)}"[:3000]
    except Exception as error:
        return f"cannot be made: {error!r}"
