"""Algorithms of Stable-Baselines3 by name: their keyword arguments, and their ``learn`` as a generator."""

from __future__ import annotations

import inspect
import typing
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from rlcl.errors import Problem, UnsupportedError, did_you_mean

__all__ = ["algorithms", "build_model", "cut_episodes", "find_algorithm", "give_environments", "training"]

POSITIVE = frozenset({"n_steps", "n_epochs", "batch_size", "buffer_size"})

# Classes that replay_buffer_class names.
BUFFERS = {each.__name__: each for each in (ReplayBuffer, DictReplayBuffer, NStepReplayBuffer, HerReplayBuffer)}

# Set by rlcl itself, from the config's own keys.
RESERVED = frozenset({"self", "policy", "env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model"})


def algorithms() -> dict[str, type[BaseAlgorithm]]:
    """Every algorithm that is installed, by name."""
    modules = [stable_baselines3]
    try:
        import sb3_contrib

        modules.append(sb3_contrib)
    except ModuleNotFoundError:
        pass
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, BaseAlgorithm)
    }


def find_algorithm(name: str) -> type[BaseAlgorithm]:
    """
    Raises:
        Problem: there is no algorithm of that name.
    """
    known = algorithms()
    if name not in known:
        hint = "" if "TRPO" in known else "; more are in sb3-contrib: pip install rlcl[contrib]"
        raise Problem(f"unknown algorithm {name!r}{did_you_mean(name, known)}{hint}", "learner.algorithm")
    return known[name]


