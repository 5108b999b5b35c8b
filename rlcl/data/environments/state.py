"""The state of environments side by side, out and in, so that a learner may stop in the middle of an episode.

Saved are environments that do it themselves (``state_dict`` and ``load_state_dict``, as those of
rlcl_envs), and Gymnasium's classic control under the wrappers that ``gymnasium.make`` puts on; those in
processes of their own tell it from there. Of any other environment nobody can tell what its next step depends on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control import (
    AcrobotEnv,
    CartPoleEnv,
    Continuous_MountainCarEnv,
    MountainCarEnv,
    PendulumEnv,
)
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FlattenObservation, FrameStackObservation, OrderEnforcing, PassiveEnvChecker, TimeLimit

from rlcl.data.environments.guard import Guard
from rlcl.errors import DataError

__all__ = ["environment_of_state", "environment_state", "restore_environment", "state_of_environment"]

AnyEnv = gym.Env[Any, Any]

# All that these classes remember, beside spaces, generator and screen, is in plain attributes.
KNOWN = (AcrobotEnv, CartPoleEnv, Continuous_MountainCarEnv, MountainCarEnv, PendulumEnv)
DRAWING = frozenset({"render_mode", "isopen", "screen", "clock", "screen_width", "screen_height", "screen_dim"})
# What a wrapper remembers from step to step; what Gymnasium's checker does changes no result.
WRAPPERS: Mapping[type, tuple[str, ...]] = {
    FlattenObservation: (),
    FrameStackObservation: ("obs_queue", "padding_value"),
    OrderEnforcing: ("_has_reset",),
    PassiveEnvChecker: (),
    TimeLimit: ("_elapsed_steps",),
}
SYNC = ("_observations", "_rewards", "_terminations", "_truncations", "_autoreset_envs")


def environment_state(vector: VectorEnv[Any]) -> dict[str, Any] | None:
    """All that later steps of environments depend on, as a tree of arrays and plain values.

    Args:
        vector: as :meth:`rlcl.data.environments.environment.Environment.make_vector` makes it.

    Returns:
        None where it cannot be saved. The generators of the spaces are their user's.
    """
    if _saves_itself(vector):
        return {"itself": vector.state_dict()}  # type: ignore[attr-defined]
    if isinstance(vector, AsyncVectorEnv):
        # A restart that waits for the next step is known to the process alone.
        same_step = vector.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        saved = vector.get_attr("saved") if same_step else (None,)
        return None if None in saved else {"workers": list(saved)}
    # Only a vector whose observations are one array: of dicts, each row would be a view of many.
    if type(vector) is not SyncVectorEnv or not isinstance(vector.single_observation_space, gym.spaces.Box):
        return None
    envs = [state_of_environment(env) for env in vector.envs]
    if None in envs:
        return None
    return {"vector": {name: np.array(getattr(vector, name)) for name in SYNC}, "envs": envs}


def restore_environment(vector: VectorEnv[Any], state: Mapping[str, Any]) -> None:
    """Restores what :func:`environment_state` gave; the next step goes on where that one stopped.

    Args:
        vector: made by the same recipe, with or without a reset.
        state: of as many environments of the same kind.

    Raises:
        DataError: the state of other environments.
    """
    try:
        if _saves_itself(vector) != ("itself" in state) or isinstance(vector, AsyncVectorEnv) != ("workers" in state):
            raise ValueError("it was saved under another vectorization")
        if "itself" in state:
            vector.load_state_dict(state["itself"])  # type: ignore[attr-defined]
        elif isinstance(vector, AsyncVectorEnv):
            _restore_workers(vector, state["workers"])
        else:
            _restore_sync(vector, state)
    except ValueError as error:
        raise DataError(f"the saved state does not fit the environments: {error}") from error


def _restore_workers(vector: AsyncVectorEnv, states: Sequence[Mapping[str, Any]]) -> None:
    now = vector.get_attr("saved")
    _check_kinds(states, [["what cannot be saved"] if state is None else state["kinds"] for state in now])
    vector.set_attr("saved", list(states))


def _check_kinds(states: Sequence[Mapping[str, Any]], actual: Sequence[Sequence[str]]) -> None:
    expected = [list(state["kinds"]) for state in states]
    if expected != actual:
        raise ValueError(
            f"it is that of {len(expected)} ({' over '.join(expected[0])}), and these are {len(actual)} "
            f"({' over '.join(actual[0])})"
        )


def _restore_sync(vector: Any, state: Mapping[str, Any]) -> None:
    _check_kinds(state["envs"], [_kinds(env) for env in vector.envs])
    for env, saved in zip(vector.envs, state["envs"], strict=True):
        environment_of_state(env, saved)
    for name in SYNC:
        setattr(vector, name, state["vector"][name].copy())
    vector._env_obs = list(state["vector"]["_observations"].copy())


def _saves_itself(env: Any) -> bool:
    return hasattr(env, "state_dict") and hasattr(env, "load_state_dict")


def _layers(env: AnyEnv) -> Iterator[AnyEnv]:
    """The wrappers from the outside in, but for ours, which remember nothing; and then the environment itself."""
    while isinstance(env, gym.Wrapper):
        if not isinstance(env, Guard):
            yield env
        env = env.env
    yield env


def _kinds(env: AnyEnv) -> list[str]:
    return [type(layer).__name__ for layer in _layers(env)]


def _savable(env: AnyEnv) -> bool:
    *wrappers, inner = _layers(env)
    return all(type(w) in WRAPPERS for w in wrappers) and (type(inner) in KNOWN or _saves_itself(inner))


def state_of_environment(env: AnyEnv) -> dict[str, Any] | None:
    """The state of one environment under its wrappers; None where it cannot be saved."""
    if not _savable(env):
        return None
    *wrappers, inner = _layers(env)
    state: dict[str, Any] = {"kinds": _kinds(env), "wrappers": [_remembered(w) for w in wrappers]}
    if _saves_itself(inner):
        return {**state, "itself": inner.state_dict()}  # type: ignore[attr-defined]
    generator = inner._np_random
    return {
        **state,
        "attributes": _plain(inner),
        "generator": None if generator is None else generator.bit_generator.state,
    }


def environment_of_state(env: AnyEnv, state: Mapping[str, Any]) -> None:
    """Restores what :func:`state_of_environment` gave."""
    *wrappers, inner = _layers(env)
    for wrapper, remembered in zip(wrappers, state["wrappers"], strict=True):
        for name, value in remembered.items():
            frames = isinstance(value, list)
            setattr(wrapper, name, deque(value, maxlen=len(value)) if frames else _copied(value))
        if isinstance(wrapper, PassiveEnvChecker):  # it compares the first step with the reset, and there is none
            wrapper.checked_reset = wrapper.checked_step = wrapper.checked_data_reuse = True
    if "itself" in state:
        inner.load_state_dict(state["itself"])  # type: ignore[attr-defined]
        return
    for name, value in state["attributes"].items():
        setattr(inner, name, _copied(value))
    inner._np_random = None if state["generator"] is None else _generator(state["generator"])


def _generator(state: Mapping[str, Any]) -> np.random.Generator:
    bits = getattr(np.random, state["bit_generator"])()
    bits.state = dict(state)
    return np.random.Generator(bits)


def _remembered(wrapper: AnyEnv) -> dict[str, Any]:
    values = {name: getattr(wrapper, name) for name in WRAPPERS[type(wrapper)]}
    return {name: list(v) if isinstance(v, deque) else _copied(v) for name, v in values.items()}


def _plain(env: AnyEnv) -> dict[str, Any]:
    """Physics and state: all attributes that are numbers, words, arrays, or rows of them."""
    return {name: _copied(v) for name, v in vars(env).items() if name not in DRAWING and _is_plain(v)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str | np.generic | np.ndarray)


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
