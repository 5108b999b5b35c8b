"""What environments may do with what they give: arrays written in place, masks in some states, varying infos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from fuzz.environments import Drawn, habits
from gymnasium import spaces

from rlcl.data.environments.action_masks import action_masks, random_action
from rlcl.data.environments.environment import Environment
from rlcl.encoders.identity import Identity
from rlcl.errors import EnvironmentApiError, SettingError
from rlcl.learners.reinforcement.collector import Collector


class Written(gym.Env[Any, Any]):
    """Goes from 0 to 1, where half of the episodes are cut off; the step from 1 ends the others with reward 1."""

    def __init__(self) -> None:
        self.observation_space, self.action_space = spaces.Box(0, 2, (1,), np.float32), spaces.Discrete(2)
        self.seen, self.mask = np.zeros(1, np.float32), np.ones(2, np.int8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._at(0), {"action_mask": self.mask}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self.seen[0] == 0:
            return self._at(1), 0.0, False, bool(self.np_random.random() < 0.5), {"action_mask": self.mask}
        return self._at(2), 1.0, True, False, {"action_mask": self.mask}

    def _at(self, place: int) -> Any:
        self.seen[0], self.mask[:] = place, [place != 1, True]
        return self.seen


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_a_last_state_is_kept_though_the_next_reset_is_written_into_its_array(vectorization: Any) -> None:
    collector = Collector(Environment(Written, num_envs=3, vectorization=vectorization), Identity(), masked=True)
    cut = 0
    for _ in range(20):
        at = collector.observations[:, 0]
        step = collector.step(np.ones(3, np.int64))
        assert np.array_equal(at + 1, step.next_observations[:, 0])
        assert step.masks is not None
        assert np.array_equal(step.next_observations[:, 0] != 1, step.masks[:, 0])
        cut += int((step.ended & ~step.terminated).sum())
    collector.close()
    assert cut > 3


def test_frames_are_stacked_of_copies() -> None:
    env = Environment(Written, frames=2).make()
    env.reset(seed=0)
    assert [[0.0], [1.0]] == env.step(0)[0].tolist()
    assert [[1.0], [2.0]] == env.step(0)[0].tolist()


class Told(gym.Env[Any, Any]):
    """Ends after three steps; an action that is not allowed raises.

    Args:
        tells: whether a state is told the mask of, by its number in the episode.
        space: of actions.
        mask: of all states.
    """

    def __init__(self, tells: Callable[[int], bool], space: Any = None, mask: Any = (0, 1)) -> None:
        self.observation_space, self.action_space = spaces.Box(0, 9, (1,), np.float32), space or spaces.Discrete(2)
        self.tells, self.mask, self.at = tells, mask, 0

    def _info(self) -> dict[str, Any]:
        told = {"action_mask": self.mask} if self.tells(self.at) else {}
        odd = (1, "text", [1, 2], None)[self.at % 4]
        return {**told, "odd": odd, "many": np.zeros(self.at + 1), "nested": {"odd": odd}, "success": self.at == 3}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return np.zeros(1, np.float32), self._info()

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self.tells(self.at) and isinstance(self.action_space, spaces.Discrete) and not self.mask[int(action)]:
            raise ValueError("illegal")
        self.at += 1
        return np.full(1, self.at, np.float32), 0.0, False, self.at == 3, self._info()


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize(
    ("tells", "now", "followed"),
    [
        (lambda at: at == 0, [1, 0, 0, 1, 0], [0, 0, 0, 0]),
        (lambda at: at > 0, [None, 1, 1, 0, 1], [1, 1, 1, 1]),
        (lambda at: at == 3, [None, None, None, 0, 0], [None, None, 1, 0]),
        (lambda at: False, [None] * 5, [None] * 4),
    ],
)
def test_a_state_without_a_mask_allows_all(tells: Any, now: Any, followed: Any, vectorization: Any) -> None:
    source = Environment(Told, {"tells": tells}, num_envs=2, vectorization=vectorization)
    collector = Collector(source, Identity(), masked=True)
    mask = {1: [[False, True]] * 2, 0: [[True, True]] * 2, None: None}
    met, after = [collector.masks], []
    for _ in range(4):
        after.append(collector.step(np.ones(2, np.int64)).masks)
        met.append(collector.masks)
    collector.close()
    assert [mask[each] for each in now] == [None if each is None else each.tolist() for each in met]
    assert [mask[each] for each in followed] == [None if each is None else each.tolist() for each in after]


def test_gymnasium_says_which_environment_gave_a_mask() -> None:
    vector = gym.vector.SyncVectorEnv([lambda: Told(lambda at: True), lambda: Told(lambda at: False)])
    info = {"action_mask": np.array([[0, 1], [0, 0]], np.int8), "_action_mask": np.array([True, False])}
    masks = action_masks(vector, info)
    assert masks is not None
    assert [[False, True], [True, True]] == masks.tolist()


@pytest.mark.parametrize(
    ("space", "mask", "expected"),
    [
        (spaces.Discrete(3, start=5), [0, 1, 1], {6, 7}),
        (spaces.MultiDiscrete([2, 3], start=[1, 0]), [0, 1, 1, 0, 1], {(2, 0), (2, 2)}),
        (spaces.MultiDiscrete([2, 3], start=[1, 0]), ([0, 1], [1, 0, 1]), {(2, 0), (2, 2)}),
        (spaces.MultiBinary(2), [1, 0, 1, 1], {(0, 0), (0, 1)}),
    ],
)
def test_random_play_keeps_to_what_is_allowed(space: Any, mask: Any, expected: Any) -> None:
    env = Environment(Told, {"tells": lambda at: True, "space": space, "mask": mask}, name="told").make()
    info = env.reset(seed=0)[1]
    drawn = {
        tuple(action.tolist()) if action.shape else int(action)
        for action in (np.asarray(random_action(env.action_space, info["action_mask"])) for _ in range(60))
    }
    assert expected == drawn


def test_an_environment_that_raises_on_an_illegal_action_is_checked_and_sampled() -> None:
    source = Environment(Told, {"tells": lambda at: True}, name="told")
    source.check()
    assert (50, 1) == source.random_observations(50).shape


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(EnvironmentApiError, match=r"told: expected an action mask of 2 truth values, .* got 3"):
        Environment(Told, {"tells": lambda at: True, "mask": [1, 0, 1]}, name="told").check()


def test_a_late_observation_of_another_shape_names_environment_step_and_shapes() -> None:
    class Late(Told):
        def step(self, action: Any) -> Any:
            observation, *rest = super().step(action)
            return (np.zeros(2, np.float32) if self.at == 2 else observation, *rest)

    vector = Environment(Late, {"tells": lambda at: False}, name="late").make_vector(1)
    vector.reset(seed=0)
    vector.step(np.zeros(1, np.int64))
    expected = r"environment late: step returned .* its shape is \(2,\), expected \(1,\) \(at its env step 2\)"
    with pytest.raises(EnvironmentApiError, match=expected):
        vector.step(np.zeros(1, np.int64))


def test_what_the_user_wraps_is_checked_and_not_what_is_beneath() -> None:
    class Broken(Told):
        def reset(self, **kwargs: Any) -> Any:
            observation, info = super().reset(**kwargs)
            return observation.astype(np.float64), info

    class Repaired(gym.ObservationWrapper[Any, Any, Any]):
        def observation(self, observation: Any) -> Any:
            return np.asarray(observation, np.float32)

    with pytest.raises(EnvironmentApiError, match="expected a NumPy array of float32"):
        Environment(Broken, {"tells": lambda at: False}, name="broken").check()
    Environment(lambda: Repaired(Broken(lambda at: False)), name="repaired").check()


def test_a_part_outside_its_space_is_named_and_its_pixels_are_not() -> None:
    class Parts(Told):
        def __init__(self) -> None:
            super().__init__(lambda at: False)
            self.observation_space = spaces.Dict(a=spaces.Discrete(2), image=spaces.Box(0, 255, (9, 9), np.uint8))

        def reset(self, **kwargs: Any) -> Any:
            return {"a": 1, "image": np.zeros((9, 8), np.uint8)}, super().reset(**kwargs)[1]

    with pytest.raises(EnvironmentApiError, match=r"in its part \['image'\]: its shape is \(9, 8\)") as caught:
        Environment(Parts, name="parts").check()
    assert len(str(caught.value)) < 250


def test_a_wrong_id_leaves_with_the_status_of_a_config_fault() -> None:
    with pytest.raises(SettingError) as caught:
        Environment("CartPol-v1", name="CartPol-v1").make()
    assert 2 == caught.value.exit_status


def test_drawn_environments_are_functions_of_their_seed() -> None:
    assert str(habits(5)) == str(habits(5)) != str(habits(6))
    observation, _ = Drawn(habits(5)).reset(seed=0)
    assert habits(5).observations.contains(observation)
    torch.testing.assert_close(observation, Drawn(habits(5)).reset(seed=0)[0])
