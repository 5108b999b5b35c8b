"""Saving and restoring the state of vector environments, so that training can be interrupted within an episode.

Two kinds of environment are supported: environments with the methods ``state_dict`` and ``load_state_dict``, such as
those of rlcl_envs, and Gymnasium's classic control. Their wrappers must be among those of Gymnasium that are listed
below, or have these two methods. Environments in worker processes are saved there. Other environments are not
supported, because the state that their next step depends on is not known.
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
from gymnasium.wrappers import (
    ClipAction,
    ClipReward,
    DelayObservation,
    DiscretizeAction,
    DiscretizeObservation,
    DtypeObservation,
    FilterObservation,
    FlattenObservation,
    FrameStackObservation,
    MaxAndSkipObservation,
    OrderEnforcing,
    PassiveEnvChecker,
    RecordEpisodeStatistics,
    RepeatAction,
    RescaleAction,
    RescaleObservation,
    ReshapeObservation,
    StickyAction,
    TimeAwareObservation,
    TimeLimit,
    TransformAction,
    TransformObservation,
    TransformReward,
)

from rlcl.data.environments.drifting import ContinuingEnv, ContinuingVector, DriftingVector
from rlcl.data.environments.guard import EnvironmentGuard
from rlcl.data.environments.offsets import ObservationOffset
from rlcl.data.environments.padding import PaddedActions, PaddedObservations
from rlcl.errors import DataError

__all__ = ["environment_state", "restore_environment", "restore_single", "single_state"]

AnyEnv = gym.Env[Any, Any]

# The state of these classes, except for spaces, generator and screen, is in plain attributes.
SUPPORTED = (AcrobotEnv, CartPoleEnv, Continuous_MountainCarEnv, MountainCarEnv, PendulumEnv)
RENDER_ATTRIBUTES = frozenset(
    {"render_mode", "isopen", "screen", "clock", "screen_width", "screen_height", "screen_dim"}
)
# Attributes of each wrapper that carry state from step to step. Gymnasium's checker changes no result.
WRAPPER_ATTRIBUTES: Mapping[type, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            ClipAction, ClipReward, DiscretizeAction, DiscretizeObservation, DtypeObservation, FilterObservation,
            ContinuingEnv, FlattenObservation, ObservationOffset, PaddedActions, PaddedObservations, PassiveEnvChecker,
            RepeatAction, RescaleAction, RescaleObservation, ReshapeObservation, TransformAction, TransformObservation,
            TransformReward,
        ),
        (),
    ),
    DelayObservation: ("observation_queue",),
    FrameStackObservation: ("obs_queue", "padding_value"),
    MaxAndSkipObservation: ("_obs_buffer",),
    OrderEnforcing: ("_has_reset",),
    RecordEpisodeStatistics: ("episode_returns", "episode_lengths"),
    StickyAction: ("last_action", "is_sticky_actions", "num_repeats", "repeats_taken"),
    TimeAwareObservation: ("timesteps",),
    TimeLimit: ("_elapsed_steps",),
}  # fmt: skip
SYNC_ATTRIBUTES = ("_observations", "_rewards", "_terminations", "_truncations", "_autoreset_envs")


def environment_state(vector: VectorEnv[Any]) -> dict[str, Any] | None:
    """Return the state that later steps of vector environments depend on, as a tree of arrays and plain values.

    Args:
        vector: result of :meth:`rlcl.data.environments.environment.Environment.make_vector`.

    Returns:
        None if the state cannot be saved. The generators of the spaces are not included.
    """
    if _saves_itself(vector):
        return {"itself": vector.state_dict()}  # type: ignore[attr-defined]
    if isinstance(vector, AsyncVectorEnv):
        # In other modes, a reset that is pending for the next step is known only to the worker process.
        same_step = vector.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        states = vector.get_attr("saved_state") if same_step else (None,)
        return None if None in states else {"workers": list(states)}
    # Only observations in a single array are supported: with dicts, each row would be a view of several arrays.
    if type(vector) is not SyncVectorEnv or not isinstance(vector.single_observation_space, gym.spaces.Box):
        return None
    envs = [single_state(env) for env in vector.envs]
    if None in envs:
        return None
    return {"vector": {name: np.array(getattr(vector, name)) for name in SYNC_ATTRIBUTES}, "envs": envs}


def restore_environment(vector: VectorEnv[Any], state: Mapping[str, Any]) -> None:
    """Restore a state that :func:`environment_state` returned; the next step continues from it.

    Args:
        vector: vector environment made with the same settings, with or without a reset.
        state: state of the same number of environments of the same kind.

    Raises:
        DataError: the state is that of other environments.
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
    current = vector.get_attr("saved_state")
    _check_kinds(states, [["unsupported environments"] if state is None else state["kinds"] for state in current])
    vector.set_attr("saved_state", list(states))


