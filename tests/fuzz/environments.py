"""Environments drawn at random: spaces and habits that users' Gymnasium environments have, a function of a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from attrs import frozen
from gymnasium import spaces

__all__ = ["Drawn", "Habits", "habits", "made"]

Generator = np.random.Generator


@frozen(kw_only=True)
class Habits:
    """What an environment does.

    Args:
        observations, actions: its spaces.
        in_place: whether observations and masks are written into the same arrays at each step.
        masks: where it says what it allows: ``never``, in ``reset``, in ``step``, in ``some`` states, in all by
            a ``method``, or in ``all`` by info; an action that is not allowed raises.
        info: whether keys, types and lengths of info vary from step to step.
        reward: the type of rewards: ``float``, ``int``, ``float32``, ``bool``; refused are ``row``, ``none``, ``nan``.
        length: env steps of an episode.
        truncates: whether episodes are cut off instead of ending.
        late: the env step from which observations have another shape; None for never.
        seeded: whether a reset heeds its seed.
    """

    observations: spaces.Space[Any]
    actions: spaces.Space[Any]
    in_place: bool
    masks: str
    info: bool
    reward: str
    length: int
    truncates: bool
    late: int | None
    seeded: bool

    @property
    def good(self) -> bool:
        """Whether nothing of it is to be refused but its spaces."""
        return self.late is None and self.reward not in ("row", "none", "nan")


def habits(seed: int) -> Habits:
    """The habits of one number, always the same ones."""
    rng = np.random.default_rng(seed)

    def one_of(*choices: Any, odd: tuple[Any, ...] = (), odds: float = 0.15) -> Any:
        pool = odd if odd and rng.random() < odds else choices
        return pool[rng.integers(len(pool))]

    actions = _actions(rng)
    masked = not isinstance(actions, spaces.Box) and rng.random() < 0.6
    return Habits(
        observations=_observations(rng),
        actions=actions,
        in_place=bool(rng.random() < 0.5),
        masks=one_of("reset", "step", "some", "method", "all") if masked else "never",
        info=bool(rng.random() < 0.4),
        reward=one_of("float", "int", "float32", "bool", odd=("row", "none", "nan")),
        length=int(rng.integers(1, 9)),
        truncates=bool(rng.random() < 0.5),
        late=int(rng.integers(2, 120)) if rng.random() < 0.1 else None,
        seeded=bool(rng.random() < 0.85),
    )


def _box(rng: Generator) -> spaces.Box:
    shape = [(1,), (3,), (2, 3), (8, 8, 1), (), (36, 36, 3)][rng.choice(6, p=[0.25, 0.3, 0.15, 0.1, 0.1, 0.1])]
    kind = rng.integers(4)
    if kind == 0:
        return spaces.Box(0, 255, shape, np.uint8)
    if kind == 1:
        return spaces.Box(-np.inf, np.inf, shape, np.float64)
    if kind == 2:
        return spaces.Box(-3, 4, shape, np.int64)
    return spaces.Box(-1, 1, shape, np.float32)


def _observations(rng: Generator) -> spaces.Space[Any]:
    kind = rng.integers(12)
    if kind < 6:
        return _box(rng)
    if kind == 6:
        return spaces.Discrete(int(rng.integers(2, 6)), start=int(rng.integers(-2, 3)))
    if kind == 7:
        return spaces.MultiDiscrete(rng.integers(2, 5, 3))
    if kind == 8:
        return spaces.MultiBinary(4)
    if kind == 9:
        return spaces.Tuple((_box(rng), spaces.Discrete(3)))
    parts: dict[str, spaces.Space[Any]] = {"seen": _box(rng), "at": spaces.Discrete(4, start=1)}
    if kind == 11:
        odd = (
            spaces.Text(5),
            spaces.Sequence(spaces.Discrete(3)),
            spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(2)),
        )
        parts["odd"] = odd[rng.integers(3)]
    return spaces.Dict(parts)


def _actions(rng: Generator) -> spaces.Space[Any]:
    kind = rng.integers(8)
    if kind < 4:
        return spaces.Discrete(int(rng.integers(2, 6)), start=int(rng.integers(-1, 3)))
    if kind == 4:
        return spaces.MultiDiscrete([2, 3], start=[0, 1])
    if kind == 5:
        return spaces.MultiBinary(3)
    low, high = ((-1, 1), (0, 1e-4), (-1e6, 1e6), (-np.inf, np.inf))[rng.integers(4)]
    return spaces.Box(low, high, ((2,), (), (2, 2))[rng.integers(3)], np.float32)


class Drawn(gym.Env[Any, Any]):
    """An environment of some habits.

    Args:
        habits: of it.
    """

    def __init__(self, habits: Habits) -> None:
        self.habits = habits
        self.observation_space, self.action_space = habits.observations, habits.actions
        self.steps = self.age = 0
        self.mask: np.ndarray[Any, Any] | None = None
        self.kept = self._drawn(habits.observations, np.random.default_rng(0))
        self.own = np.random.default_rng()
        if habits.masks == "method":
            self.action_masks = self._allowed

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.age = 0
        return self._observation(), self._info("reset")

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action) or not self._allows(action):
            raise ValueError(f"illegal action {action!r}")
        self.age += 1
        self.steps += 1
        over = self.age >= self.habits.length
        ends = over and not self.habits.truncates, over and self.habits.truncates
        return self._observation(), self._reward(), *ends, self._info("step")

    @property
    def random(self) -> Generator:
        return self.np_random if self.habits.seeded else self.own

    def _observation(self) -> Any:
        late = self.habits.late is not None and self.steps >= self.habits.late
        found = self._drawn(self.observation_space, self.random)
        if self.habits.in_place:
            found = _written(self.kept, found)
        return _longer(found) if late else found

    def _drawn(self, space: spaces.Space[Any], rng: Generator) -> Any:
        space.seed(int(rng.integers(2**31)))
        return space.sample()

    def _reward(self) -> Any:
        value = float(self.random.integers(-1, 2))
        kinds: Mapping[str, Callable[[float], Any]] = {
            "float": float,
            "int": int,
            "float32": np.float32,
            "bool": bool,
            "row": lambda number: np.array([number]),
            "none": lambda number: None,
            "nan": lambda number: float("nan"),
        }
        return kinds[self.habits.reward](value)

    def _info(self, place: str) -> dict[str, Any]:
        self.mask = None
        told: dict[str, Any] = {}
        if self.habits.masks in ("all", place) or (self.habits.masks == "some" and self.random.random() < 0.5):
            told["action_mask"] = self._allowed()
        if self.habits.info:
            odd = (1, 2.5, "text", None, [1, 2], np.zeros(self.age + 1), {"a": self.age}, (1, "b"))
            told |= {f"key {self.random.integers(3)}": odd[self.random.integers(len(odd))], "count": odd[self.age % 8]}
        return told

    def _allowed(self) -> Any:
        """A mask of the state, the same one however often it is asked for."""
        if self.mask is None:
            sizes = _sizes(self.action_space)
            parts = [self.random.random(size) < 0.5 for size in sizes]
            for part in parts:
                part[self.random.integers(len(part))] = True
            self.mask = np.concatenate(parts).astype(np.int8)
        return self.mask

    def _allows(self, action: Any) -> bool:
        if self.mask is None:
            return True
        sizes = _sizes(self.action_space)
        start = getattr(self.action_space, "start", 0)
        chosen = np.ravel(np.asarray(action) - start).astype(int)
        ends = np.cumsum(sizes)
        return all(self.mask[end - size + at] for size, end, at in zip(sizes, ends, chosen, strict=True))


def _sizes(space: spaces.Space[Any]) -> list[int]:
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    return [2] * int(space.n) if isinstance(space, spaces.MultiBinary) else space.nvec.tolist()  # type: ignore[attr-defined]


def _written(kept: Any, found: Any) -> Any:
    """The same arrays with other contents."""
    if isinstance(kept, dict):
        for key in kept:
            kept[key] = _written(kept[key], found[key])
        return kept
    if isinstance(kept, np.ndarray) and isinstance(found, np.ndarray) and kept.shape == found.shape:
        kept[...] = found
        return kept
    return found


def _longer(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _longer(part) if key == "seen" else part for key, part in found.items()}
    return np.stack([found, found]) if isinstance(found, np.ndarray) else found


def made(seed: int) -> type[Drawn]:
    """The class of environments of a seed, which takes no arguments."""

    class Made(Drawn):
        def __init__(self) -> None:
            super().__init__(habits(seed))

    return Made
