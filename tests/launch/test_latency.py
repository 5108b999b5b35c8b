"""How long one prediction takes, and that asking changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness import (
    autoencoder,
    avalanche,
    cartpoles,
    classifier,
    differences,
    digit_stream,
    heads_by_task,
    ppo,
    sb3,
    snapshot,
)

from rlcl.evaluation.plan import Plan
from rlcl.launch import latency
from rlcl.launch.latency import latency_ms
from rlcl.training.trainer import Trainer

LEARNERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "classifier": lambda: (classifier(), digit_stream()),
    "autoencoder": lambda: (autoencoder(), digit_stream()),
    "avalanche": lambda: (avalanche(network=heads_by_task()), digit_stream(task_ids=True)),
    "ppo": lambda: (ppo(n_steps=24), cartpoles(48)),
    "sb3": lambda: (sb3("PPO"), cartpoles(64)),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_a_prediction_is_timed_and_changes_nothing(name: str) -> None:
    trainer = Trainer(*LEARNERS[name](), Plan(episodes=1))
    trainer.fit()
    before = snapshot(trainer.learner)
    found = latency_ms(trainer)
    assert found is not None
    assert 0 < found < 1000
    assert [] == differences(before, snapshot(trainer.learner))


def test_a_head_that_is_not_there_yet_predicts_nothing() -> None:
    trainer = Trainer(*LEARNERS["avalanche"]())
    assert latency_ms(trainer) is None


def test_it_is_the_median_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each prediction takes 2 s but for some outliers, of which the median takes no notice.
    moments = iter([t for i in range(latency.REPEATS) for t in (0.0, 90.0 if i < 20 else 2.0)])
    trainer = Trainer(*LEARNERS["classifier"]())
    trainer.fit()
    monkeypatch.setattr(latency.time, "perf_counter", lambda: next(moments))
    assert 2000.0 == latency_ms(trainer)
