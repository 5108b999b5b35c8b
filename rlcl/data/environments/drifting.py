"""Environments whose parameters drift with the env steps of the stream, and environments without visible episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from rlcl.data.drift import Drift, drift_values, numbered_permutation
from rlcl.data.environments.contract import shorten
from rlcl.errors import Problem, SettingError, did_you_mean

__all__ = ["ContinuingEnv", "ContinuingVector", "DriftingEnv", "DriftingVector", "check_parameter"]

Array = np.ndarray[Any, Any]
AnyEnv = gym.Env[Any, Any]
AttributeSetter = Callable[[str, float], None]

ATTRIBUTE = "attributes."
PARAMETERS = (
    "reward.scale",
    "reward.sign",
    "observation.scale",
    "observation.offset",
    "observation.noise",
    "observation.permutation",
    "action.permutation",
)
NEUTRAL: Mapping[str, float] = {"reward.scale": 1.0, "reward.sign": 1.0, "observation.scale": 1.0}  # others: 0
NUMERIC = ("observation.scale", "observation.offset", "observation.noise")  # for observations of floats


def check_parameter(name: str) -> None:
    """Check the name of a drifting parameter of an environment.

    Raises:
        Problem: there is no such parameter.
    """
    if not name.startswith(ATTRIBUTE) and name not in PARAMETERS:
        raise Problem(
            f"unknown parameter {name!r} (attributes.NAME, {', '.join(PARAMETERS)}){did_you_mean(name, PARAMETERS)}"
        )


class Drifting:
    """Values of drifting parameters at a clock that counts env steps, and their effect on one or several environments.

    Observations are scaled, offset, made noisy and permuted, in this order. A permutation is numbered: number 0 is the
    original order, and the others are random ones.

    Args:
        drifts: the parameters.
        spaces: observation space and action space of one environment.
        set_attribute: function that sets an attribute of the environments, from its name and value.
        clock: env step of the stream before the first step.
        stride: env steps of the stream in each step; 0 if the values are frozen.
        name: name of the environment, for messages.

    Raises:
        SettingError: a parameter does not fit the spaces.
    """

    def __init__(
        self,
        drifts: Sequence[Drift],
        spaces: tuple[gym.Space[Any], gym.Space[Any]],
        set_attribute: AttributeSetter,
        clock: int,
        stride: int,
        name: str,
    ) -> None:
        self._drifts, self._spaces, self._set_attribute = drifts, spaces, set_attribute
        self.clock, self._stride = clock, stride
        self.rng = np.random.default_rng(0)
        names = {drift.parameter for drift in drifts}
        self._physics = [name for name in names if name.startswith(ATTRIBUTE)]
        self.changes_observations = any(name.startswith("observation.") for name in names)
        self.permutes_actions = "action.permutation" in names
        self._permutes_observations = "observation.permutation" in names
        self.changes_rewards = bool(names & {"reward.scale", "reward.sign"})
        self._applied: dict[str, float] = {}
        self._check_spaces(names, name)
        self.values = {**dict.fromkeys(PARAMETERS, 0.0), **NEUTRAL}
        self._orders: dict[tuple[str, int], Array | None] = {}
        self.apply()

    def _check_spaces(self, names: set[str], name: str) -> None:
        observations, actions = self._spaces
        box = isinstance(observations, gym.spaces.Box)
        if self.changes_observations and not box:
            raise SettingError(f"environment {name}: observations {shorten(observations)} cannot drift; flatten them")
        if names & set(NUMERIC) and not np.issubdtype(observations.dtype, np.floating):
            raise SettingError(
                f"environment {name}: drift of {', '.join(sorted(names & set(NUMERIC)))} needs observations of floats, "
                f"got {shorten(observations)}"
            )
        if "action.permutation" in names and not (isinstance(actions, gym.spaces.Discrete) or _equal_bounds(actions)):
            raise SettingError(
                f"environment {name}: drift of action.permutation needs Discrete actions, or a Box of equal bounds in "
                f"all dimensions, got {shorten(actions)}"
            )

    @property
    def observation_space(self) -> gym.Space[Any]:
        """The observation space of one environment, which contains all drifting observations."""
        space = self._spaces[0]
        if not self.changes_observations or not isinstance(space, gym.spaces.Box):
            return space
        if np.issubdtype(space.dtype, np.floating):
            return gym.spaces.Box(-np.inf, np.inf, space.shape, space.dtype.type)
        return gym.spaces.Box(space.low.min(), space.high.max(), space.shape, space.dtype.type)

    def apply(self) -> None:
        """Set the parameters to their values at the clock."""
        self.values.update(drift_values(self._drifts, self.clock))
        for name in self._physics:
            value = self.values[name]
            if self._applied.get(name) != value:
                self._set_attribute(name.removeprefix(ATTRIBUTE), value)
                self._applied[name] = value

    def advance(self) -> None:
        """Advance the clock by one step, and set the parameters."""
        if self._stride:
            self.clock += self._stride
            self.apply()

    def observe(self, x: Array) -> Array:
        """Return drifted observations (..., *observation)."""
        if not self.changes_observations:
            return x
        values, space = self.values, self._spaces[0]
        if np.issubdtype(x.dtype, np.floating):
            y = x * values["observation.scale"] + values["observation.offset"]
            if values["observation.noise"]:
                y = y + values["observation.noise"] * self.rng.standard_normal(x.shape)
            x = y.astype(x.dtype)
        size = int(np.prod(space.shape or (1,)))
        order = self._order("observation.permutation", size) if self._permutes_observations else None
        if order is not None:
            x = x.reshape(-1, len(order))[:, order].reshape(x.shape)
        return x

    def reward(self, rewards: Any) -> Any:
        """Return drifted rewards."""
        if not self.changes_rewards:
            return rewards
        return rewards * (self.values["reward.scale"] * self.values["reward.sign"])

    def act(self, actions: Any) -> Any:
        """Return the actions of the environments for actions of the learner: one action, or (N, *action)."""
        if not self.permutes_actions:
            return actions
        space = self._spaces[1]
        if isinstance(space, gym.spaces.Discrete):
            order = self._order("action.permutation", int(space.n))
            return actions if order is None else order[np.asarray(actions) - space.start] + space.start
        order = self._order("action.permutation", int(np.prod(space.shape or (1,))))
        if order is None:
            return actions
        flat = np.asarray(actions)
        return flat.reshape(-1, len(order))[:, order].reshape(flat.shape)

    def mask(self, mask: Array) -> Array:
        """Return the mask (..., K) of the learner's actions for a mask of the environments' Discrete actions."""
        space = self._spaces[1]
        if not isinstance(space, gym.spaces.Discrete):
            return mask
        order = self._order("action.permutation", int(space.n))
        return mask if order is None else mask[..., order]

    def _order(self, parameter: str, size: int) -> Array | None:
        """Return the permutation (size,) of a parameter; None for the original order."""
        key = parameter, round(self.values[parameter])
        if key not in self._orders:
            self._orders[key] = numbered_permutation(key[1], size)
        return self._orders[key]

    def state_dict(self) -> dict[str, Any]:
        """Return the clock and the state of the noise."""
        return {"clock": self.clock, "rng": dict(self.rng.bit_generator.state)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`; attributes are set again."""
        self.clock = int(state["clock"])
        self.rng.bit_generator.state = dict(state["rng"])
        self._applied.clear()
        self.apply()


