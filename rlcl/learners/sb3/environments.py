"""Vector environments of Stable-Baselines3 over environments of rlcl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecNormalize, VecTransposeImage
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rlcl.data.environments.action_masks import ActionMaskWrapper, action_counts, action_masks
from rlcl.data.environments.environment import Environment
from rlcl.data.environments.workers import WorkerVectorEnv
from rlcl.encoders.compose import observations_and_norm
from rlcl.encoders.identity import Identity
from rlcl.encoders.running_norm import RunningMoments, RunningNorm
from rlcl.learners.sb3.zero_based_spaces import ZeroBasedVecEnv, starts_at_zero
from rlcl.types import Encoder

__all__ = ["EncodedVecEnv", "NativeVecEnv", "RewardCounter", "make_environments", "reward_counter"]


def make_environments(
    source: Environment, encoder: Encoder, fitting: bool = True, masked: bool = False, task_id: int | None = None
) -> VecEnv:
    """Create seeded training environments with encoded observations and normalized rewards.

    Args:
        source: creates the environments.
        encoder: encoder of the run.
        fitting: whether the encoder is fitted on their observations and rewards.
        masked: whether action masks are read from the environments.
        task_id: task of the environments, None if it is hidden.
    """
    env: VecEnv
    observations, norm = observations_and_norm(encoder)
    if source.vectorization == "sync":
        env = DummyVecEnv(
            [lambda: Monitor(ActionMaskWrapper(source.make()) if masked else source.make())] * source.num_envs
        )
    else:
        env = NativeVecEnv(source, masked)
    env.seed(source.seed)
    env = RewardCounter(env)
    if not (starts_at_zero(env.observation_space) and starts_at_zero(env.action_space)):
        env = ZeroBasedVecEnv(env)
    if not isinstance(observations, Identity):
        env = EncodedVecEnv(env, observations, fitting, task_id)
    return env if norm is None else _normalized(env, norm, fitting)


def _normalized(env: VecEnv, norm: RunningNorm, fitting: bool) -> VecNormalize:
    """Wrap environments in VecNormalize, which uses and updates the encoder's statistics."""
    space = env.observation_space
    # Unnormalized images are transposed below VecNormalize, because replay buffers store its original observations.
    if not norm.observations and is_image_space(space) and not is_image_space_channels_first(space):  # type: ignore[arg-type]
        env = VecTransposeImage(env)
    normalize = VecNormalize(
        env,
        training=fitting,
        norm_obs=norm.observations,
        norm_reward=norm.rewards,
        clip_obs=norm.clip,
        clip_reward=norm.clip,
        gamma=norm.gamma,
        epsilon=norm.epsilon,
    )
    normalize.obs_rms = _Statistics(norm.observed)  # type: ignore[assignment]  # a dict for Dict spaces in SB3
    normalize.ret_rms = _Statistics(norm.returns)
    return normalize


class _Statistics(RunningMeanStd):
    """Running statistics of an encoder, as the type that Stable-Baselines3 expects."""

    def __init__(self, moments: RunningMoments) -> None:
        self._moments = moments

    def __getattr__(self, name: str) -> Any:
        return getattr(self._moments, name)

    def update(self, arr: np.ndarray[Any, Any]) -> None:
        self._moments.update(arr)


