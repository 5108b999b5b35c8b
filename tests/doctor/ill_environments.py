"""Environments with one bad habit each."""

from __future__ import annotations

import random
import threading
from typing import Any

import gymnasium as gym
import numpy as np

LENGTH = 12


class Healthy(gym.Env[Any, Any]):
    """Walks on a line for 12 steps, from a random start; the reward is the place.

    Args:
        habit: what is wrong.
    """

    def __init__(self, habit: str = "", render_mode: str | None = None) -> None:
        self.observation_space = gym.spaces.Box(-50.0, 50.0, (2,), np.float32)
        self.action_space: gym.Space[Any] = gym.spaces.Discrete(2)
        self.habit, self.render_mode = habit, render_mode
        self.buffer = np.zeros(2, np.float32)
        self.games = 0
        if habit == "no bounds":
            self.action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        if habit in ("other bounds", "writes the action"):
            self.action_space = gym.spaces.Box(-2, 2, (1,), np.float32)
        if habit == "parts":
            left, right = gym.spaces.Discrete(2), gym.spaces.Box(-1, 1, (1,), np.float32)
            self.action_space = gym.spaces.Dict({"left": left, "right": right})
        if habit == "strange actions":
            self.action_space = gym.spaces.Text(3)
        if habit == "large":
            self.observation_space = gym.spaces.Box(-1e6, 1e6, (2,), np.float32)
        if habit in ("channels last", "float pixels"):
            shape = (8, 8, 3) if habit == "channels last" else (3, 8, 8)
            self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8 if habit == "channels last" else np.float32)
        if habit == "unpicklable":
            self.lock = threading.Lock()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=None if self.habit == "ignores the seed" else seed)
        self.at, self.time = float(self.np_random.integers(-3, 4)), 0
        self.games += 1
        if self.habit == "ignores the seed":  # among so many starts, two are never the same
            self.at = float(self.np_random.uniform(-3, 4))
        if self.habit == "no chance":
            self.at = 0.0
        if self.habit == "global":
            self.at = float(np.random.randint(-3, 4))  # noqa: NPY002
        if self.habit == "python's random":
            self.at = float(random.randint(-3, 4))
        if self.habit == "remembers":
            self.at = float(self.games)
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.time += 1
        if self.habit == "raises" and self.time == 5:
            raise RuntimeError("the motor is hot")
        if self.habit == "forbids" and int(action) != self.allowed:
            raise ValueError(f"{action} is forbidden")
        moved = int(np.ravel(action)[0] > 0) if self.habit not in ("strange actions", "parts") else 1
        if self.habit == "writes the action":
            action[:] = 0
        self.at += 1.0 if moved else -1.0
        if self.habit == "leaves the space" and self.time == 7:
            self.at = 1000.0
        if self.habit == "shares its state":
            self.at = float(self.buffer[0]) + (1.0 if moved else -1.0)
        reward: Any = self.at
        reward = {
            "no reward": 0.0,
            "large rewards": 1000 * self.at,
            "the same reward": 1.0,
            "NaN reward": np.nan if self.time == 3 else 1.0,
        }.get(self.habit, reward)
        ended = self.time >= LENGTH and self.habit != "endless"
        terminated = ended and self.habit in ("terminates by time", "both ends", "resets itself")
        truncated = ended and self.habit not in ("terminates by time", "resets itself")
        if self.habit == "early end":
            terminated, truncated = bool(abs(self.at) > 4), self.time >= LENGTH
        if self.habit == "bandit":
            terminated, truncated, self.at = True, False, float(self.np_random.integers(-3, 4))
            self.time = 0
        if self.habit == "parts":
            reward = float(action["left"]) + float(action["right"][0])
        if ended and self.habit == "resets itself":
            self.reset()
        return self._observation(), reward, terminated, truncated, self._info()

    def _observation(self) -> Any:
        if self.habit == "large":
            return np.array([self.at * 1000, self.time], np.float32)
        if self.habit in ("channels last", "float pixels"):
            space = self.observation_space
            return np.full(space.shape, 100 + self.at, space.dtype)
        if self.habit == "NaN":
            return np.array([np.nan if self.time == 3 else self.at, self.time], np.float32)
        if self.habit == "constant":
            return np.array([self.at, 7], np.float32)
        if self.habit in ("one buffer", "shares its state"):
            self.buffer[:] = (self.at, self.time)
            return self.buffer
        return np.array([self.at, self.time], np.float32)

    @property
    def allowed(self) -> int:
        return int(self.at) % 2

    def _info(self) -> dict[str, Any]:
        if self.habit == "forbids":
            return {"action_mask": np.arange(2) == self.allowed}
        masks = {"masks": [1, 0], "no action": [0, 0] if self.time_is(5) else [1, 1]}
        return {"action_mask": np.array(masks[self.habit], np.int8)} if self.habit in masks else {}

    def time_is(self, time: int) -> bool:
        return self.time == time

    def state_dict(self) -> dict[str, Any]:
        kept = {"at": self.at, "time": self.time, "buffer": self.buffer}
        if self.habit != "forgets its generator":
            kept["rng"] = self.np_random.bit_generator.state
        return {**kept, "at": 0.0} if self.habit == "saves the wrong state" else kept

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at, self.time, self.buffer = state["at"], state["time"], np.array(state["buffer"])
        if "rng" in state:
            self.np_random.bit_generator.state = state["rng"]

    def render(self) -> Any:
        return np.zeros((4, 6, 3), np.uint8) if self.render_mode == "rgb_array" else None


Healthy.metadata = {"render_modes": ["rgb_array"]}


class Unsavable(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper of which nobody knows whether it has a state."""


def recorded(env: Any) -> Any:
    return gym.wrappers.RecordEpisodeStatistics(env)
