"""Gymnasium environments of rlcl's own, registered on import. They never import rlcl.

Classic control as Gymnasium has it, bit for bit, with every environment of a vector in one NumPy
step, physics that may differ from environment to environment and change while they run, and a
state that can be saved and restored. Each is registered as ``rlcl_envs/`` and Gymnasium's own id.
"""

from __future__ import annotations

import gymnasium as gym

__all__: list[str] = []

_REGISTERED = {  # id: (module, single, vector, time limit in env steps, reward threshold), the limits as Gymnasium's
    "CartPole-v1": ("cartpole", "CartPole", "CartPoleVector", 500, 475.0),
    "Acrobot-v1": ("acrobot", "Acrobot", "AcrobotVector", 500, -100.0),
    "MountainCar-v0": ("mountain_car", "MountainCar", "MountainCarVector", 200, -110.0),
    "MountainCarContinuous-v0": (
        "mountain_car_continuous",
        "MountainCarContinuous",
        "MountainCarContinuousVector",
        999,
        90.0,
    ),
    "Pendulum-v1": ("pendulum", "Pendulum", "PendulumVector", 200, None),
}

for _id, (_module, _single, _vector, _limit, _threshold) in _REGISTERED.items():
    gym.register(
        id=f"rlcl_envs/{_id}",
        entry_point=f"rlcl_envs.{_module}:{_single}",
        vector_entry_point=f"rlcl_envs.{_module}:{_vector}",
        max_episode_steps=_limit,
        reward_threshold=_threshold,
    )
