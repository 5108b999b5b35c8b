"""Collector of env steps: encoded observations, normalized rewards, episode statistics, saved state."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from attrs import define, field, frozen
from gymnasium.vector import VectorEnv

from rlcl.data.environments.action_masks import action_counts, action_masks, next_state_masks
from rlcl.data.environments.environment import Environment
from rlcl.data.environments.state import environment_state, restore_environment
from rlcl.encoders.compose import observations_and_norm
from rlcl.encoders.identity import Identity
from rlcl.encoders.running_norm import RunningNorm
from rlcl.learners.reinforcement.environment_checks import EnvironmentChecks
from rlcl.types import Encoder

__all__ = ["Collector", "StepResult"]

Array = np.ndarray[Any, Any]
logger = logging.getLogger(__name__)

EPISODES = 100  # number of last episodes whose means are reported


@frozen(eq=False)
class StepResult:
    """Result of one action in each of N environments.

    Args:
        next_observations: (N, *observation) raw, after the step; of a finished episode before the reset.
        rewards: (N,) float32, normalized if the encoder normalizes rewards.
        terminated: (N,) bool, whether the next states are terminal.
        ended: (N,) bool, whether the episode is finished, terminated or truncated.
        masks: (N, K) bool, actions allowed in the next states; None if environments provide no masks or
            ``Collector.masked`` is False.
    """

    next_observations: Array
    rewards: Array
    terminated: Array
    ended: Array
    masks: Array | None


@define(eq=False)
class Collector:
    """N parallel training environments, which are stepped by actions of a learner.

    An environment is reset in the step in which its episode ends, so that every step is a transition.

    Args:
        source: creates the environments, which are seeded and reset immediately.
        encoder: encoder of observations; its running statistics are updated at each step.
        masked: whether action masks are read from the environments.
        adapting: whether running statistics are updated.
        task_id: task of the environments, None if it is hidden.
    """

    source: Environment
    encoder: Encoder
    masked: bool = False
    adapting: bool = True
    task_id: int | None = None
    observations: Array = field(init=False)  # (N, *observation) raw, of the dtype of the space
    masks: Array | None = field(init=False, default=None)  # (N, K) bool, the actions allowed now; None for all
    vector: VectorEnv[Any] = field(init=False)
    episodes: deque[tuple[float, int]] = field(init=False, factory=lambda: deque(maxlen=EPISODES))
    finished: int = field(init=False, default=0)
    finished_rewards: float = field(init=False, default=0.0)  # total reward of finished episodes
    fresh: bool = field(init=False, default=True)  # whether all environments were reset since the last step
    _checks: EnvironmentChecks = field(init=False)
    _observed: Encoder = field(init=False)
    _is_identity: bool = field(init=False)  # whether the encoder is Identity; cached, the check takes a microsecond
    _norm: RunningNorm | None = field(init=False)
    _returns: Array = field(init=False)
    _lengths: Array = field(init=False)
    _discounted: Array = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._observed, self._norm = observations_and_norm(self.encoder)
        self._is_identity = isinstance(self._observed, Identity)
        self.vector = self.source.make_vector(copies=False)  # observations are copied below
        self._checks = EnvironmentChecks(self.source.name, self.vector.single_observation_space)
        count = self.vector.num_envs
        self._returns, self._lengths = np.zeros(count), np.zeros(count, dtype=np.int64)
        self._discounted = np.zeros(count)
        try:
            self._reset()
        except BaseException:
            self.close()  # ends worker processes
            raise

    def _reset(self) -> None:
        observations, info = self.vector.reset(seed=self.source.seed)
        self.observations = np.array(observations)
        self.masks = self._read_masks(info)
        self._returns[:] = 0
        self._lengths[:] = 0
        self._discounted[:] = 0
        self._fit(self.observations)

    def __len__(self) -> int:
        return self.vector.num_envs

    @property
    def fits_encoder(self) -> bool:
        """Whether the encoder is fitted on these environments."""
        return not self._is_identity or self._norm is not None

    @property
    def starts(self) -> Array:
        """(N,) bool, whether the current observation is the first one of an episode."""
        starts: Array = self._lengths == 0
        return starts

    @property
    def earned(self) -> float:
        """Total reward since the environments were created, before normalization."""
        return self.finished_rewards + float(self._returns.sum())

    def step(self, actions: Array) -> StepResult:
        """Step every environment with actions (N, *action)."""
        observations, rewards, terminated, truncated, info = self.vector.step(actions)
        self.fresh = False
        ended = terminated | truncated
        observations = np.array(observations)  # a native environment may write its next ones into the same array
        next_observations = observations
        self._returns += rewards
        self._lengths += 1
        self._checks.check_step(observations, rewards, self._lengths)
        self._fit(observations)
        normalized = self._normalize(rewards)
        if ended.any():
            next_observations = observations.copy()
            for i in np.flatnonzero(ended):
                next_observations[i] = info["final_obs"][i]
                self.episodes.append((float(self._returns[i]), int(self._lengths[i])))
                self.finished_rewards += float(self._returns[i])
            self.finished += int(ended.sum())
            self._returns[ended] = 0
            self._lengths[ended] = 0
            self._discounted[ended] = 0
        self.observations = observations
        self.masks = self._read_masks(info)
        masks = None if self.masks is None else next_state_masks(self.masks, ended, info)
        return StepResult(next_observations, normalized, terminated, ended, masks)

    def _read_masks(self, info: Mapping[str, Any]) -> Array | None:
        """Return masks (N, K) from the info of a reset or step; None until the first mask of any state."""
        if not self.masked:
            return None
        masks = action_masks(self.vector, info)
        provided = self.masks is not None or "action_mask" in info.get("final_info", ())
        if masks is None and provided:
            sizes = action_counts(self.vector.single_action_space)
            return np.ones((len(self), sum(sizes)), bool) if sizes else None
        return masks

    def encode(self, observations: Array, task_ids: Array | None = None) -> Array:
        """Encode raw observations with the current statistics.

        Args:
            observations: (N, *observation).
            task_ids: (N,) int64, of stored observations; None for observations of these environments.

        Returns:
            (N, *encoded) float32.
        """
        if self._is_identity and self._norm is None:
            return observations.astype(np.float32, copy=False)
        ids = self.task_id if task_ids is None else torch.from_numpy(task_ids)
        encoded: Array = self.encoder.encode(torch.as_tensor(observations), ids).numpy()
        return encoded

    def _fit(self, observations: Array) -> None:
        if not self.adapting:
            return
        if not self._is_identity:
            self._observed.fit(torch.as_tensor(observations))
        if self._norm is not None:
            self._norm.fit(self._observed.encode(torch.as_tensor(observations), self.task_id))

    def _normalize(self, rewards: Array) -> Array:
        norm = self._norm
        if norm is None or not norm.rewards:
            return rewards.astype(np.float32)
        self._discounted = self._discounted * norm.gamma + rewards
        if self.adapting:
            norm.returns.update(self._discounted)
        scaled: Array = np.clip(rewards / np.sqrt(norm.returns.var + norm.epsilon), -norm.clip, norm.clip)
        return scaled.astype(np.float32)

    def values(self) -> dict[str, float]:
        """Return mean return and length of the last 100 finished episodes; empty before the first."""
        if not self.episodes:
            return {}
        returns, lengths = zip(*self.episodes, strict=True)
        return {"episode_return": float(np.mean(returns)), "episode_length": float(np.mean(lengths))}

    def last_returns(self, ended: Array) -> dict[int, float]:
        """Return the undiscounted returns of the episodes that the last step finished, by environment.

        Args:
            ended: (N,) bool, as the last step returned it.
        """
        environments = np.flatnonzero(ended)[-EPISODES:].tolist()
        latest = list(self.episodes)[len(self.episodes) - len(environments) :]
        return {environment: total for environment, (total, _) in zip(environments, latest, strict=True)}

    def check(self) -> None:
        """Raise DivergenceError if observations are not finite."""
        self._checks.check_observations(self.observations)

    def close(self) -> None:
        self.vector.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the state; ``environments`` is None if the environments cannot be saved."""
        return {
            "environments": environment_state(self.vector),
            "observations": self.observations,
            "masks": self.masks,
            "returns": self._returns,
            "lengths": self._lengths,
            "discounted": self._discounted,
            "episodes": [list(episode) for episode in self.episodes],
            "finished": self.finished,
            "earned": self.finished_rewards,
            "steps": self._checks.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`; logs a warning if episodes must be restarted."""
        self.episodes.clear()
        self.episodes.extend((float(total), int(length)) for total, length in state["episodes"])
        self.finished = state["finished"]
        self.finished_rewards = state.get("earned", 0.0)  # missing in checkpoints of older versions
        self._checks.steps = state.get("steps", 0)  # missing in checkpoints of older versions
        if state["environments"] is None:
            logger.warning(
                "environment %s cannot be saved in the middle of an episode: the %d episodes in progress are restarted",
                self.source.name,
                len(self),
            )
            self.finished_rewards += float(np.sum(state["returns"]))
            return
        restore_environment(self.vector, state["environments"])
        self.fresh = False
        self.observations = np.array(state["observations"])
        self.masks = None if state["masks"] is None else np.array(state["masks"])
        self._returns, self._lengths = np.array(state["returns"]), np.array(state["lengths"])
        self._discounted = np.array(state["discounted"])
