"""Environment source: a Gymnasium environment with its kwargs and attributes, optionally vectorized."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, ClassVar, Literal, cast

import attrs
import gymnasium as gym
import numpy as np
import rlcl_envs  # noqa: F401  the import registers the environments of rlcl_envs
from attrs import frozen
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlcl.data.drift import Drift
from rlcl.data.environments.action_masks import random_action
from rlcl.data.environments.drifting import ContinuingEnv, ContinuingVector, DriftingEnv, DriftingVector
from rlcl.data.environments.guard import EnvironmentGuard
from rlcl.data.environments.padding import Padding
from rlcl.data.environments.plugins import register_plugins
from rlcl.data.environments.seed_check import ignores_seed
from rlcl.data.environments.workers import WorkerVectorEnv
from rlcl.data.environments.wrappers import EnvironmentWrapper
from rlcl.data.validation import check_environment, check_spaces, warn_about_seed
from rlcl.errors import DataError, EnvironmentApiError, Problem, SettingError, did_you_mean
from rlcl.registry import find
from rlcl.types import EnvironmentSource

__all__ = ["Environment", "Vectorization"]

Vectorization = Literal["sync", "async", "native"]
AnyEnv = gym.Env[Any, Any]


@frozen(eq=False)
class Environment(EnvironmentSource):
    """A specification of environments, which are made on demand.

    Args:
        env: Gymnasium id, ``module:Id``, or a class or function that takes ``kwargs`` and returns an environment.
        kwargs: keyword arguments of the environment.
        attributes: attributes of the unwrapped environment, set after it is made (gravity, length). A key may be a
            path (``model.opt.gravity``).
        wrappers: wrappers around the environment, the innermost first.
        padding: sizes of the spaces that it has in common with other tasks; None for the spaces that it has.
        drift: parameters that drift with the env steps of the stream.
        clock: env step of the stream at which the environments are made.
        frozen: whether drifting parameters keep their values at ``clock``.
        continuing: whether ends of episodes are hidden.
        num_envs: number of parallel environments in training.
        vectorization: ``sync`` (in one process), ``async`` (each in a separate process) or ``native`` (the vector
            version of the environment).
        score_range: returns that correspond to the scores 0 and 1; None if they are not defined.
        seed: seed of the training environments.
        name: name for messages.
        frames: number of last frames stacked in an observation, the oldest first, (frames, *observation); 1 for no
            stacking. At the start of an episode the first frame is repeated.
        flat: whether structured observations (Dict, Tuple, Discrete) are flattened to one vector, as by Gymnasium's
            ``flatten_space``: parts are concatenated, discrete values are one-hot encoded.
    """

    kind: ClassVar[Literal["environment"]] = "environment"

    env: str | Callable[..., AnyEnv]
    kwargs: Mapping[str, Any] = attrs.field(factory=dict)
    attributes: Mapping[str, Any] = attrs.field(factory=dict)
    wrappers: tuple[EnvironmentWrapper, ...] = ()
    padding: Padding | None = None
    drift: tuple[Drift, ...] = ()
    clock: int = 0
    frozen: bool = False
    continuing: bool = False
    num_envs: int = 1
    vectorization: Vectorization = "sync"
    score_range: tuple[float, float] | None = None
    seed: int = 0
    name: str = ""
    frames: int = 1
    flat: bool = False

    @property
    def recipe(self) -> str:
        """See :class:`rlcl.types.EnvironmentSource`."""
        env = self.env
        if isinstance(env, FunctionType):  # its text has an address
            env = f"{env.__module__}:{env.__qualname__}"
        wrappers = [(wrapper.wrapper, dict(wrapper.kwargs)) for wrapper in self.wrappers]
        parts = (wrappers, self.padding, self.drift, "continuing" * self.continuing)
        further = [part for part in parts if part]  # nothing of what older records do not have
        return repr((str(env), dict(self.kwargs), dict(self.attributes), *further))

    @property
    def requires_masks(self) -> bool:
        """See :class:`rlcl.types.EnvironmentSource`."""
        return self.padding is not None and self.padding.actions is not None

    def make(self, side_by_side: bool = False) -> AnyEnv:
        """Make one environment, set its attributes, and wrap it in an ``EnvironmentGuard``.

        Args:
            side_by_side: see :class:`~rlcl.data.environments.guard.EnvironmentGuard`.

        Raises:
            SettingError: there is no environment of that name, or it lacks an attribute.
        """
        env: AnyEnv = EnvironmentGuard(self.unguarded(), self.name, side_by_side)
        if self.flat:
            env = gym.wrappers.FlattenObservation(env)
        return env if self.frames == 1 else gym.wrappers.FrameStackObservation(env, self.frames)

    def make_vector(
        self, num_envs: int | None = None, mode: AutoresetMode = AutoresetMode.SAME_STEP, copies: bool = True
    ) -> VectorEnv[Any]:
        """Make a vector environment.

        Args:
            num_envs: number of environments; ``self.num_envs`` by default.
            mode: time at which a finished episode restarts. By default it is the same step, with the last observation
                in ``info["final_obs"]``, so that no step is used for a reset.
            copies: whether each step returns new observation arrays; if not, ``sync`` environments write the next
                observations into the same array.

        Raises:
            DataError: ``native`` is combined with stacked frames, flattened observations or wrappers.
            SettingError: the environment cannot be made with these settings.
        """
        count = self.num_envs if num_envs is None else num_envs
        if self.vectorization == "native":
            unsupported = {
                "stacked frames": self.frames > 1,
                "flattened observations": self.flat,
                "wrappers": bool(self.wrappers),
                "padded spaces": self.padding is not None,
            }
            if any(unsupported.values()):
                what = next(name for name, is_set in unsupported.items() if is_set)
                raise DataError(f"environment {self.name}: vectorization: native does not support {what}; use sync")
            return self._native(count, mode)
        if self.vectorization == "async":
            return WorkerVectorEnv(self._one_of_several, count, mode, self.name)
        return SyncVectorEnv([self._one_of_several] * count, copy=copies, autoreset_mode=mode)

    def check(self) -> None:
        """Check the environment in a few steps; see :meth:`rlcl.types.EnvironmentSource.check`."""
        env = self.unguarded(checker=False)  # check_environment reports the same faults in one line
        try:
            check_environment(env, self.name)
            if ignores_seed(lambda: self.unguarded(checker=False), env):
                warn_about_seed(self.name)
        finally:
            env.close()
        if self.vectorization == "native":
            self.make_vector(1).close()

    def spaces(self) -> tuple[gym.Space[Any], gym.Space[Any]]:
        """Return the observation space and the action space of one environment."""
        env = self.make()
        try:
            return env.observation_space, env.action_space
        finally:
            env.close()

    def random_observations(self, count: int) -> np.ndarray[Any, Any]:
        """Return observations (count, *observation) under random allowed actions, the same ones in each call."""
        env = self.make()
        env.action_space.seed(self.seed)
        observation, info = env.reset(seed=self.seed)
        observations = []
        for _ in range(count):
            observations.append(observation)
            action = random_action(env.action_space, info.get("action_mask"))
            observation, _, terminated, truncated, info = env.step(action)
            if terminated or truncated:
                observation, info = env.reset()
        env.close()
        return np.stack(observations)

    def alone(self, **kwargs: Any) -> Environment:
        """Return a source of one environment in this process, with additional keyword arguments."""
        return attrs.evolve(self, vectorization="sync", num_envs=1, kwargs={**self.kwargs, **kwargs})

    def seeded(self, seed: int) -> Environment:
        """Return a source with another seed."""
        return attrs.evolve(self, seed=seed)

    def at(self, step: int) -> Environment:
        """See :meth:`rlcl.types.EnvironmentSource.at`."""
        return attrs.evolve(self, clock=step) if self.drift else self

    def stacked(self, frames: int) -> Environment:
        """Return a source with stacked frames; see ``frames``."""
        return attrs.evolve(self, frames=frames)

    def flattened(self) -> Environment:
        """Return a source with flattened observations; see ``flat``."""
        return attrs.evolve(self, flat=True)

    def without_task_ids(self) -> Environment:
        return self

    def _one_of_several(self) -> AnyEnv:
        return self.make(side_by_side=True)

    def unguarded(self, checker: bool = True) -> AnyEnv:
        """Make the environment without the guard, set its attributes, and wrap it.

        Args:
            checker: whether Gymnasium wraps a registered environment in its own checker, as it does by default.
        """
        env = self._call(lambda: self._construct(checker))
        if not isinstance(env, gym.Env):
            raise EnvironmentApiError(
                f"environment {self.name}: {type(env).__name__} is not a subclass of gymnasium.Env"
            )
        check_spaces(env, self.name)
        _set_attributes(env.unwrapped, self.attributes, self.name)
        for wrapper in self.wrappers:
            env = wrapper.around(env, self.name)
        if self.wrappers:
            check_spaces(env, self.name)
        if self.drift:
            unwrapped, stride = env.unwrapped, 0 if self.frozen else self.num_envs
            env = DriftingEnv(env, self.drift, _attribute_setter(unwrapped, self.name), self.clock, stride, self.name)
        if self.continuing:
            env = ContinuingEnv(env)
        return env if self.padding is None else self.padding.around(env, self.name)

    def _construct(self, checker: bool) -> Any:
        if not isinstance(self.env, str):
            return self.env(**self.kwargs)
        register_plugins(self.env)
        return gym.make(self.env, **{**self.kwargs, **({} if checker else {"disable_env_checker": True})})

    def _native(self, count: int, mode: AutoresetMode) -> VectorEnv[Any]:
        if not isinstance(self.env, str):
            raise SettingError(f"environment {self.name}: vectorization: native needs a registered id; use sync")
        self._call(lambda: register_plugins(str(self.env)))
        spec = self._call(lambda: gym.spec(self.env))  # type: ignore[arg-type]
        if spec.vector_entry_point is None:
            raise SettingError(
                f"environment {self.name} has no native vector version; use vectorization: sync{_alternative(self.env)}"
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
                f"vectorization: sync{_alternative(self.env)}"
            )
        unwrapped = vector.unwrapped
        _set_attributes(unwrapped, self.attributes, self.name)
        if self.drift:
            set_attribute, stride = _attribute_setter(unwrapped, self.name), 0 if self.frozen else count
            vector = DriftingVector(vector, self.drift, set_attribute, self.clock, stride, self.name)
        return cast(VectorEnv[Any], ContinuingVector(vector) if self.continuing else vector)

    def _call(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except gym.error.NamespaceNotFound as error:
            raise SettingError(
                f"environment {self.name!r} cannot be made: no installed package declares the namespace of this id; "
                "install the package, or name the module that registers it on import: module:Id, as "
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
        except (AssertionError, AttributeError) as error:  # raised by Gymnasium's checks of a registered environment
            raise EnvironmentApiError(f"environment {self.name!r} cannot be made: {error}") from error
        except (TypeError, ValueError) as error:
            raise SettingError(
                f"environment {self.name!r}: kwargs {dict(self.kwargs)} are not accepted: {error}"
            ) from error


def _alternative(env: str | Callable[..., AnyEnv]) -> str:
    return f" (or rlcl_envs/{env}, which supports native)" if f"rlcl_envs/{env}" in gym.registry else ""


def _set_attributes(env: Any, attributes: Mapping[str, Any], name: str) -> None:
    physics = env.physics if hasattr(env, "set_physics") else ()
    for key, value in attributes.items():
        try:
            if key in physics:
                env.set_physics(**{key: value})  # checks the range of values, for example that a mass is not 0
                continue
            holder, last = _holder(env, key, name)
            current = holder[last] if isinstance(last, int) else getattr(holder, last)
            if isinstance(last, int):
                _set_element(env, key, value)
            elif isinstance(current, np.ndarray):
                setattr(holder, last, _array_like(current, key, value))
            elif not isinstance(value, type(current)) and not isinstance(value, int | float):
                raise ValueError(f"{key}: expected a number, got {value!r}")
            else:
                setattr(holder, last, value)
        except (AttributeError, TypeError, ValueError) as error:
            raise SettingError(f"environment {name}: attribute {error}") from error
    # CartPole stores these two values instead of deriving them, so that a new length or mass must be applied to them.
    if attributes and hasattr(env, "polemass_length") and hasattr(env, "total_mass"):
        env.total_mass = env.masspole + env.masscart
        env.polemass_length = env.masspole * env.length


def _attribute_setter(env: Any, name: str) -> Callable[[str, float], None]:
    """Return a function that sets an attribute of an environment, from its name and value."""
    return lambda key, value: _set_attributes(env, {key: value}, name)


def _set_element(env: Any, key: str, value: Any) -> None:
    """Set one number of an array; the array is replaced by a changed copy, since environments may share it.

    Raises:
        ValueError: the value is not a number.
    """
    path, _, index = key.rpartition(".")
    parent, last = env, path
    if "." in path:
        above, _, last = path.rpartition(".")
        for part in above.split("."):
            parent = getattr(parent, part)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key}: expected a number, got {value!r}")
    array = np.array(getattr(parent, last))
    array[int(index)] = value
    setattr(parent, last, array)


def _holder(env: Any, key: str, name: str) -> tuple[Any, str | int]:
    """Return the object that has the attribute at a path, and the name of the attribute, or its index in an array."""
    holder, parts = env, key.split(".")
    if len(parts) > 1 and parts[-1].isdecimal():
        array, attribute = _holder(env, key.rpartition(".")[0], name)
        values = array[attribute] if isinstance(attribute, int) else getattr(array, attribute)
        if not isinstance(values, np.ndarray) or values.ndim != 1 or int(parts[-1]) >= len(values):
            raise SettingError(f"environment {name}: {key} is not an element of an array of one dimension")
        return values, int(parts[-1])
    for depth, part in enumerate(parts):
        if not hasattr(holder, part):
            place = f"environment {name}" if depth == 0 else f"{'.'.join(parts[:depth])} of environment {name}"
            raise SettingError(f"{place} has no attribute {part!r}{did_you_mean(part, _numbers(holder))}")
        if depth < len(parts) - 1:
            holder = getattr(holder, part)
    return holder, parts[-1]


def _array_like(array: np.ndarray[Any, Any], key: str, value: Any) -> np.ndarray[Any, Any]:
    """Return a value as an array of the same shape and type; a new one, since environments may share the other.

    Raises:
        ValueError: the value has another shape, or would lose digits.
    """
    new = np.asarray(value)
    if new.shape != array.shape or not np.can_cast(new.dtype, array.dtype, "same_kind"):
        raise ValueError(f"{key}: expected {array.dtype} of shape {array.shape}, got {value!r}")
    return new.astype(array.dtype)


def _numbers(env: Any) -> list[str]:
    values = getattr(env, "__dict__", {})
    plain = [k for k, v in values.items() if isinstance(v, int | float | np.ndarray) and not k.startswith("_")]
    return list(dict.fromkeys([*getattr(env, "physics", ()), *plain]))


def environment_class(reference: str) -> str | Callable[..., AnyEnv]:
    """Return the value of ``Environment.env`` for a setting.

    Args:
        reference: a Gymnasium id, which is returned unchanged, also as ``module:Id``; or a class or a function that
            makes an environment, as ``file.py:name`` or ``module:name``.

    Raises:
        Problem: there is no such file or class.
    """
    source, _, attribute = reference.rpartition(":")
    if reference.endswith(".py"):
        raise Problem(f"env: expected a class or function of {reference}; write {reference}:Class")
    if not source.endswith(".py") and not _has_attribute(source, attribute):
        return reference
    value = find("data", reference)
    if not callable(value):
        raise Problem(f"{reference}: expected a class or function, got {attribute} = {value!r}")
    make: Callable[..., AnyEnv] = value
    return make


def _has_attribute(module: str, attribute: str) -> bool:
    """Return whether an installed module has an attribute that is no id which it has registered."""
    if not module or not attribute.isidentifier():
        return False
    try:
        return hasattr(importlib.import_module(module), attribute) and attribute not in gym.registry
    except ImportError:
        return False