class NativeVecEnv(VecEnv):
    """A Gymnasium vector environment with same-step autoreset, as VecEnv of Stable-Baselines3."""

    def __init__(self, source: Environment, masked: bool = False) -> None:
        self.vector = source.make_vector()
        self._masked = masked
        self._masks: np.ndarray[Any, Any] | None = None  # (N, K) bool, actions allowed now
        self.render_mode = None
        super().__init__(self.vector.num_envs, self.vector.single_observation_space, self.vector.single_action_space)
        self._actions: Any = None
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)

    def reset(self) -> VecEnvObs:
        seed = self._seeds[0]
        observations, info = self.vector.reset(seed=seed)
        self._read_masks(info)
        self._reset_seeds()
        self._returns[:] = 0
        self._lengths[:] = 0
        return observations  # type: ignore[no-any-return]

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, terminated, truncated, info = self.vector.step(self._actions)
        self._read_masks(info)
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(dones):
            infos[i] = {
                "terminal_observation": info["final_obs"][i],
                "TimeLimit.truncated": bool(truncated[i] and not terminated[i]),
                "episode": {"r": float(self._returns[i]), "l": int(self._lengths[i]), "t": 0.0},
            }
            self._returns[i] = self._lengths[i] = 0
        # Copied, because a native environment may write its next observations into the same array.
        return _copied(observations), rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        self.vector.close()

    def _read_masks(self, info: dict[str, Any]) -> None:
        if self._masked:
            masks = action_masks(self.vector, info)
            shape = (self.num_envs, sum(action_counts(self.vector.single_action_space)))
            self._masks = np.ones(shape, bool) if masks is None else masks

    def has_attr(self, attr_name: str) -> bool:
        return self._masks is not None if attr_name == "action_masks" else super().has_attr(attr_name)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        value: Any = getattr(self.vector.unwrapped, attr_name, None)
        rows = self._get_indices(indices)
        return [value[i] for i in rows] if self._per_environment(value) else [value for _ in rows]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        current = getattr(self.vector.unwrapped, attr_name, None)
        if self._per_environment(current):
            values = np.array(current)
            values[list(self._get_indices(indices))] = value
            value = values
        setattr(self.vector.unwrapped, attr_name, value)

    def _per_environment(self, value: Any) -> bool:
        return isinstance(value, np.ndarray) and value.shape == (self.num_envs,)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        if method_name == "action_masks" and self._masks is not None:
            return [self._masks[i] for i in self._get_indices(indices)]
        if isinstance(self.vector, WorkerVectorEnv):
            results = self.vector.call(method_name, *args, **kwargs)
            return [results[i] for i in self._get_indices(indices)]
        return [getattr(self.vector.unwrapped, method_name)(*args, **kwargs)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        return [wrapper_class is Monitor] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[np.ndarray[Any, Any] | None]:
        return [None] * self.num_envs


class RewardCounter(VecEnvWrapper):
    """Environments whose rewards are added up, before normalization.

    Args:
        venv: the environments.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.total = 0.0

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        result = self.venv.step_wait()
        self.total += float(result[1].sum())
        return result


def reward_counter(env: VecEnv) -> RewardCounter | None:
    """Return the counter in environments of :func:`make_environments`."""
    while isinstance(env, VecEnvWrapper) and not isinstance(env, RewardCounter):
        env = env.venv
    return env if isinstance(env, RewardCounter) else None


def _copied(observations: Any) -> Any:
    """Return a C-contiguous copy; sums depend on the memory layout."""
    if isinstance(observations, dict):
        return {name: part.copy() for name, part in observations.items()}
    return observations.copy()


class EncodedVecEnv(VecEnvWrapper):
    """Environments of one task with encoded observations; the encoder is fitted at each step if ``fitting``."""

    def __init__(self, venv: VecEnv, encoder: Encoder, fitting: bool = True, task_id: int | None = None) -> None:
        assert isinstance(venv.observation_space, gym.spaces.Box)
        super().__init__(venv, observation_space=encoder.space(venv.observation_space))
        self._encoder, self._fitting, self._task_id = encoder, fitting, task_id

    def reset(self) -> VecEnvObs:
        return self._encode(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        if self._fitting:
            self._encoder.fit(torch.as_tensor(observations))
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = self._encode(info["terminal_observation"][None])[0]
        return self._encode(observations), rewards, dones, infos

    def _encode(self, observations: Any) -> np.ndarray[Any, Any]:
        encoded: np.ndarray[Any, Any] = self._encoder.encode(torch.as_tensor(observations), self._task_id).numpy()
        return encoded.astype(self.observation_space.dtype, copy=False)
