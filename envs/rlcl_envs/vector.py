"""What the vector environments share: seeds, time limit, restarts in the same step, physics, state in and out."""

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
    """Environments of one kind that step together, equal to Gymnasium's one by one.

    It behaves as ``gymnasium.vector.SyncVectorEnv`` with ``AutoresetMode.SAME_STEP`` over as many
    single environments does, ``TimeLimit`` included: each environment has a generator of its own,
    that of environment ``i`` seeded with ``seed + i``; an ended episode restarts in the same step and
    its last observation is in ``info["final_obs"]``; ``reset`` takes Gymnasium's ``options`` and
    ``reset_mask``, and ``options={"physics": {...}}`` on top.

    Args:
        num_envs: at least 1.
        max_episode_steps: env steps after which an episode is truncated, at least 1.
        physics: values by the names of the class's parameters: a number, or one for each environment.
        observation_space: of a single environment.
        action_space: of a single environment.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
    DRAWS: ClassVar[int]  # uniform numbers that a start takes from the environment's generator
    START: ClassVar[type[np.floating[Any]]] = np.float64  # the type in which a start is kept and observed

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
        self.state: Array = np.empty((0, num_envs))  # (numbers, num_envs) float64, once it is reset
        self.elapsed: Array = np.zeros(num_envs, dtype=np.int64)  # env steps of each episode
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._seeds: list[int | None] = [None] * num_envs
        self._physics = {name: p.checked(p.default, num_envs) for name, p in parameters(type(self)).items()}
        self.set_physics(**(physics or {}))

    # What a kind of environment says of itself.

    @abstractmethod
    def _derive(self) -> None:
        """Computes what depends on the physics alone, whenever they change."""

    @abstractmethod
    def _start(self, draws: Array, options: Options) -> Array:
        """States (numbers, k) of k episodes' starts from uniform numbers (DRAWS, k) in [0, 1)."""

    @abstractmethod
    def _observe(self, state: Array) -> Array:
        """Observations (k, *observation) float32 of states (numbers, k)."""

    @abstractmethod
    def _advance(self, actions: Array) -> tuple[Array, Array]:
        """Steps ``state``; rewards (num_envs,) float64 and which episodes terminated (num_envs,)."""

    # Gymnasium's interface.

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Options | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Starts new episodes, in all environments or in those of ``options["reset_mask"]``.

        Args:
            seed: environment ``i`` is seeded with ``seed + i``, or with the i-th of a sequence; without
                one, its generator goes on.
            options: bounds of the start as the Gymnasium environment has them, ``reset_mask``
                (num_envs,) bool, and ``physics``, values by name that hold from now on.

        Returns:
            Observations (num_envs, *observation) float32, and an empty dict.
        """
        given = dict(options or {})
        rows = self._chosen(given.pop("reset_mask", None))
        self.set_physics(**given.pop("physics", {}))
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        if seeds is not None and len(seeds) != self.num_envs:
            raise ValueError(f"seed: expected one for each of {self.num_envs} environments, got {len(seeds)}")
        for i in rows.tolist():
            fresh = None if seeds is None else seeds[i]
            if fresh is not None or self._generators[i] is None:
                self._generators[i], self._seeds[i] = seeding.np_random(fresh)
        self._begin(rows, given)
        observations = self._observe(self.state)
        self._observe_starts(observations, np.flatnonzero(self.elapsed == 0))
        return observations, {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Steps all environments; those whose episode ends start another one.

        Args:
            actions: (num_envs,) whole numbers, or (num_envs, 1) that are taken as float32.

        Returns:
            Observations (num_envs, *observation) float32, rewards (num_envs,) float64, terminated and
            truncated (num_envs,) bool, and, where episodes ended, their last observations in ``final_obs``
            (num_envs,) with ``_final_obs`` (num_envs,) bool.
        """
        if not self.state.size:
            raise gym.error.ResetNeeded("call reset before step")
        rewards, terminated = self._advance(self._checked(actions))
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

    @property  # type: ignore[misc]  # what SyncVectorEnv has in its place cannot be set either
    def np_random(self) -> Any:
        """The generator of each environment, as ``SyncVectorEnv`` has them."""
        return tuple(self._generators)

    @property
    def np_random_seed(self) -> Any:
        """The seed of each environment's generator."""
        return tuple(self._seeds)

    # Physics.

    @property
    def physics(self) -> dict[str, Values]:
        """The parameters by name, each (num_envs,) and read-only."""
        return dict(self._physics)

    def set_physics(self, **values: Any) -> None:
        """Changes parameters, from the next step on.

        Args:
            values: by name: a number for all environments, or one for each.

        Raises:
            ValueError: no parameter of that name, a wrong number of values, or one out of range; nothing is
                changed then.
        """
        known = parameters(type(self))
        unknown = [name for name in values if name not in known]
        if unknown:
            raise ValueError(f"{type(self).__name__} has no parameter {unknown[0]!r}; it has {', '.join(known)}")
        self._physics.update({name: known[name].checked(value, self.num_envs) for name, value in values.items()})
        self._derive()

    # State in and out.

    def state_dict(self) -> dict[str, Any]:
        """All that later steps depend on, as arrays and plain values; the spaces' generators are the caller's."""
        return {
            "environment": type(self).__name__,
            "state": self.state.copy(),
            "elapsed": self.elapsed.copy(),
            "physics": {name: values.copy() for name, values in self._physics.items()},
            "generators": [None if g is None else dict(g.bit_generator.state) for g in self._generators],
            "seeds": list(self._seeds),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state_dict` gave; no reset is needed before or after.

        Raises:
            ValueError: the state of another kind of environment, or of another number of them.
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

    # Several side by side.

    def take(self, parts: Sequence[ClassicVector]) -> None:
        """Goes on where environments of the same kind are, with their generators and physics; as many in all."""
        names = parameters(type(self))
        if any((self._physics[name] != np.concatenate([p._physics[name] for p in parts])).any() for name in names):
            self.set_physics(**{name: np.concatenate([p._physics[name] for p in parts]) for name in names})
        self.state = np.concatenate([part.state for part in parts], 1)
        self.elapsed = np.concatenate([part.elapsed for part in parts])
        self._generators = [generator for part in parts for generator in part._generators]

    def give(self, parts: Sequence[ClassicVector]) -> None:
        """Puts those environments where this one's are."""
        first = 0
        for part in parts:
            rows = slice(first, first + part.num_envs)
            part.state, part.elapsed = self.state[:, rows].copy(), self.elapsed[rows].copy()
            first += part.num_envs

    # Within.

    def _begin(self, rows: Array, options: Options) -> None:
        # One draw from each generator; what follows is one operation for all of them. Scaling
        # random() gives the very numbers of uniform(low, high), which Gymnasium's environments draw.
        draws = np.empty((len(rows), self.DRAWS))
        for i, numbers in zip(rows.tolist(), draws, strict=True):
            self._generators[i].random(out=numbers)
        starts = self._start(draws.T, options).astype(self.START)
        if not self.state.size:
            self.state = np.zeros((len(starts), self.num_envs))
        self.state[:, rows] = starts
        self.elapsed[rows] = 0

    def _observe_starts(self, observations: Array, rows: Array) -> None:
        observations[rows] = self._observe(self.state[:, rows].astype(self.START))

    def _chosen(self, mask: Any) -> Array:
        if mask is None:
            return np.arange(self.num_envs)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask']: expected ({self.num_envs},) bool, got {mask!r}")
        if not mask.any():
            raise ValueError("options['reset_mask']: expected at least one True")
        if not self.state.size and not mask.all():
            raise gym.error.ResetNeeded("call reset without reset_mask first")
        return np.flatnonzero(mask)

    def _checked(self, actions: Any) -> Array:
        space = self.single_action_space
        if isinstance(space, gym.spaces.Box):
            array = np.asarray(actions, dtype=np.float32)
            if array.shape != (self.num_envs, *space.shape):
                raise ValueError(f"actions: expected shape {(self.num_envs, *space.shape)}, got {array.shape}")
            return array
        assert isinstance(space, gym.spaces.Discrete)
        array = np.asarray(actions)
        if array.shape != (self.num_envs,) or array.dtype.kind not in "iu":
            raise ValueError(f"actions: expected ({self.num_envs},) whole numbers, got {array.shape} {array.dtype}")
        # As unsigned numbers those below 0 are very large.
        if (array.astype(np.uint64) >= int(space.n)).any():
            raise ValueError(f"actions: expected 0 to {int(space.n) - 1}, got {array.min()} to {array.max()}")
        return array


def generator_from(state: Mapping[str, Any]) -> np.random.Generator:
    """A generator that goes on from the state of a PCG64, which Gymnasium's seeding makes."""
    bits = np.random.PCG64(0)
    bits.state = dict(state)  # type: ignore[assignment]
    return np.random.Generator(bits)