def _check_kinds(states: Sequence[Mapping[str, Any]], actual: Sequence[Sequence[str]]) -> None:
    expected = [list(state["kinds"]) for state in states]
    if expected != actual:
        raise ValueError(
            f"it is the state of {len(expected)} ({' over '.join(expected[0])}), but there are {len(actual)} "
            f"({' over '.join(actual[0])})"
        )


def _restore_sync(vector: Any, state: Mapping[str, Any]) -> None:
    _check_kinds(state["envs"], [_kinds(env) for env in vector.envs])
    for env, saved in zip(vector.envs, state["envs"], strict=True):
        restore_single(env, saved)
    for name in SYNC_ATTRIBUTES:
        setattr(vector, name, state["vector"][name].copy())
    vector._env_obs = list(state["vector"]["_observations"].copy())


def _saves_itself(env: Any) -> bool:
    if isinstance(env, ContinuingVector | DriftingVector):  # if the environments inside do
        return _saves_itself(env.env)
    return hasattr(env, "state_dict") and hasattr(env, "load_state_dict")


def _layers(env: AnyEnv) -> Iterator[AnyEnv]:
    """Yield the wrappers from the outermost inwards, then the environment; ``EnvironmentGuard`` has no state."""
    while isinstance(env, gym.Wrapper):
        if not isinstance(env, EnvironmentGuard):
            yield env
        env = env.env
    yield env


def _kinds(env: AnyEnv) -> list[str]:
    return [type(layer).__name__ for layer in _layers(env)]


def _savable(env: AnyEnv) -> bool:
    *wrappers, inner = _layers(env)
    if not all(type(wrapper) in WRAPPER_ATTRIBUTES or _saves_itself(wrapper) for wrapper in wrappers):
        return False
    return type(inner) in SUPPORTED or _saves_itself(inner)


def single_state(env: AnyEnv) -> dict[str, Any] | None:
    """Return the state of one environment and its wrappers, or None if it cannot be saved."""
    if not _savable(env):
        return None
    *wrappers, inner = _layers(env)
    state: dict[str, Any] = {"kinds": _kinds(env), "wrappers": [_wrapper_state(w) for w in wrappers]}
    if _saves_itself(inner):
        return {**state, "itself": inner.state_dict()}  # type: ignore[attr-defined]
    generator = inner._np_random
    return {
        **state,
        "attributes": _plain_attributes(inner),
        "generator": None if generator is None else generator.bit_generator.state,
    }


def restore_single(env: AnyEnv, state: Mapping[str, Any]) -> None:
    """Restore a state that :func:`single_state` returned."""
    *wrappers, inner = _layers(env)
    for wrapper, attributes in zip(wrappers, state["wrappers"], strict=True):
        if _saves_itself(wrapper):
            wrapper.load_state_dict(attributes)  # type: ignore[attr-defined]
            continue
        for name, value in attributes.items():
            if isinstance(value, list):  # the queue may be bounded
                setattr(wrapper, name, deque(value, maxlen=getattr(wrapper, name).maxlen))
            else:
                setattr(wrapper, name, _copied(value))
        if isinstance(wrapper, PassiveEnvChecker):  # it would compare the first step with a reset, but there is none
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


def _wrapper_state(wrapper: AnyEnv) -> dict[str, Any]:
    if _saves_itself(wrapper):
        saved: dict[str, Any] = wrapper.state_dict()  # type: ignore[attr-defined]
        return saved
    values = {name: getattr(wrapper, name) for name in WRAPPER_ATTRIBUTES[type(wrapper)]}
    return {name: list(v) if isinstance(v, deque) else _copied(v) for name, v in values.items()}


def _plain_attributes(env: AnyEnv) -> dict[str, Any]:
    """Return physics and state: all attributes that are numbers, strings, arrays, or sequences of them."""
    return {name: _copied(v) for name, v in vars(env).items() if name not in RENDER_ATTRIBUTES and _is_plain(v)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str | np.generic | np.ndarray)


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
