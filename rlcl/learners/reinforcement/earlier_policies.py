"""Exploration by policies of past experiences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from attrs import define, field, frozen
from torch import nn

from rlcl.learners.fast.numpy_forward import NumpyForward, task_forward
from rlcl.learners.reinforcement.target_networks import frozen_copy
from rlcl.state import tensor_bytes

__all__ = ["EarlierPolicies"]

Array = np.ndarray[Any, Any]


@frozen(eq=False)
class EarlierPolicy:
    """The acting network at the end of a past experience.

    Args:
        module: a copy.
        task_id: task of that experience; None if it is hidden.
        forward: maps observations (N, *encoded) to outputs (N, K).
    """

    module: nn.Module
    task_id: int | None
    forward: NumpyForward


@define(eq=False)
class EarlierPolicies:
    """Policies at the ends of past experiences, one of which acts in a new experience.

    Each acts until an episode that it started is finished. Then the one with the highest mean return of such episodes
    acts; its mean changes further. All parallel environments are acted in by the same policy at a time.

    Args:
        num_envs: number N of parallel environments.

    Source: Wołczyk et al. 2022, Disentangling transfer in continual reinforcement learning, best-return exploration.
    """

    num_envs: int
    _policies: list[EarlierPolicy] = field(init=False, factory=list)
    _returns: list[float] = field(init=False, factory=list)  # sums of returns by policy, in the current experience
    _episodes: list[int] = field(init=False, factory=list)
    _starters: Array = field(init=False)  # (N,) index of the policy that started each current episode, -1 for none

    def __attrs_post_init__(self) -> None:
        self._starters = np.full(self.num_envs, -1)

    def __len__(self) -> int:
        return len(self._policies)

    @property
    def bytes(self) -> int:
        """Size of the weights in bytes."""
        return sum(tensor_bytes(dict(policy.module.state_dict())) for policy in self._policies)

    def add(self, module: nn.Module, task_id: int | None) -> None:
        """Store a copy of the acting network at the end of an experience, and start a new experience."""
        self._append(frozen_copy(module), task_id)
        self._returns, self._episodes = [0.0] * len(self), [0] * len(self)
        self._starters[:] = -1

    def _append(self, module: nn.Module, task_id: int | None) -> None:
        self._policies.append(EarlierPolicy(module, task_id, task_forward(module, lambda: task_id)))

    @property
    def _acting_index(self) -> int:
        untried = [index for index, count in enumerate(self._episodes) if not count]
        if untried:
            return untried[0]
        return int(np.argmax([total / count for total, count in zip(self._returns, self._episodes, strict=True)]))

    def acting(self, starts: Array) -> EarlierPolicy:
        """Return the policy that acts now.

        Args:
            starts: (N,) bool, whether the current observations are the first ones of their episodes.
        """
        index = self._acting_index
        self._starters[starts] = index
        return self._policies[index]

    def record(self, ended: Array, returns: Mapping[int, float]) -> None:
        """Record finished episodes after a step of the policy that :meth:`acting` returned.

        Args:
            ended: (N,) bool.
            returns: undiscounted returns by environment.
        """
        acting = self._acting_index
        for environment in np.flatnonzero(ended).tolist():
            if self._starters[environment] == acting and environment in returns:
                self._returns[acting] += returns[environment]
                self._episodes[acting] += 1

    def state_dict(self) -> dict[str, Any]:
        return {
            "policies": [
                {"weights": dict(policy.module.state_dict()), "task_id": policy.task_id} for policy in self._policies
            ],
            "returns": list(self._returns),
            "episodes": list(self._episodes),
            "starters": self._starters,
        }

    def load_state_dict(self, state: Mapping[str, Any], module: Callable[[], nn.Module]) -> None:
        """Restore a state that :meth:`state_dict` returned.

        Args:
            state: the state.
            module: returns a module of the same architecture, which is copied.
        """
        self._policies = []
        for policy in state["policies"]:
            copied = frozen_copy(module())
            copied.load_state_dict(policy["weights"])
            self._append(copied, policy["task_id"])
        self._returns, self._episodes = list(state["returns"]), list(state["episodes"])
        self._starters = np.array(state["starters"])
