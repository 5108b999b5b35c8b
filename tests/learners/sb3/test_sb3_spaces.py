"""Spaces for which Stable-Baselines3 has no policy are refused by one message that names the part."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlcl.errors import UnsupportedError
from rlcl.learners.sb3.environment_requirements import check_spaces

POINT = spaces.Box(-1, 1, (), np.float32)
LINE = spaces.Box(-1, 1, (3,), np.float32)


@pytest.mark.parametrize(
    ("observations", "actions", "part"),
    [
        (POINT, spaces.Discrete(2), "observation"),
        (LINE, POINT, "action"),
        (LINE, spaces.Dict({"turn": spaces.Discrete(2)}), "action"),
        (spaces.Tuple((LINE, spaces.Discrete(3))), spaces.Discrete(2), "observation"),
        (spaces.Dict({"seen": LINE, "heat": POINT}), spaces.Discrete(2), "heat"),
        (spaces.Dict({"seen": LINE, "words": spaces.Text(5)}), spaces.Discrete(2), "words"),
    ],
)
def test_a_space_without_a_policy_is_refused_by_its_part(
    observations: gym.Space[Any], actions: gym.Space[Any], part: str
) -> None:
    with pytest.raises(UnsupportedError, match=f"^learner sb3: '{part}' has the space .*; flatten it by"):
        check_spaces(observations, actions)


@pytest.mark.parametrize(
    "part", [LINE, spaces.Discrete(3, start=-1), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(4)]
)
def test_spaces_with_a_policy_pass(part: gym.Space[Any]) -> None:
    check_spaces(part, part)
    check_spaces(spaces.Dict({"seen": part, "beside": LINE}), part)
