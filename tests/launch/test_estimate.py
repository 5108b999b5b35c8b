"""What a run is said to cost."""

from __future__ import annotations

from typing import Any

from rlcl.experiment import experiment_from
from rlcl.launch.build import make_trainer
from rlcl.launch.estimate import Estimate, estimate


def estimated(**settings: Any) -> tuple[Any, Estimate]:
    learner = {"type": "dqn", "network": {"type": "mlp", "hidden": [16]}, **settings}
    stream = {"type": "environments", "env": "CartPole-v1"}
    plain = {"name": "x", "stream": stream, "learner": learner, "budget": {"env_steps": 1_000_000}}
    trainer = make_trainer(experiment_from({**plain, "evaluation": {"episodes": 1}}), 0)
    return trainer.learner, estimate(trainer)


def test_a_replay_buffer_counts_in_full_before_it_is_filled() -> None:
    _, small = estimated(capacity=1000)
    learner, found = estimated(capacity=20_000_000)
    # Each row 16 bytes of observation, 8 of action, 4 of reward, three flags; and one count.
    assert 20_000_000 * 31 + 8 == found.replay
    assert found.memory - small.memory > 20_000_000 * 31 * 0.99
    assert "114 parameters" in found.learner  # 4 * 16 + 16, and 16 * 2 + 2
    assert learner.buffer.unwritten_bytes < found.replay


def test_the_rate_is_that_of_steps_with_updates() -> None:
    learner, found = estimated(capacity=50_000, learning_starts=3000, train_every=1)
    assert learner.position.step > 3000
    _, without = estimated(capacity=50_000, learning_starts=0, train_every=1)
    assert found.rate < 2 * without.rate
