"""Errors and warnings about rewards, observations and episode lengths of environments."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box
from probes import Probe

from rlcl.data.sources import Environment
from rlcl.encoders.identity import Identity
from rlcl.errors import DivergenceError
from rlcl.learners.reinforcement.collector import Collector
from rlcl.learners.reinforcement.environment_checks import CHECK_INTERVAL, LONG_EPISODE, EnvironmentChecks


def watch(low: float = -1.0, high: float = 1.0, steps: int = 0) -> EnvironmentChecks:
    return EnvironmentChecks("maze", Box(low, high, (2,), np.float32), steps)


def fine(count: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros((count, 2), np.float32), np.ones(count), np.ones(count, np.int64)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_reward_that_is_not_finite_is_an_error_in_its_very_step(bad: float) -> None:
    found, (observations, rewards, lengths) = watch(), fine()
    for _ in range(4):
        found.check_step(observations, rewards, lengths)
    rewards[1] = bad
    message = f"^environment maze returned rewards that are not finite: {bad} at env step 15 of the experience in "
    with pytest.raises(DivergenceError, match=f"{message}environment 1 of 3; fix the environment$"):
        found.check_step(observations, rewards, lengths)


def test_a_huge_reward_is_finite() -> None:
    observations, _, lengths = fine()
    watch().check_step(observations, np.full(3, 1e140), lengths)


def test_an_observation_that_is_not_finite_is_an_error_at_the_next_look() -> None:
    found, (observations, rewards, lengths) = watch(-np.inf, np.inf, CHECK_INTERVAL - 2), fine(1)
    observations[0, 1] = np.inf
    found.check_step(observations, rewards, lengths)
    with pytest.raises(
        DivergenceError, match=rf"returned observations that are not finite: inf at env step {CHECK_INTERVAL} of the"
    ):
        found.check_step(observations, rewards, lengths)


def test_an_observation_outside_its_space_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    found, (observations, rewards, lengths) = watch(), fine()
    for _ in range(5 * CHECK_INTERVAL):
        observations[2, 1] = 1.0 if found.steps < CHECK_INTERVAL else 1.5  # a bound is within
        found.check_step(observations, rewards, lengths)
    expected = (
        "environment maze returned an observation outside its observation_space: element [1] is 1.5, allowed is [-1.0, "
        f"1.0], at env step {2 * CHECK_INTERVAL * 3} of the experience in environment 2 of 3; widen the space or clip "
        "the observation"
    )
    assert [expected] == caplog.messages


def test_images_are_never_outside() -> None:
    EnvironmentChecks("images", Box(0, 255, (2,), np.uint8)).check_observations(np.full((1, 2), 255, np.uint8))


def test_an_episode_without_an_end_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    found, (observations, rewards, _) = watch(), fine()
    for length in range(1, LONG_EPISODE + 3 * CHECK_INTERVAL):
        found.check_step(observations, rewards, np.array([5, length, 5]))
    (said,) = caplog.messages
    assert said.startswith("environment maze: an episode is not finished after 10,0")
    assert said.endswith(
        "env steps, at env step 30,144 of the experience in environment 1 of 3; if episodes never end, set a time "
        "limit, for a registered environment by kwargs: {max_episode_steps: 1000}"
    )


def test_a_collector_counts_on_where_it_was_saved() -> None:
    source = Environment(Probe, kwargs={"length": 9}, num_envs=2, name="probe")
    one, other = Collector(source, Identity()), Collector(source, Identity())
    for _ in range(3):
        one.step(np.zeros(2, np.int64))
    other.load_state_dict(one.state_dict())
    broken = Environment(Probe, kwargs={"length": 9, "broken": "reward"}, num_envs=2, name="probe")
    other.vector = broken.make_vector()
    other.vector.reset(seed=0)
    with pytest.raises(DivergenceError, match="nan at env step 8 of the experience in environment 0 of 2"):
        other.step(np.zeros(2, np.int64))
