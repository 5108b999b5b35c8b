"""Wrappers of environments: those of Gymnasium by name, and those of a user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
from attrs import frozen

from rlcl.config import option
from rlcl.errors import EnvironmentApiError, Problem, SettingError, did_you_mean
from rlcl.registry import find

__all__ = ["EnvironmentWrapper", "check_wrapper"]

AnyEnv = gym.Env[Any, Any]

# Wrappers that would change what is measured, without a message.
UNSUPPORTED: Mapping[str, str] = {
    "NormalizeObservation": "evaluation environments would not share its running statistics; use encoder running_norm",
    "NormalizeReward": "the returns of evaluation would be normalized too; write a wrapper with a fixed scale",
    "Autoreset": "episodes would not end; vector environments reset finished environments themselves",
    "RecordVideo": "it would write a file in every environment; use rlcl watch --gif",
    "HumanRendering": "it opens a window in every environment; use rlcl watch",
    **dict.fromkeys(
        ("ArrayConversion", "JaxToNumpy", "JaxToTorch", "NumpyToTorch"), "observations and actions must be NumPy arrays"
    ),
}


@frozen(kw_only=True)
class EnvironmentWrapper:
    """A wrapper that is put around an environment.

    Args:
        wrapper: name of a class in ``gymnasium.wrappers``, ``module:Class`` or ``file.py:Class``. A function that takes
            an environment and returns one is accepted as well.
        kwargs: keyword arguments of the wrapper.
    """

    wrapper: str = option()
    kwargs: Mapping[str, Any] = option(factory=dict)

    def around(self, env: AnyEnv, name: str) -> AnyEnv:
        """Return the environment in this wrapper.

        Args:
            env: the environment.
            name: its name, for messages.

        Raises:
            SettingError: the wrapper does not accept its keyword arguments, or this environment.
            EnvironmentApiError: it does not return an environment.
        """
        cls = _wrapper_class(self.wrapper)
        try:
            wrapped = cls(env, **self.kwargs)
        except (TypeError, ValueError, AssertionError, AttributeError, gym.error.Error) as error:
            raise SettingError(
                f"environment {name}: wrapper {self.wrapper} with kwargs {dict(self.kwargs)} cannot be used: {error}"
            ) from error
        if not isinstance(wrapped, gym.Env):
            raise EnvironmentApiError(
                f"environment {name}: wrapper {self.wrapper} returned {type(wrapped).__name__}, not a gymnasium.Env"
            )
        return wrapped


def check_wrapper(name: str) -> None:
    """Check that a wrapper exists and can be used.

    Raises:
        Problem: there is no wrapper of this name, or it is not supported.
    """
    _wrapper_class(name)


def _wrapper_class(name: str) -> Callable[..., Any]:
    own_name = name.rpartition(":")[2] if name.startswith("gymnasium.") else name
    if own_name in UNSUPPORTED:
        raise Problem(f"wrapper {name} is not supported: {UNSUPPORTED[own_name]}")
    names = [n for n in gym.wrappers.__all__ if n[0].isupper() and n not in UNSUPPORTED]
    if name not in names and ":" not in name:
        raise Problem(
            f"unknown wrapper {name!r} (a class of gymnasium.wrappers, module:Class or file.py:Class)"
            f"{did_you_mean(name, names)}"
        )
    value = find("data", name if ":" in name else f"gymnasium.wrappers:{name}")
    if not callable(value):
        raise Problem(f"wrapper {name}: expected a class or a function, got {value!r}")
    wrapper: Callable[..., Any] = value
    return wrapper
