"""Native learners and those of Stable-Baselines3 log the same quantities under the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness import cartpoles, dqn, learn_all, pendulums, ppo, prepared, sac, sb3, td3

from rlcl.learners.sb3.logged_quantities import logged_quantities
from rlcl.streams.stream import Stream


def names(learner: Any, stream: Stream) -> set[str]:
    prepared(learner, stream)
    return {name for event in learn_all(learner, stream) for name in event.values}


# What one side alone logs, with the reason.
OURS: dict[str, set[str]] = {"PPO": set(), "DQN": {"value"}, "SAC": {"value", "entropy"}, "TD3": {"value"}}
THEIRS: dict[str, set[str]] = {
    "PPO": {"n_updates", "clip", "gradient_norm"},
    "DQN": {"n_updates", "gradient_norm"},
    "SAC": {"n_updates", "temperature_loss", "gradient_norm"},
    "TD3": {"n_updates", "gradient_norm"},
}


@pytest.mark.parametrize(
    ("algorithm", "native", "stream"),
    [
        ("PPO", lambda: ppo(n_steps=16), lambda: cartpoles(128)),
        ("DQN", dqn, lambda: cartpoles(120)),
        ("SAC", sac, lambda: pendulums(60)),
        ("TD3", td3, lambda: pendulums(60)),
    ],
)
def test_both_log_the_same_quantities(algorithm: str, native: Callable[[], Any], stream: Callable[[], Stream]) -> None:
    ours, theirs = names(native(), stream()), names(sb3(algorithm), stream())
    assert OURS[algorithm] == ours - theirs
    assert THEIRS[algorithm] == theirs - ours


def test_their_entropy_loss_is_the_negative_entropy() -> None:
    logged = {
        "train/entropy_loss": -0.5,
        "train/loss": 2,
        "time/fps": 3,
        "train/text": "x",
        "rollout/exploration_rate": 0.1,
    }
    assert {"entropy": 0.5, "loss": 2.0, "exploration": 0.1} == dict(logged_quantities(logged))
