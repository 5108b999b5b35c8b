"""Requirements of algorithms on environments: spaces, action masks, rewards of other goals."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from rlcl.data.environments.action_masks import provides_masks
from rlcl.data.environments.contract import shorten
from rlcl.data.environments.environment import Environment
from rlcl.errors import UnsupportedError
from rlcl.learners.reinforcement.action_bounds import action_bounds_warning

__all__ = ["check_requirements", "check_spaces", "policy_bounds_warning", "takes_masks"]

GOALS = ("observation", "achieved_goal", "desired_goal")
HINDSIGHT = "learner.options.replay_buffer_class: HerReplayBuffer"
FLAT = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)


def check_spaces(observations: gym.Space[Any], actions: gym.Space[Any]) -> None:
    """Check that policies of Stable-Baselines3 support an observation space and an action space.

    Raises:
        UnsupportedError: Stable-Baselines3 does not support one of the spaces.
    """
    parts = observations.spaces if isinstance(observations, gym.spaces.Dict) else {"observation": observations}
    for part, space in (*parts.items(), ("action", actions)):
        if not isinstance(space, FLAT) or (isinstance(space, gym.spaces.Box) and not space.shape):
            raise UnsupportedError(
                f"learner sb3: {part!r} has the space {shorten(space)}, and Stable-Baselines3 supports Box with at "
                "least one dimension, Discrete, MultiDiscrete and MultiBinary, and Dict of these for observations; "
                "flatten it by the encoder flatten, or by a wrapper of the environment"
            )


def policy_bounds_warning(model: BaseAlgorithm, actions: gym.Space[Any]) -> str | None:
    """Return a warning if the action bounds do not match the initial normal distribution of a policy, or None."""
    log_std = getattr(model.policy, "log_std", None)  # of on-policy algorithms; others scale actions
    if log_std is None or not isinstance(actions, gym.spaces.Box) or model.policy.squash_output:
        return None
    return action_bounds_warning(actions, log_std.mean().item())


def takes_masks(algorithm: type[BaseAlgorithm]) -> bool:
    """Return whether an algorithm takes action masks."""
    return "action_masks" in inspect.signature(algorithm.predict).parameters


def check_requirements(model: BaseAlgorithm, source: Environment) -> None:
    """Check that an environment provides the action masks and goals that a model needs.

    Raises:
        UnsupportedError: it does not.
    """
    if takes_masks(type(model)) and not provides_masks(source):
        raise UnsupportedError(
            f"learner.algorithm: {type(model).__name__} needs action masks, and environment {source.name} provides "
            'none; add a method action_masks() or info["action_mask"] to the environment, or use PPO'
        )
    buffer = getattr(model, "replay_buffer", None)
    if isinstance(buffer, HerReplayBuffer):
        _check_goals(source, buffer.copy_info_dict)


def _check_goals(source: Environment, with_infos: bool) -> None:
    if source.vectorization == "native":
        raise UnsupportedError(
            f"{HINDSIGHT} computes rewards of other goals with single environments, which a native vector environment "
            "does not have; set vectorization: sync or async"
        )
    if with_infos and source.vectorization != "sync":
        raise UnsupportedError(
            f"{HINDSIGHT} with copy_info_dict: true needs the info of single environments, which worker processes do "
            "not transfer; set vectorization: sync, or leave copy_info_dict out"
        )
    env = source.make()
    try:
        space = env.observation_space
        missing = [key for key in GOALS if not isinstance(space, gym.spaces.Dict) or key not in space.spaces]
        if missing:
            raise UnsupportedError(
                f"{HINDSIGHT} needs observations with the parts {', '.join(GOALS)}, and environment {source.name} has "
                f"no {', '.join(missing)}; leave it out"
            )
        if not env.has_wrapper_attr("compute_reward"):
            raise UnsupportedError(
                f"{HINDSIGHT} needs the rewards of other goals, and environment {source.name} has no method "
                "compute_reward(achieved_goal, desired_goal, info); leave it out"
            )
        if not with_infos:
            _check_rewards(env, source.name)
    finally:
        env.close()


def _check_rewards(env: gym.Env[Any, Any], name: str) -> None:
    space: Any = env.observation_space
    goals = np.stack([np.asarray(space["achieved_goal"].sample()) for _ in range(2)])
    try:
        rewards = env.get_wrapper_attr("compute_reward")(goals, goals, [{}, {}])
    except Exception as error:  # the environment's own code
        rewards = f"{type(error).__name__}: {error}"
    if not isinstance(rewards, np.ndarray) or rewards.shape != (2,):
        raise UnsupportedError(
            f"{HINDSIGHT} needs the rewards of many goals at once: compute_reward of environment {name} must return an "
            f"array of shape (2,) for goals of shape {goals.shape}, got {rewards!r}"
        )