def build_model(
    algorithm: type[BaseAlgorithm],
    name: str,
    policy: str | None,
    options: Mapping[str, Any],
    env: VecEnv,
    seed: int,
    device: str,
) -> BaseAlgorithm:
    """
    Raises:
        Problem: an option that the algorithm does not have.
        UnsupportedError: spaces that it cannot serve.
    """
    parameters = inspect.signature(algorithm.__init__).parameters
    allowed = set(parameters) - RESERVED
    for key in options:
        if key not in allowed:
            raise Problem(f"{name} has no option {key!r}{did_you_mean(key, allowed)}", f"learner.options.{key}")
    _check_types(algorithm, options)
    arguments = {key: _value(key, value, env) for key, value in options.items()}
    chosen = policy or _fitting_policy(env.observation_space, algorithm)
    if chosen not in algorithm.policy_aliases:
        raise Problem(f"unknown policy {chosen!r}{did_you_mean(chosen, algorithm.policy_aliases)}", "learner.policy")
    given = {key: value for key, value in {"seed": seed, "device": device}.items() if key in parameters}
    try:
        model = algorithm(chosen, env, **arguments, **given)  # type: ignore[arg-type]
    except KeyError as error:  # a part of observations, or a strategy of hindsight by name
        raise UnsupportedError(f"learner sb3: {name} refuses these options or spaces: there is no {error}") from error
    except (AssertionError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise UnsupportedError(f"learner sb3: {name} refuses these options or spaces: {error}") from error
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def _check_types(algorithm: type[BaseAlgorithm], options: Mapping[str, Any]) -> None:
    """Raises Problem for an option that is not the number or switch that the algorithm's signature says."""
    parameters = inspect.signature(algorithm.__init__).parameters
    for key, value in options.items():
        arms = _arms(parameters[key].annotation)
        if not arms & {"int", "float"} or (isinstance(value, str) and value.startswith("lin_")):
            continue
        fits = value is None and bool(arms & {"None", "NoneType"})
        fits |= isinstance(value, bool) and "bool" in arms
        if isinstance(value, int | float) and not isinstance(value, bool):
            fits |= "float" in arms or isinstance(value, int)
        if isinstance(value, str | list | tuple):
            fits |= bool(arms - {"int", "float", "None", "NoneType", "Schedule"})
        if not fits:
            raise Problem(f"expected a number, got {value!r}", f"learner.options.{key}")
        if key in POSITIVE and isinstance(value, int | float) and value < 1:
            raise Problem(f"expected a whole number of at least 1, got {value!r}", f"learner.options.{key}")


def _arms(annotation: Any) -> set[str]:
    """Names of the types that an annotation allows; it may be text, whose names need not be importable."""
    if isinstance(annotation, str):
        return {arm.strip() for arm in annotation.split("|")}
    return {getattr(arm, "__name__", str(arm)) for arm in typing.get_args(annotation) or (annotation,)}


def _fitting_policy(space: gym.Space[Any], algorithm: type[BaseAlgorithm]) -> str:
    from stable_baselines3.common.preprocessing import is_image_space

    suffix = "LstmPolicy" if "MlpLstmPolicy" in algorithm.policy_aliases else "Policy"
    if isinstance(space, gym.spaces.Dict):
        return f"MultiInput{suffix}"
    return f"{'Cnn' if is_image_space(space) else 'Mlp'}{suffix}"


def _value(key: str, value: Any, env: VecEnv) -> Any:
    """What a config can only describe: schedules, noise, activation functions, tuples."""
    if isinstance(value, str) and value.startswith("lin_"):
        try:
            start = float(value.removeprefix("lin_"))
        except ValueError:
            raise Problem(f"expected lin_ and a number, got {value!r}", f"learner.options.{key}") from None
        return lambda progress: progress * start
    if key == "action_noise" and value is not None:
        shaped = isinstance(value, Mapping) and len(value) == 1
        kind, sigma = next(iter(value.items())) if shaped else ("", None)
        if not shaped or not isinstance(sigma, int | float):
            raise Problem(f"expected {{normal: 0.1}}, got {value!r}", "learner.options.action_noise")
        noises = {"normal": NormalActionNoise, "ornstein_uhlenbeck": OrnsteinUhlenbeckActionNoise}
        if kind not in noises:
            raise Problem(f"unknown noise {kind!r}{did_you_mean(kind, noises)}", "learner.options.action_noise")
        size = env.action_space.shape or ()
        return noises[kind](np.zeros(size), np.full(size, float(sigma)))
    if key == "replay_buffer_class" and value is not None:
        if not isinstance(value, str) or value not in BUFFERS:
            raise Problem(f"unknown class {value!r}{did_you_mean(str(value), BUFFERS)}", f"learner.options.{key}")
        return BUFFERS[value]
    if key == "policy_kwargs" and isinstance(value, Mapping) and isinstance(value.get("activation_fn"), str):
        activation = getattr(torch.nn, value["activation_fn"], None)
        if activation is None:
            raise Problem(f"torch.nn has no {value['activation_fn']!r}", "learner.options.policy_kwargs.activation_fn")
        return {**value, "activation_fn": activation}
    if key == "train_freq" and isinstance(value, list):
        return tuple(value)
    return dict(value) if isinstance(value, Mapping) else value


class _Silent(BaseCallback):
    """The callback that Stable-Baselines3 wants to be given; it does nothing."""

    def _on_step(self) -> bool:
        return True


def training(model: BaseAlgorithm, env_steps: int) -> Iterator[None]:
    """``model.learn`` as a generator: yields after every rollout and what was learned from it.

    A test holds the final weights equal to those of one ``learn`` call.

    Args:
        model: with its environment set; its counters go on.
        env_steps: to collect at least.
    """
    total, callback = model._setup_learn(env_steps, _Silent(), reset_num_timesteps=False)
    callback.on_training_start(locals(), globals())
    if isinstance(model, OnPolicyAlgorithm):
        yield from _on_policy(model, total, callback)
    elif isinstance(model, OffPolicyAlgorithm):
        yield from _off_policy(model, total, callback)
    else:
        yield from _evolutionary(model, total, callback)
    callback.on_training_end()


def cut_episodes(model: Any) -> None:
    """Marks the episodes in flight as cut off, before another environment goes on writing to the replay buffer.

    Returns over several steps would reach into it, and a buffer that shares observations would take
    its first observation for the last one's next.
    """
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None or not buffer.size():
        return
    newest = buffer.pos - 1
    if isinstance(buffer, HerReplayBuffer):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of what is wanted here
            buffer.truncate_last_trajectory()
    elif buffer.optimize_memory_usage:
        buffer.dones[newest] = 1
    elif hasattr(buffer, "timeouts"):
        # A timeout without an end changes nothing in a sample of one step: its next value counts as before.
        buffer.timeouts[newest] = np.maximum(buffer.timeouts[newest], 1 - buffer.dones[newest])


def give_environments(model: Any, env: VecEnv) -> None:
    """Gives a model other environments, and a hindsight buffer too: it asks them for the rewards of other goals."""
    model.set_env(env)
    if isinstance(getattr(model, "replay_buffer", None), HerReplayBuffer):
        model.replay_buffer.env = model.env


def _on_policy(model: OnPolicyAlgorithm, total: int, callback: BaseCallback) -> Iterator[None]:
    while model.num_timesteps < total:
        model.collect_rollouts(model.env, callback, model.rollout_buffer, n_rollout_steps=model.n_steps)  # type: ignore[arg-type]
        model._update_current_progress_remaining(model.num_timesteps, total)
        model.train()
        yield


def _off_policy(model: OffPolicyAlgorithm, total: int, callback: BaseCallback) -> Iterator[None]:
    while model.num_timesteps < total:
        rollout = model.collect_rollouts(
            model.env,  # type: ignore[arg-type]
            train_freq=model.train_freq,  # type: ignore[arg-type]
            action_noise=model.action_noise,
            callback=callback,
            learning_starts=model.learning_starts,
            replay_buffer=model.replay_buffer,  # type: ignore[arg-type]
            log_interval=None,
        )
        if model.num_timesteps > 0 and model.num_timesteps > model.learning_starts:
            steps = model.gradient_steps if model.gradient_steps >= 0 else rollout.episode_timesteps
            if steps > 0:
                model.train(batch_size=model.batch_size, gradient_steps=steps)
        yield


def _evolutionary(model: Any, total: int, callback: BaseCallback) -> Iterator[None]:
    """Augmented random search, the one algorithm of neither family."""
    while model.num_timesteps < total:
        model._update_current_progress_remaining(model.num_timesteps, total)
        model._do_one_update(callback, None)
        yield
