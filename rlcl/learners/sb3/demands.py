"""What an algorithm asks of environments beside observations and rewards: allowed actions, rewards of other goals."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from rlcl.data.environments.action_masks import tells_masks
from rlcl.data.environments.contract import shortened
from rlcl.data.environments.environment import Environment
from rlcl.errors import UnsupportedError
from rlcl.learners.reinforcement.reach import out_of_reach

__all__ = ["check_demands", "check_spaces", "out_of_policys_reach", "takes_masks"]

GOALS = ("observation", "achieved_goal", "desired_goal")
HINDSIGHT = "learner.options.replay_buffer_class: HerReplayBuffer"
FLAT = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)


def check_spaces(observations: gym.Space[Any], actions: gym.Space[Any]) -> None:
    """Refuse spaces that no policy of Stable-Baselines3 reads or answers in.

    Raises:
        UnsupportedError: Stable-Baselines3 has no policy for observations or actions of such a space.
    """
    parts = observations.spaces if isinstance(observations, gym.spaces.Dict) else {"observation": observations}
    for what, space in (*parts.items(), ("action", actions)):
        if not isinstance(space, FLAT) or (isinstance(space, gym.spaces.Box) and not space.shape):
            raise UnsupportedError(
                f"learner sb3: {what!r} is of the space {shortened(space)}, and Stable-Baselines3 takes Box of one "
                "dimension at least, Discrete, MultiDiscrete and MultiBinary, and Dict of these for observations; "
                "flatten it by the encoder flatten, or by a wrapper of the environment"
            )


def out_of_policys_reach(model: BaseAlgorithm, actions: gym.Space[Any]) -> str | None:
    """What is wrong with actions that a policy's first normal distribution does not fill; None for nothing."""
    log_std = getattr(model.policy, "log_std", None)  # of on-policy ones; the others scale
    if log_std is None or not isinstance(actions, gym.spaces.Box) or model.policy.squash_output:
        return None
    return out_of_reach(actions, log_std.mean().item())


def takes_masks(algorithm: type[BaseAlgorithm]) -> bool:
    """Whether an algorithm is told which actions are allowed."""
    return "action_masks" in inspect.signature(algorithm.predict).parameters


def check_demands(model: BaseAlgorithm, source: Environment) -> None:
    """
    Raises:
        UnsupportedError: the environment lacks what the model asks for.
    """
    if takes_masks(type(model)) and not tells_masks(source):
        raise UnsupportedError(
            f"learner.algorithm: {type(model).__name__} learns from the actions that an environment allows, and "
            f'{source.name} does not say which; give it a method action_masks() or info["action_mask"], or use PPO'
        )
    buffer = getattr(model, "replay_buffer", None)
    if isinstance(buffer, HerReplayBuffer):
        _check_goals(source, buffer.copy_info_dict)


def _check_goals(source: Environment, with_infos: bool) -> None:
    if source.vectorization == "native":
        raise UnsupportedError(
            f"{HINDSIGHT} asks one environment for the rewards of other goals, which a native vector environment is "
            "not; set vectorization: sync or async"
        )
    if with_infos and source.vectorization != "sync":
        raise UnsupportedError(
            f"{HINDSIGHT} with copy_info_dict: true keeps the info of single environments, which workers do not hand "
            "on; set vectorization: sync, or leave copy_info_dict out"
        )
    env = source.make()
    try:
        space = env.observation_space
        missing = [key for key in GOALS if not isinstance(space, gym.spaces.Dict) or key not in space.spaces]
        if missing:
            raise UnsupportedError(
                f"{HINDSIGHT} takes observations of the parts {', '.join(GOALS)}, and those of {source.name} lack "
                f"{', '.join(missing)}; leave it out"
            )
        if not env.has_wrapper_attr("compute_reward"):
            raise UnsupportedError(
                f"{HINDSIGHT} asks for the rewards of other goals, and {source.name} has no method "
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
        found = env.get_wrapper_attr("compute_reward")(goals, goals, [{}, {}])
    except Exception as error:  # the environment's own code
        found = f"{type(error).__name__}: {error}"
    if not isinstance(found, np.ndarray) or found.shape != (2,):
        raise UnsupportedError(
            f"{HINDSIGHT} asks for the rewards of many goals at once: compute_reward of {name}, given goals of shape "
            f"{goals.shape}, must return an array of shape (2,), got {found!r}"
        )
