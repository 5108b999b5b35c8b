"""Environments as a source: one Gymnasium environment with its kwargs and attributes, vectorised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, cast

import attrs
import gymnasium as gym
import numpy as np
import rlcl_envs  # noqa: F401  its import registers our environments
from attrs import frozen
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlcl.data.environments.action_masks import random_action
from rlcl.data.environments.guard import Guard
from rlcl.data.environments.plugins import register_plugins
from rlcl.data.environments.seeded import ignores_seed
from rlcl.data.environments.workers import Workers
from rlcl.data.validation import check_environment, check_spaces, warn_of_seed
from rlcl.errors import DataError, EnvironmentApiError, Problem, SettingError, did_you_mean
from rlcl.types import EnvironmentSource

__all__ = ["Environment", "Vectorization"]

Vectorization = Literal["sync", "async", "native"]
AnyEnv = gym.Env[Any, Any]


@frozen(eq=False)
class Environment(EnvironmentSource):
    """A recipe for environments, which are made when they are asked for.

    Args:
        env: a Gymnasium id, ``module:Id``, or a callable (``file.py:Class``) that takes ``kwargs``.
        kwargs: keyword arguments of the environment.
        attributes: attributes of the unwrapped environment, set after it is made (gravity, length).
        num_envs: environments that run side by side in training.
        vectorization: ``sync`` (one after the other), ``async`` (each in a process of its own) or ``native`` (the
            environment's own vector version).
        seed: of the training environments.
        name: for messages.
        frames: last observations in one, the oldest first, (frames, *observation); 1 leaves them as they are.
            An episode starts with its first observation repeated.
        flat: whether an observation of several parts (Dict, Tuple), or one of several things (Discrete), is
            made one vector, by Gymnasium's ``flatten_space``: parts one after the other, things one-hot.
    """

    kind: ClassVar[Literal["environment"]] = "environment"

    env: str | Callable[..., AnyEnv]
    kwargs: Mapping[str, Any] = attrs.field(factory=dict)
    attributes: Mapping[str, Any] = attrs.field(factory=dict)
    num_envs: int = 1
    vectorization: Vectorization = "sync"
    seed: int = 0
    name: str = ""
    frames: int = 1
    flat: bool = False

    def make(self, side_by_side: bool = False) -> AnyEnv:
        """One environment, with its attributes set, behind a :class:`~rlcl.data.environments.guard.Guard`.

        Args:
            side_by_side: as of the guard.

        Raises:
            SettingError: no environment of that name, or an attribute that it lacks.
        """
        env: AnyEnv = Guard(self._given(), self.name, side_by_side)
        if self.flat:
            env = gym.wrappers.FlattenObservation(env)
        return env if self.frames == 1 else gym.wrappers.FrameStackObservation(env, self.frames)

    def make_vector(
        self, num_envs: int | None = None, mode: AutoresetMode = AutoresetMode.SAME_STEP, copies: bool = True
    ) -> VectorEnv[Any]:
        """Environments side by side.

        Args:
            num_envs: how many; ``self.num_envs`` by default.
            mode: when an ended episode restarts; in the same step, with the last observation in
                ``info["final_obs"]``, so that no step is spent on a reset.
            copies: whether observations are arrays of their own at each step; else, where environments take turns, the
                next ones may be written into the same array.
        """
        count = self.num_envs if num_envs is None else num_envs
        if self.vectorization == "native":
            if self.frames > 1 or self.flat:
                what = "frames are stacked" if self.frames > 1 else "observations are flattened"
                raise DataError(
                    f"environment {self.name}: {what} in each environment alone, so that vectorization: "
                    "native does not go with that; use sync"
                )
            return self._native(count, mode)
        if self.vectorization == "async":
            return Workers(self._one_of_several, count, mode, self.name)
        return SyncVectorEnv([self._one_of_several] * count, copy=copies, autoreset_mode=mode)

    def check(self) -> None:
        """Raises DataError or EnvironmentApiError for what is wrong with it, after a few steps."""
        env = self._given(checker=False)  # whose faults are told here, and in one line
        try:
            check_environment(env, self.name)
            if ignores_seed(lambda: self._given(checker=False), env):
                warn_of_seed(self.name)
        finally:
            env.close()
        if self.vectorization == "native":
            self.make_vector(1).close()

    def spaces(self) -> tuple[gym.Space[Any], gym.Space[Any]]:
        """Observation and action space of one environment."""
        env = self.make()
        try:
            return env.observation_space, env.action_space
        finally:
            env.close()

    def random_observations(self, count: int) -> np.ndarray[Any, Any]:
        """(count, *observation) observations under random actions among those allowed, the same ones always."""
        env = self.make()
        env.action_space.seed(self.seed)
        observation, info = env.reset(seed=self.seed)
        seen = []
        for _ in range(count):
            seen.append(observation)
            action = random_action(env.action_space, info.get("action_mask"))
            observation, _, terminated, truncated, info = env.step(action)
            if terminated or truncated:
                observation, info = env.reset()
        env.close()
        return np.stack(seen)

    def alone(self, **kwargs: Any) -> Environment:
        """One environment in this process, with further keyword arguments."""
        return attrs.evolve(self, vectorization="sync", num_envs=1, kwargs={**self.kwargs, **kwargs})

    def stacked(self, frames: int) -> Environment:
        """Each observation is the last ones; see ``frames``."""
        return attrs.evolve(self, frames=frames)

    def flattened(self) -> Environment:
        """Each observation is one vector; see ``flat``."""
        return attrs.evolve(self, flat=True)

    def without_task_ids(self) -> Environment:
        return self

    def _one_of_several(self) -> AnyEnv:
        return self.make(side_by_side=True)

    def _given(self, checker: bool = True) -> AnyEnv:
        """The environment as its user gave it, with its attributes set.

        Args:
            checker: whether Gymnasium's own checker is around a registered one, as by default.
        """
        env = self._call(lambda: self._made(checker))
        if not isinstance(env, gym.Env):
            raise EnvironmentApiError(
                f"environment {self.name}: {type(env).__name__} is not a subclass of gymnasium.Env"
            )
        check_spaces(env, self.name)
        _set_attributes(env.unwrapped, self.attributes, self.name)
        return env

    def _made(self, checker: bool) -> Any:
        if not isinstance(self.env, str):
            return self.env(**self.kwargs)
        register_plugins(self.env)
        return gym.make(self.env, **{**self.kwargs, **({} if checker else {"disable_env_checker": True})})

    def _native(self, count: int, mode: AutoresetMode) -> VectorEnv[Any]:
        if not isinstance(self.env, str):
            raise SettingError(f"environment {self.name}: native vectorisation needs a registered id; use sync")
        self._call(lambda: register_plugins(str(self.env)))
        spec = self._call(lambda: gym.spec(self.env))  # type: ignore[arg-type]
        if spec.vector_entry_point is None:
            raise SettingError(
                f"environment {self.name} has no native vector version; use vectorization: sync{_ours(self.env)}"
            )
        vector = self._call(
            lambda: gym.make_vec(
                self.env,  # type: ignore[arg-type]
                num_envs=count,
                vectorization_mode="vector_entry_point",
                **self.kwargs,
            )
        )
        if vector.metadata.get("autoreset_mode") is not mode:
            vector.close()
            raise SettingError(
                f"environment {self.name}: its native vector version cannot autoreset in the same step; use "
                f"vectorization: sync{_ours(self.env)}"
            )
        _set_attributes(vector.unwrapped, self.attributes, self.name)
        return cast(VectorEnv[Any], vector)

    def _call(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except gym.error.NamespaceNotFound as error:
            raise SettingError(
                f"environment {self.name!r} cannot be made: no installed package declares the namespace of this id; "
                "install the one that has it, or name the module that registers it when it is imported: module:Id, as "
                f"in ale_py:ALE/Pong-v5{did_you_mean(str(self.env), gym.registry)}"
            ) from error
        except gym.error.Error as error:
            reason = str(error).split(" Did you mean")[0].splitlines()[0].rstrip(".")
            raise SettingError(
                f"environment {self.name!r} cannot be made: {reason}"
                f"{did_you_mean(str(self.env), gym.registry) if str(self.env) not in gym.registry else ''}"
            ) from error
        except ModuleNotFoundError as error:
            raise SettingError(
                f"environment {self.name!r} needs a package: {str(error).split('. ')[0]}; install it"
            ) from error
        except (AssertionError, AttributeError) as error:  # Gymnasium's own checks of a registered environment
            raise EnvironmentApiError(f"environment {self.name!r} cannot be made: {error}") from error
        except (TypeError, ValueError) as error:
            raise SettingError(
                f"environment {self.name!r}: its kwargs {dict(self.kwargs)} do not fit: {error}"
            ) from error


def _ours(env: str | Callable[..., AnyEnv]) -> str:
    return f" (or rlcl_envs/{env}, whose native version can)" if f"rlcl_envs/{env}" in gym.registry else ""


def _set_attributes(env: Any, attributes: Mapping[str, Any], name: str) -> None:
    for key, value in attributes.items():
        if not hasattr(env, key):
            raise SettingError(f"environment {name} has no attribute {key!r}{did_you_mean(key, _numbers(env))}")
        if not isinstance(value, type(getattr(env, key))) and not isinstance(value, int | float):
            raise SettingError(f"environment {name}: attribute {key}: expected a number, got {value!r}")
        try:
            # Physics of rlcl_envs by name, which refuses a mass of 0.
            env.set_physics(**{key: value}) if key in getattr(env, "physics", ()) else setattr(env, key, value)
        except ValueError as error:
            raise SettingError(f"environment {name}: attribute {error}") from error
    # CartPole stores these instead of deriving them: without this, a new length or mass is half applied.
    if attributes and hasattr(env, "polemass_length") and hasattr(env, "total_mass"):
        env.total_mass = env.masspole + env.masscart
        env.polemass_length = env.masspole * env.length


def _numbers(env: Any) -> list[str]:
    plain = [k for k, v in vars(env).items() if isinstance(v, int | float) and not k.startswith("_")]
    return list(dict.fromkeys([*getattr(env, "physics", ()), *plain]))


def environment_class(reference: str) -> str | Callable[..., AnyEnv]:
    """What ``Environment.env`` takes: the id itself, or the class that ``file.py:Class`` names.

    Raises:
        Problem: there is no such file or class.
    """
    place, _, attribute = reference.rpartition(":")
    if reference.endswith(".py"):
        raise Problem(f"env: expected a class of {reference}; write {reference}:Class")
    if not place.endswith(".py"):
        return reference
    from rlcl.registry import find

    found = find("data", reference)
    if not callable(found):
        raise Problem(f"{reference}: expected a class, got {attribute} = {found!r}")
    result: Callable[..., AnyEnv] = found
    return result
