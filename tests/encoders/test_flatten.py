"""Observations of several parts, or of one of several things, as vectors."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from harness import digit_stream, environment_stream, learn_all, ppo, prepared, restore, sb3, snapshot

from rlcl.data.environments.flattening import flattening_remedy, is_flattenable
from rlcl.data.environments.state import environment_state
from rlcl.data.sources import Environment
from rlcl.encoders.compose import Compose
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.running_norm import RunningNorm
from rlcl.errors import DataError, UnsupportedError
from rlcl.streams.environments import Environments
from rlcl.streams.stream import Stream
from rlcl.training.trainer import Trainer
from rlcl.types import Budget


class Parts(gym.Env[Any, Any]):
    """Observes the step's number, twice the number, and its parity; five steps."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Dict(
            {
                "numbers": gym.spaces.Box(0, 99, (2, 1), np.float32),
                "parity": gym.spaces.Discrete(2),
                "after": gym.spaces.Box(0, 99, (1,), np.float32),
            }
        )
        self.action_space = gym.spaces.Discrete(2)
        self.at = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return self._state(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        return self._state(), 1.0, False, self.at == 5, {}

    def _state(self) -> dict[str, Any]:
        numbers = np.array([[self.at], [2 * self.at]], np.float32)
        return {"numbers": numbers, "parity": self.at % 2, "after": np.array([self.at + 1], np.float32)}

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = int(state["at"])


def parts(num_envs: int = 2) -> Stream:
    stream = environment_stream(Environment(Parts, num_envs=num_envs, name="parts"), budget=40)
    spec = stream.spec.__class__("environment", (), encodable=False)
    return Stream(stream.experiences, spec, stream.visibility)


def test_parts_stand_one_after_the_other_and_choices_are_one_hot() -> None:
    stream = Flatten().adapt(parts(1))
    assert ((5,), True) == (stream.spec.observation_shape, stream.spec.encodable)
    vector = stream[0].train.make_vector()  # type: ignore[union-attr]
    vector.reset(seed=0)
    observations, *_ = vector.step(np.zeros(1, np.int64))
    # In the order of the space, by name: after 2, numbers 1 and 2, parity the second of two.
    assert [[2.0, 1.0, 2.0, 0.0, 1.0]] == observations.tolist()


def test_arrays_and_boxes_stay_as_they_are() -> None:
    boxes = environment_stream(Environment("CartPole-v1", name="cartpole"), budget=8)
    assert boxes is Flatten().adapt(boxes)
    digits = digit_stream()
    assert digits is Flatten().adapt(digits)


@pytest.mark.parametrize("learner", [ppo, lambda: sb3("PPO")])
def test_a_learner_of_arrays_learns_from_them(learner: Any) -> None:
    outcome = Trainer(learner(), parts(), encoder=Compose((Flatten(), RunningNorm()))).fit()
    assert 5.0 == outcome.metrics["return.average"]


def test_without_it_they_are_refused_with_the_remedy() -> None:
    with pytest.raises(UnsupportedError, match=r"observations that are arrays .*; set encoder: flatten"):
        prepared(ppo(), parts())


def test_a_state_in_the_middle_of_an_episode_is_saved_through_it() -> None:
    stream = Flatten().adapt(parts())
    vector = stream[0].train.make_vector()  # type: ignore[union-attr]
    vector.reset(seed=0)
    assert environment_state(vector) is not None
    through, stopped, fresh = (prepared(ppo(), stream, encoder=Flatten()) for _ in range(3))
    learn_all(through, stream)
    next(stopped.learn(stream[0]))
    restore(fresh, snapshot(stopped))
    learn_all(fresh, stream)
    assert through.recent_observations().tolist() == fresh.recent_observations().tolist()


def test_a_config_says_it_by_the_name_of_the_encoder_and_a_table_of_states_is_one_hot() -> None:
    from rlcl.seeding import Seeds

    stream = Environments(env="FrozenLake-v1").make(Seeds(0), Budget(env_steps=16))
    assert not stream.spec.encodable
    flat = Flatten().adapt(stream)
    assert (16,) == flat.spec.observation_shape
    learn_all(prepared(ppo(), flat, encoder=Flatten()), flat)


def test_a_native_vector_is_refused() -> None:
    source = Environment("rlcl_envs/CartPole-v1", vectorization="native", name="cartpole", flat=True)
    with pytest.raises(DataError, match="native does not support flattened observations"):
        source.make_vector()


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (gym.spaces.Text(5), "Text"),
        (gym.spaces.Sequence(gym.spaces.Discrete(2)), "Sequence"),
        (gym.spaces.Graph(gym.spaces.Box(0, 1, (2,)), None), "Graph"),
    ],
)
def test_a_part_without_a_vector_is_named_with_the_wrapper_that_leaves_it_out(part: Any, kind: str) -> None:
    space = gym.spaces.Dict(seen=gym.spaces.Box(0, 1, (2,)), said=part)
    assert not is_flattenable(space)
    assert f"its part ['said'] is {kind}" in flattening_remedy(space)
    assert "FilterObservation(env, ['seen'])" in flattening_remedy(space)
    assert "set encoder: flatten, before any other encoder" == flattening_remedy(space["seen"])
