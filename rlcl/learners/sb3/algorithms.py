"""Algorithms of Stable-Baselines3 by name, with checked keyword arguments, and ``learn`` as a generator."""

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

__all__ = ["algorithms", "build_model", "find_algorithm", "learn_in_rounds", "set_environments", "truncate_episodes"]

POSITIVE = frozenset({"n_steps", "n_epochs", "batch_size", "buffer_size"})

# Allowed values of replay_buffer_class.
BUFFERS = {cls.__name__: cls for cls in (ReplayBuffer, DictReplayBuffer, NStepReplayBuffer, HerReplayBuffer)}

# Arguments that rlcl sets.
RESERVED = frozenset({"self", "policy", "env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model"})


def algorithms() -> dict[str, type[BaseAlgorithm]]:
    """Return the installed algorithms by name."""
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
    """Return the algorithm with a name.

    Raises:
        Problem: there is no such algorithm.
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
    """Create a model.

    Args:
        algorithm: class of Stable-Baselines3 or sb3-contrib.
        name: name of the algorithm, for messages.
        policy: name of a policy class; None for the policy that fits the observation space.
        options: keyword arguments of the algorithm.
        env: environments with the spaces of the model.
        seed: seed of the model.
        device: a torch device.

    Raises:
        Problem: the algorithm does not have an option.
        UnsupportedError: the algorithm does not support the options or the spaces.
    """
    parameters = inspect.signature(algorithm.__init__).parameters
    allowed = set(parameters) - RESERVED
    for key in options:
        if key not in allowed:
            raise Problem(f"{name} has no option {key!r}{did_you_mean(key, allowed)}", f"learner.options.{key}")
    _check_types(algorithm, options)
    arguments = {key: _value(key, value, env) for key, value in options.items()}
    alias = policy or _default_policy(env.observation_space, algorithm)
    if alias not in algorithm.policy_aliases:
        raise Problem(f"unknown policy {alias!r}{did_you_mean(alias, algorithm.policy_aliases)}", "learner.policy")
    common = {key: value for key, value in {"seed": seed, "device": device}.items() if key in parameters}
    try:
        model = algorithm(alias, env, **arguments, **common)  # type: ignore[arg-type]
    except KeyError as error:  # a missing part of observations, or an unknown strategy of hindsight replay
        raise UnsupportedError(f"learner sb3: {name} does not accept these options or spaces: no {error}") from error
    except (AssertionError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise UnsupportedError(f"learner sb3: {name} does not accept these options or spaces: {error}") from error
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def _check_types(algorithm: type[BaseAlgorithm], options: Mapping[str, Any]) -> None:
    """Raise Problem for an option whose type differs from the number or bool in the algorithm's signature."""
    parameters = inspect.signature(algorithm.__init__).parameters
    for key, value in options.items():
        types = _type_names(parameters[key].annotation)
        if not types & {"int", "float"} or (isinstance(value, str) and value.startswith("lin_")):
            continue
        fits = value is None and bool(types & {"None", "NoneType"})
        fits |= isinstance(value, bool) and "bool" in types
        if isinstance(value, int | float) and not isinstance(value, bool):
            fits |= "float" in types or isinstance(value, int)
        if isinstance(value, str | list | tuple):
            fits |= bool(types - {"int", "float", "None", "NoneType", "Schedule"})
        if not fits:
            raise Problem(f"expected a number, got {value!r}", f"learner.options.{key}")
        if key in POSITIVE and isinstance(value, int | float) and value < 1:
            raise Problem(f"expected a whole number of at least 1, got {value!r}", f"learner.options.{key}")


def _type_names(annotation: Any) -> set[str]:
    """Return the names of the types of an annotation, which may be text with names that are not importable."""
    if isinstance(annotation, str):
        return {name.strip() for name in annotation.split("|")}
    return {getattr(cls, "__name__", str(cls)) for cls in typing.get_args(annotation) or (annotation,)}


def _default_policy(space: gym.Space[Any], algorithm: type[BaseAlgorithm]) -> str:
    from stable_baselines3.common.preprocessing import is_image_space

    suffix = "LstmPolicy" if "MlpLstmPolicy" in algorithm.policy_aliases else "Policy"
    if isinstance(space, gym.spaces.Dict):
        return f"MultiInput{suffix}"
    return f"{'Cnn' if is_image_space(space) else 'Mlp'}{suffix}"


def _value(key: str, value: Any, env: VecEnv) -> Any:
    """Convert a config value to an argument: schedules, noise, classes, activation functions, tuples."""
    if isinstance(value, str) and value.startswith("lin_"):
        try:
            start = float(value.removeprefix("lin_"))
        except ValueError:
            raise Problem(f"expected lin_ and a number, got {value!r}", f"learner.options.{key}") from None
        return lambda progress: progress * start
    if key == "action_noise" and value is not None:
        is_pair = isinstance(value, Mapping) and len(value) == 1
        kind, sigma = next(iter(value.items())) if is_pair else ("", None)
        if not is_pair or not isinstance(sigma, int | float):
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


class _NoCallback(BaseCallback):
    """Callback that does nothing; Stable-Baselines3 requires one."""

    def _on_step(self) -> bool:
        return True


def learn_in_rounds(model: BaseAlgorithm, env_steps: int) -> Iterator[None]:
    """Run ``model.learn`` as a generator, which yields after each rollout and its updates.

    The final weights equal those of one ``learn`` call (a test compares them).

    Args:
        model: a model with environments; its counters continue.
        env_steps: minimum number of env steps.
    """
    total, callback = model._setup_learn(env_steps, _NoCallback(), reset_num_timesteps=False)
    callback.on_training_start(locals(), globals())
    if isinstance(model, OnPolicyAlgorithm):
        yield from _on_policy(model, total, callback)
    elif isinstance(model, OffPolicyAlgorithm):
        yield from _off_policy(model, total, callback)
    else:
        yield from _evolutionary(model, total, callback)
    callback.on_training_end()


def truncate_episodes(model: Any) -> None:
    """Mark the current episodes as truncated, before another environment writes to the replay buffer.

    Otherwise n-step returns would extend over both environments, and a buffer with shared observations would use the
    first observation of the new environment as the next observation of the last transition.
    """
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None or not buffer.size():
        return
    newest = buffer.pos - 1
    if isinstance(buffer, HerReplayBuffer):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warning is about this truncation
            buffer.truncate_last_trajectory()
    elif buffer.optimize_memory_usage:
        buffer.dones[newest] = 1
    elif hasattr(buffer, "timeouts"):
        # A timeout does not change one-step targets: they bootstrap from the next value in either case.
        buffer.timeouts[newest] = np.maximum(buffer.timeouts[newest], 1 - buffer.dones[newest])


def set_environments(model: Any, env: VecEnv) -> None:
    """Set the environments of a model and of its hindsight buffer, which computes rewards with them."""
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
    """Run augmented random search, the only algorithm that is neither on-policy nor off-policy."""
    while model.num_timesteps < total:
        model._update_current_progress_remaining(model.num_timesteps, total)
        model._do_one_update(callback, None)
        yield