def _equal_bounds(space: gym.Space[Any]) -> bool:
    return isinstance(space, gym.spaces.Box) and len({*space.low.flat}) == len({*space.high.flat}) == 1


class DriftingEnv(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper whose environment drifts; see :class:`Drifting`.

    Args:
        env: the environment.
        drifts, clock, stride, name: see :class:`Drifting`.
        set_attribute: see :class:`Drifting`.
    """

    def __init__(
        self,
        env: AnyEnv,
        drifts: Sequence[Drift],
        set_attribute: AttributeSetter,
        clock: int,
        stride: int,
        name: str,
    ) -> None:
        super().__init__(env)
        spaces = (env.observation_space, env.action_space)
        self._drifting = Drifting(drifts, spaces, set_attribute, clock, stride, name)
        self.observation_space = self._drifting.observation_space
        if self._drifting.permutes_actions and env.has_wrapper_attr("action_masks"):
            self.action_masks = self._action_masks

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._drifting.rng = np.random.default_rng([seed, 1])
        return self._drifting.observe(np.asarray(observation)), self._masked(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        drifting = self._drifting
        observation, reward, terminated, truncated, info = self.env.step(drifting.act(action))
        reward = drifting.reward(reward)
        drifting.advance()
        return drifting.observe(np.asarray(observation)), reward, terminated, truncated, self._masked(info)

    def _masked(self, info: dict[str, Any]) -> dict[str, Any]:
        if self._drifting.permutes_actions and "action_mask" in info:
            return {**info, "action_mask": self._drifting.mask(np.asarray(info["action_mask"]))}
        return info

    def _action_masks(self) -> Array:
        return self._drifting.mask(np.asarray(self.env.get_wrapper_attr("action_masks")()))

    def state_dict(self) -> dict[str, Any]:
        """See :class:`Drifting`."""
        return self._drifting.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :class:`Drifting`."""
        self._drifting.load_state_dict(state)


class DriftingVector(VectorWrapper):
    """A wrapper whose native vector environment drifts; all environments have the same values.

    Args:
        env: the vector environment, with autoreset in the same step.
        drifts, clock, stride, name: see :class:`Drifting`.
        set_attribute: see :class:`Drifting`.
    """

    def __init__(
        self,
        env: VectorEnv[Any],
        drifts: Sequence[Drift],
        set_attribute: AttributeSetter,
        clock: int,
        stride: int,
        name: str,
    ) -> None:
        super().__init__(env)
        spaces = (env.single_observation_space, env.single_action_space)
        self._drifting = Drifting(drifts, spaces, set_attribute, clock, stride, name)
        if self._drifting.changes_observations:
            self.single_observation_space = self._drifting.observation_space
            self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observations, info = self.env.reset(seed=seed, options=options)
        if isinstance(seed, int):
            self._drifting.rng = np.random.default_rng([seed, 1])
        return self._drifting.observe(observations), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        drifting = self._drifting
        observations, rewards, terminated, truncated, info = self.env.step(drifting.act(actions))
        rewards = drifting.reward(rewards)
        drifting.advance()
        if drifting.changes_observations and "final_obs" in info:
            final = info["final_obs"].copy()
            for i in np.flatnonzero(info["_final_obs"]):
                final[i] = drifting.observe(final[i])
            info = {**info, "final_obs": final}
        return drifting.observe(observations), rewards, terminated, truncated, info

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the environments and of the drift."""
        return {"drift": self._drifting.state_dict(), "environments": self.env.state_dict()}  # type: ignore[attr-defined]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`."""
        self.env.load_state_dict(state["environments"])  # type: ignore[attr-defined]
        self._drifting.load_state_dict(state["drift"])


class ContinuingEnv(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper whose episodes do not end visibly: the environment is reset, and the observation of the reset follows.

    The transition to the first state of the next episode looks like any other one. The reward of a life is therefore
    all that the learner is judged by.
    """

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            observation, info = self.env.reset()
        return observation, reward, False, False, info


class ContinuingVector(VectorWrapper):
    """A :class:`ContinuingEnv` of native vector environments, which reset in the same step.

    Args:
        env: the vector environment.
    """

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        info = {key: value for key, value in info.items() if not key.removeprefix("_").startswith("final_")}
        return observations, rewards, np.zeros_like(terminated), np.zeros_like(truncated), info

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the environments."""
        state: dict[str, Any] = self.env.state_dict()  # type: ignore[attr-defined]
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`."""
        self.env.load_state_dict(state)  # type: ignore[attr-defined]
