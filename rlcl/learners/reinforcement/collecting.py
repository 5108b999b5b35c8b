"""Environments at work: observations encoded, rewards normalised, episodes counted, their state in and out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from attrs import define, field, frozen
from gymnasium.vector import VectorEnv

from rlcl.data.environments.action_masks import action_masks, choices, masks_that_followed
from rlcl.data.environments.environment import Environment
from rlcl.data.environments.state import environment_state, restore_environment
from rlcl.encoders.compose import observations_and_norm
from rlcl.encoders.identity import Identity
from rlcl.encoders.running_norm import RunningNorm
from rlcl.learners.reinforcement.watching import Watch
from rlcl.types import Encoder

__all__ = ["Collector", "Step"]

Array = np.ndarray[Any, Any]
logger = logging.getLogger(__name__)

EPISODES = 100  # the last ones, whose mean is told


@frozen(eq=False)
class Step:
    """What came of one action in each of N environments.

    Args:
        following: (N, *observation) raw states that followed, the last one of an episode before its reset.
        rewards: (N,) float32, normalised where the encoder says so.
        terminated: (N,) bool, whether those states are terminal.
        ended: (N,) bool, whether the episode ended there, terminated or truncated.
        masks: (N, K) bool, the actions that those states allow; None where environments do not say, or are not asked.
    """

    following: Array
    rewards: Array
    terminated: Array
    ended: Array
    masks: Array | None


@define(eq=False)
class Collector:
    """Training environments side by side.

    An episode restarts in the step that it ends in, so that every step is a transition.

    Args:
        source: the recipe; makes the environments, which are seeded and reset at once.
        encoder: of observations; running statistics are updated at each step.
        masked: whether environments are asked which actions they allow.
        adapting: whether running statistics are updated.
    """

    source: Environment
    encoder: Encoder
    masked: bool = False
    adapting: bool = True
    observations: Array = field(init=False)  # (N, *observation) raw, of the dtype of the space
    masks: Array | None = field(init=False, default=None)  # (N, K) bool, the actions allowed now; None for all
    vector: VectorEnv[Any] = field(init=False)
    episodes: deque[tuple[float, int]] = field(init=False, factory=lambda: deque(maxlen=EPISODES))
    finished: int = field(init=False, default=0)
    fresh: bool = field(init=False, default=True)  # whether all environments were reset since the last step
    _watch: Watch = field(init=False)
    _observed: Encoder = field(init=False)
    _as_it_is: bool = field(init=False)  # whether it is the identity, asked once: of a protocol it takes a microsecond
    _norm: RunningNorm | None = field(init=False)
    _returns: Array = field(init=False)
    _lengths: Array = field(init=False)
    _discounted: Array = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._observed, self._norm = observations_and_norm(self.encoder)
        self._as_it_is = isinstance(self._observed, Identity)
        self.vector = self.source.make_vector(copies=False)  # they are copied below
        self._watch = Watch(self.source.name, self.vector.single_observation_space)
        count = self.vector.num_envs
        self._returns, self._lengths = np.zeros(count), np.zeros(count, dtype=np.int64)
        self._discounted = np.zeros(count)
        try:
            self._reset()
        except BaseException:
            self.close()  # processes that it may have
            raise

    def _reset(self) -> None:
        observations, info = self.vector.reset(seed=self.source.seed)
        self.observations = np.array(observations)
        self.masks = self._allowed(info)
        self._returns[:] = 0
        self._lengths[:] = 0
        self._discounted[:] = 0
        self._fit(self.observations)

    def __len__(self) -> int:
        return self.vector.num_envs

    @property
    def learns(self) -> bool:
        """Whether its encoder has statistics of these very environments."""
        return not self._as_it_is or self._norm is not None

    @property
    def starts(self) -> Array:
        """(N,) bool, whether what is observed now begins an episode."""
        begins: Array = self._lengths == 0
        return begins

    def step(self, actions: Array) -> Step:
        """Acts in every environment."""
        observations, rewards, terminated, truncated, info = self.vector.step(actions)
        self.fresh = False
        ended = terminated | truncated
        observations = np.array(observations)  # a native environment may write its next ones into the same array
        following = observations
        self._returns += rewards
        self._lengths += 1
        self._watch.step(observations, rewards, self._lengths)
        self._fit(observations)
        given = self._normalized(rewards)
        if ended.any():
            following = observations.copy()
            for i in np.flatnonzero(ended):
                following[i] = info["final_obs"][i]
                self.episodes.append((float(self._returns[i]), int(self._lengths[i])))
            self.finished += int(ended.sum())
            self._returns[ended] = 0
            self._lengths[ended] = 0
            self._discounted[ended] = 0
        self.observations = observations
        self.masks = self._allowed(info)
        masks = None if self.masks is None else masks_that_followed(self.masks, ended, info)
        return Step(following, given, terminated, ended, masks)

    def _allowed(self, info: Mapping[str, Any]) -> Array | None:
        """(N, K) bool of what a reset or step told; None as long as nothing has been told of any state."""
        if not self.masked:
            return None
        masks = action_masks(self.vector, info)
        told = self.masks is not None or "action_mask" in info.get("final_info", ())
        if masks is None and told:
            sizes = choices(self.vector.single_action_space)
            return np.ones((len(self), sum(sizes)), bool) if sizes else None
        return masks

    def encode(self, observations: Array) -> Array:
        """(N, *observation) raw to (N, *encoded) float32, by the present statistics."""
        if self._as_it_is and self._norm is None:
            return observations.astype(np.float32, copy=False)
        encoded: Array = self.encoder.encode(torch.as_tensor(observations)).numpy()
        return encoded

    def _fit(self, observations: Array) -> None:
        if not self.adapting:
            return
        if not self._as_it_is:
            self._observed.fit(torch.as_tensor(observations))
        if self._norm is not None:
            self._norm.fit(self._observed.encode(torch.as_tensor(observations)))

    def _normalized(self, rewards: Array) -> Array:
        norm = self._norm
        if norm is None or not norm.rewards:
            return rewards.astype(np.float32)
        self._discounted = self._discounted * norm.gamma + rewards
        if self.adapting:
            norm.returns.update(self._discounted)
        scaled: Array = np.clip(rewards / np.sqrt(norm.returns.var + norm.epsilon), -norm.clip, norm.clip)
        return scaled.astype(np.float32)

    def values(self) -> dict[str, float]:
        """Means of the last episodes that ended, at most 100; nothing before the first."""
        if not self.episodes:
            return {}
        returns, lengths = zip(*self.episodes, strict=True)
        return {"episode_return": float(np.mean(returns)), "episode_length": float(np.mean(lengths))}

    def check(self) -> None:
        """Raises DivergenceError where the environments gave what is no number."""
        self._watch.look(self.observations)

    def close(self) -> None:
        self.vector.close()

    def state_dict(self) -> dict[str, Any]:
        """The environments' state is None where it cannot be saved."""
        return {
            "environments": environment_state(self.vector),
            "observations": self.observations,
            "masks": self.masks,
            "returns": self._returns,
            "lengths": self._lengths,
            "discounted": self._discounted,
            "episodes": [list(episode) for episode in self.episodes],
            "finished": self.finished,
            "steps": self._watch.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken; says so where episodes must start anew."""
        self.episodes.clear()
        self.episodes.extend((float(total), int(length)) for total, length in state["episodes"])
        self.finished = state["finished"]
        self._watch.steps = state.get("steps", 0)  # not in checkpoints from before it was counted
        if state["environments"] is None:
            logger.warning(
                "environment %s cannot be saved in the middle of an episode: the %d in flight are started anew",
                self.source.name,
                len(self),
            )
            return
        restore_environment(self.vector, state["environments"])
        self.fresh = False
        self.observations = np.array(state["observations"])
        self.masks = None if state["masks"] is None else np.array(state["masks"])
        self._returns, self._lengths = np.array(state["returns"]), np.array(state["lengths"])
        self._discounted = np.array(state["discounted"])
