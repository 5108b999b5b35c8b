"""Small environments of kinds that Gymnasium's own do not have: images, dictionaries, masks, several choices."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

__all__ = ["Choices", "Image", "Masked", "Parts", "Photo"]

LENGTH = 7  # env steps of an episode


class World(gym.Env[Any, Any]):
    """Counts its steps, pays for the first action, and can be saved; what it shows is its kind."""

    def __init__(self) -> None:
        self.action_space: Any = gym.spaces.Discrete(3)
        self.at = 0

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = int(state["at"])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return self.shown(), self.told()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        reward = 1.0 if float(np.ravel(action)[0]) < 1 else 0.0
        return self.shown(), reward, self.at == LENGTH, False, self.told()

    def shown(self) -> Any:
        raise NotImplementedError

    def told(self) -> dict[str, Any]:
        return {}


class Image(World):
    """Grey images of 36 x 36 with their channel first, that grow lighter."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gym.spaces.Box(0, 255, (1, 36, 36), np.uint8)

    def shown(self) -> Any:
        return np.full((1, 36, 36), 30 * self.at, np.uint8)


class Photo(World):
    """Coloured images of 36 x 36 with their channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gym.spaces.Box(0, 255, (36, 36, 3), np.uint8)

    def shown(self) -> Any:
        return np.full((36, 36, 3), (30 * self.at, 20 * self.at, 10), np.uint8)


class Parts(World):
    """A dictionary of numbers and a choice."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gym.spaces.Dict(
            {"at": gym.spaces.Box(0, LENGTH, (2,), np.float32), "even": gym.spaces.Discrete(2)}
        )

    def shown(self) -> Any:
        return {"at": np.full(2, self.at, np.float32), "even": np.int64(self.at % 2)}


class Masked(World):
    """One of three actions is forbidden at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gym.spaces.Box(0, LENGTH, (1,), np.float32)

    def shown(self) -> Any:
        return np.full(1, self.at, np.float32)

    def told(self) -> dict[str, Any]:
        return {"action_mask": np.arange(3) != self.at % 3}


class Choices(World):
    """Two choices at once."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = gym.spaces.MultiDiscrete([3, 2])
        self.observation_space = gym.spaces.Box(0, LENGTH, (1,), np.float32)

    def shown(self) -> Any:
        return np.full(1, self.at, np.float32)
