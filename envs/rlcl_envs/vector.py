"""Base class of the vector environments: seeds, time limit, autoreset, parameters, saving and restoring of state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlcl_envs.physics import Values, parameters

__all__ = ["ClassicVector", "generator_from"]

Array = np.ndarray[Any, Any]
Options = Mapping[str, Any]


class ClassicVector(VectorEnv[Array, Array, Array]):
    """Environments of one kind that step together; each equals Gymnasium's environment.

    The class behaves like ``gymnasium.vector.SyncVectorEnv`` with ``AutoresetMode.SAME_STEP`` over the same number of
    single environments, including ``TimeLimit``. Each environment has a separate generator; that of environment ``i``
    is seeded with ``seed + i``. A finished episode restarts in the same step, and its last observation is in
    ``info["final_obs"]``. In addition to Gymnasium's ``options`` and ``reset_mask``, ``reset`` accepts
    ``options={"physics": {...}}``.

    Args:
        num_envs: number of environments, at least 1.
        max_episode_steps: env steps after which an episode is truncated, at least 1.
        physics: values of the class's parameters by name: a number, or one for each environment.
        observation_space: observation space of a single environment.
        action_space: action space of a single environment.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
    START_SAMPLES: ClassVar[int]  # uniform random numbers per start
    START_DTYPE: ClassVar[type[np.floating[Any]]] = np.float64  # data type of the starts and their observations

    def __init__(
        self,
        num_envs: int,
        max_episode_steps: int,
        physics: Options | None,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
    ) -> None:
        if num_envs < 1 or max_episode_steps < 1:
            raise ValueError(
                f"num_envs and max_episode_steps: expected at least 1, got {num_envs} and {max_episode_steps}"
            )
        self.num_envs, self.max_episode_steps = num_envs, max_episode_steps
        self.single_observation_space, self.single_action_space = observation_space, action_space
        self.observation_space = batch_space(observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)
        self.state: Array = np.empty((0, num_envs))  # (numbers, num_envs) float64 after the first reset
        self.elapsed: Array = np.zeros(num_envs, dtype=np.int64)  # env steps in each episode
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._seeds: list[int | None] = [None] * num_envs
        self._known = parameters(type(self))
        self._physics = {name: p.checked(p.default, num_envs) for name, p in self._known.items()}
        self.set_physics(**(physics or {}))

    # Defined by subclasses.

    @abstractmethod
    def _derive(self) -> None:
        """Compute the values that depend only on the parameters; called after each change of them."""

    @abstractmethod
    def _start(self, samples: Array, options: Options) -> Array:
        """Return k start states (numbers, k) for uniform random numbers (START_SAMPLES, k) in [0, 1)."""

    @abstractmethod
    def _observe(self, state: Array) -> Array:
        """Return the observations (k, *observation) float32 of states (numbers, k)."""

    @abstractmethod
    def _advance(self, actions: Array) -> tuple[Array, Array]:
        """Update ``state`` by one step; return rewards (num_envs,) float64 and terminated episodes (num_envs,) bool."""

    # Gymnasium's interface.

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Options | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start new episodes in all environments, or in those of ``options["reset_mask"]``.

        Args:
            seed: environment ``i`` is seeded with ``seed + i``, or with item ``i`` of a sequence. Without a seed, the
                generators continue.
            options: bounds of the start as in Gymnasium's environment, ``reset_mask`` (num_envs,) bool, and
                ``physics``, permanent values of parameters by name.

        Returns:
            Observations (num_envs, *observation) float32, and an empty dict.
        """
        start_options = dict(options or {})
        rows = self._selected_rows(start_options.pop("reset_mask", None))
        self.set_physics(**start_options.pop("physics", {}))
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        if seeds is not None and len(seeds) != self.num_envs:
            raise ValueError(f"seed: expected one for each of {self.num_envs} environments, got {len(seeds)}")
        for i in rows.tolist():
            new_seed = None if seeds is None else seeds[i]
            if new_seed is not None or self._generators[i] is None:
                self._generators[i], self._seeds[i] = seeding.np_random(new_seed)
        self._begin(rows, start_options)
        observations = self._observe(self.state)
        self._observe_starts(observations, np.flatnonzero(self.elapsed == 0))
        return observations, {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Step all environments; a finished episode restarts in the same step.

        Args:
            actions: (num_envs,) integers, or (num_envs, 1) numbers that are converted to float32.

        Returns:
            Observations (num_envs, *observation) float32, rewards (num_envs,) float64, terminated and truncated
            (num_envs,) bool, and info. If episodes finished, info has their last observations in ``final_obs``
            (num_envs,) and the mask ``_final_obs`` (num_envs,) bool.
        """
        if not self.state.size:
            raise gym.error.ResetNeeded("call reset before step")
        rewards, terminated = self._advance(self._check_actions(actions))
        self.elapsed += 1
        truncated = self.elapsed >= self.max_episode_steps
        observations = self._observe(self.state)
        ended = terminated | truncated
        if not ended.any():
            return observations, rewards, terminated, truncated, {}
        rows = np.flatnonzero(ended)
        final = np.full(self.num_envs, None, dtype=object)
        for i, last in zip(rows.tolist(), observations[rows], strict=True):
            final[i] = last
        self._begin(rows, {})
        self._observe_starts(observations, rows)
        info = {"final_obs": final, "_final_obs": ended, "final_info": {}, "_final_info": ended.copy()}
        return observations, rewards, terminated, truncated, info

    @property  # type: ignore[misc]  # SyncVectorEnv's property cannot be set either
    def np_random(self) -> Any:
        """Generator of each environment, as in ``SyncVectorEnv``."""
        return tuple(self._generators)

    @property
    def np_random_seed(self) -> Any:
        """Seed of each environment's generator."""
        return tuple(self._seeds)

    # Parameters.

    @property
    def physics(self) -> dict[str, Values]:
        """Values of the parameters by name, each (num_envs,) and read-only."""
        return dict(self._physics)

    def set_physics(self, **values: Any) -> None:
        """Change parameters from the next step on.

        Args:
            values: values by name: a number for all environments, or one for each environment.

        Raises:
            ValueError: there is no parameter of that name, the number of values is wrong, or a value is out of range.
                No parameter is changed then.
        """
        known = self._known
        unknown = [name for name in values if name not in known]
        if unknown:
            raise ValueError(f"{type(self).__name__} has no parameter {unknown[0]!r}; it has {', '.join(known)}")
        self._physics.update({name: known[name].checked(value, self.num_envs) for name, value in values.items()})
        self._derive()

    # Saving and restoring of the state.

    def state_dict(self) -> dict[str, Any]:
        """Return the state that later steps depend on, as arrays and plain values, without the spaces' generators."""
        return {
            "environment": type(self).__name__,
            "state": self.state.copy(),
            "elapsed": self.elapsed.copy(),
            "physics": {name: values.copy() for name, values in self._physics.items()},
            "generators": [None if g is None else dict(g.bit_generator.state) for g in self._generators],
            "seeds": list(self._seeds),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned; no reset is needed before or after.

        Raises:
            ValueError: the state is that of another kind or number of environments.
        """
        if (state["environment"], len(state["elapsed"])) != (type(self).__name__, self.num_envs):
            raise ValueError(
                f"expected the state of {self.num_envs} {type(self).__name__}, got that of {len(state['elapsed'])} "
                f"{state['environment']}"
            )
        self.set_physics(**state["physics"])
        self.state, self.elapsed = state["state"].copy(), state["elapsed"].copy()
        self._generators = [None if g is None else generator_from(g) for g in state["generators"]]
        self._seeds = list(state["seeds"])

    # Several vector environments as one.

    def gather(self, parts: Sequence[ClassicVector]) -> None:
        """Copy the state and parameters of several vector environments into this one, and share their generators.

        Args:
            parts: vector environments of the same kind; the sum of their ``num_envs`` is that of this one.
        """
        names = self._known
        if any((self._physics[name] != np.concatenate([p._physics[name] for p in parts])).any() for name in names):
            self.set_physics(**{name: np.concatenate([p._physics[name] for p in parts]) for name in names})
        self.state = np.concatenate([part.state for part in parts], 1)
        self.elapsed = np.concatenate([part.elapsed for part in parts])
        self._generators = [generator for part in parts for generator in part._generators]

    def scatter(self, parts: Sequence[ClassicVector]) -> None:
        """Copy the state of this vector environment back to those of :meth:`gather`."""
        first = 0
        for part in parts:
            rows = slice(first, first + part.num_envs)
            part.state, part.elapsed = self.state[:, rows].copy(), self.elapsed[rows].copy()
            first += part.num_envs

    # Internals.

    def _begin(self, rows: Array, options: Options) -> None:
        # Each generator is called once; the rest is one operation for all environments. Scaled numbers of random()
        # equal those of uniform(low, high), which Gymnasium's environments use.
        samples = np.empty((len(rows), self.START_SAMPLES))
        for i, numbers in zip(rows.tolist(), samples, strict=True):
            self._generators[i].random(out=numbers)
        starts = self._start(samples.T, options).astype(self.START_DTYPE)
        if not self.state.size:
            self.state = np.zeros((len(starts), self.num_envs))
        self.state[:, rows] = starts
        self.elapsed[rows] = 0

    def _observe_starts(self, observations: Array, rows: Array) -> None:
        observations[rows] = self._observe(self.state[:, rows].astype(self.START_DTYPE))

    def _selected_rows(self, mask: Any) -> Array:
        if mask is None:
            return np.arange(self.num_envs)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask']: expected ({self.num_envs},) bool, got {mask!r}")
        if not mask.any():
            raise ValueError("options['reset_mask']: expected at least one True")
        if not self.state.size and not mask.all():
            raise gym.error.ResetNeeded("call reset without reset_mask first")
        return np.flatnonzero(mask)

    def _check_actions(self, actions: Any) -> Array:
        space = self.single_action_space
        if isinstance(space, gym.spaces.Box):
            array = np.asarray(actions, dtype=np.float32)
            if array.shape != (self.num_envs, *space.shape):
                raise ValueError(f"actions: expected shape {(self.num_envs, *space.shape)}, got {array.shape}")
            return array
        assert isinstance(space, gym.spaces.Discrete)
        array = np.asarray(actions)
        if array.shape != (self.num_envs,) or array.dtype.kind not in "iu":
            raise ValueError(f"actions: expected ({self.num_envs},) integers, got {array.shape} {array.dtype}")
        # Converted to unsigned integers, negative numbers are very large.
        if (array.astype(np.uint64) >= int(space.n)).any():
            raise ValueError(f"actions: expected 0 to {int(space.n) - 1}, got {array.min()} to {array.max()}")
        return array


def generator_from(state: Mapping[str, Any]) -> np.random.Generator:
    """Return a generator that continues from a state of PCG64, the bit generator of Gymnasium's seeding."""
    bits = np.random.PCG64(0)
    bits.state = dict(state)  # type: ignore[assignment]
    return np.random.Generator(bits)
