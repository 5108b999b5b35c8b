"""Environments whose values are known exactly, for learners of reinforcement learning."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

__all__ = ["Forbidding", "Loop", "Probe", "Recall", "Signs"]


class Probe(gym.Env[Any, Any]):
    """Episodes of ``length`` steps in which states are counted from 0.

    Args:
        length: env steps of an episode.
        end: how it ends: ``terminated``, ``truncated``, or by ``both`` at once.
        reward: of each step.
        last: of the last step alone; None for ``reward``.
        continuous: whether actions are numbers instead of two choices; neither changes anything.
        counting: whether states differ; else all are 0.
        broken: a ``reward`` or an ``observation`` that is NaN.
        savable: whether it can be saved within an episode.
    """

    def __init__(
        self,
        length: int = 1,
        end: str = "terminated",
        reward: float = 1.0,
        last: float | None = None,
        continuous: bool = False,
        counting: bool = True,
        broken: str = "",
        savable: bool = True,
    ) -> None:
        self.observation_space = gym.spaces.Box(0, 100, (1,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32) if continuous else gym.spaces.Discrete(2)
        self.length, self.end, self.reward = length, end, reward
        self.last = reward if last is None else last
        self.counting, self.broken = counting, broken
        self.at = 0
        if savable:
            self.state_dict = lambda: {"at": self.at}
            self.load_state_dict = lambda state: setattr(self, "at", int(state["at"]))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return self._state(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        over = self.at == self.length
        reward = float("nan") if self.broken == "reward" else self.last if over else self.reward
        return self._state(), reward, over and self.end != "truncated", over and self.end != "terminated", {}

    def _state(self) -> np.ndarray[Any, Any]:
        if self.broken == "observation" and self.at:
            return np.array([np.nan], np.float32)
        return np.array([self.at if self.counting else 0], np.float32)


class Loop(gym.Env[Any, Any]):
    """Goes from state 0 to 1 to 0 to 1, which pays 0, 1 and 0, and is cut off there; it starts at 0 again."""

    def __init__(self, continuous: bool = False) -> None:
        self.observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32) if continuous else gym.spaces.Discrete(2)
        self.at = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = float(self.at % 2)
        self.at += 1
        return np.array([self.at % 2], np.float32), reward, False, self.at == 3, {}


class Signs(gym.Env[Any, Any]):
    """One step: a sign is shown, and what it pays depends on it, on the action, or on both.

    Args:
        pays: ``observation`` (the sign), ``action`` (1 for the second one, -1 for the first), or ``both``
            (their product).
        continuous: whether the action is a number, whose sign counts.
    """

    def __init__(self, pays: str = "both", continuous: bool = False) -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32) if continuous else gym.spaces.Discrete(2)
        self.pays, self.continuous, self.sign = pays, continuous, 1.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.sign = float(self.np_random.choice([-1.0, 1.0]))
        return np.array([self.sign], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        chosen = float(np.sign(np.ravel(action)[0])) if self.continuous else 2.0 * float(action) - 1.0
        reward = {"observation": self.sign, "action": chosen, "both": self.sign * chosen}[self.pays]
        return np.array([self.sign], np.float32), reward, True, False, {}


class Recall(gym.Env[Any, Any]):
    """Three steps: a sign is shown, then nothing, then it is asked for, which pays 1 for the right one and -1 else.

    Args:
        end: how an episode ends: ``terminated`` or ``truncated``.
    """

    def __init__(self, end: str = "terminated") -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.end, self.sign, self.at = end, 1.0, 0

    def state_dict(self) -> dict[str, Any]:
        return {"sign": self.sign, "at": self.at, "rng": self.np_random.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sign, self.at = float(state["sign"]), int(state["at"])
        self.np_random.bit_generator.state = state["rng"]

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at, self.sign = 0, float(self.np_random.choice([-1.0, 1.0]))
        return np.array([self.sign, 0], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        over = self.at == 3
        reward = self.sign * (2.0 * float(action) - 1.0) if over else 0.0
        seen = np.array([0, self.at == 2], np.float32)
        return seen, reward, over and self.end == "terminated", over and self.end == "truncated", {}


class Forbidding(gym.Env[Any, Any]):
    """Three steps, each of which pays 2 and allows two of three actions.

    Args:
        said: how what is allowed is told: in ``info``, or by a ``method``.
        several: whether there are two choices at once, the second one free.
        lenient: whether what is forbidden may be done.
        nothing: whether nothing is allowed.
    """

    def __init__(self, said: str = "info", several: bool = False, lenient: bool = False, nothing: bool = False) -> None:
        self.observation_space = gym.spaces.Box(0, 3, (1,), np.float32)
        self.action_space = gym.spaces.MultiDiscrete([3, 1]) if several else gym.spaces.Discrete(3)
        self.said, self.several, self.lenient, self.nothing, self.at = said, several, lenient, nothing, 0
        if said == "method":
            self.action_masks = self.allowed

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = int(state["at"])

    def allowed(self) -> np.ndarray[Any, Any]:
        masks = np.full(4 if self.several else 3, not self.nothing, np.int8)
        masks[self.at % 3] = 0
        return masks

    def _told(self) -> dict[str, Any]:
        return {"action_mask": self.allowed()} if self.said == "info" else {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return np.zeros(1, np.float32), self._told()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        chosen = int(np.ravel(action)[0])
        if not self.allowed()[chosen] and not self.lenient:
            raise ValueError(f"{chosen} is forbidden at {self.at}")
        self.at += 1
        return np.array([self.at], np.float32), 2.0, self.at == 3, False, self._told()
