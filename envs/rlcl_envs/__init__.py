"""Vectorized classic-control environments for Gymnasium, registered on import. The package does not import rlcl.

The environments equal Gymnasium's classic control, bit for bit. All environments of a vector are computed in one NumPy
step, their physics can differ between environments and change during a run, and their state can be saved and
restored. The id of each environment is ``rlcl_envs/`` followed by Gymnasium's id.
"""

from __future__ import annotations

import gymnasium as gym

__all__: list[str] = []

# id: (module, single environment, vector environment, time limit in env steps, reward threshold); the time limits and
# reward thresholds equal Gymnasium's.
_REGISTERED = {
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
