"""Environments in processes of their own give what they give one after the other, and their processes always end."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from probes import Forbidding, Probe

from rlcl.data.environments.action_masks import action_masks
from rlcl.data.environments.environment import Environment
from rlcl.data.environments.workers import WorkerVectorEnv
from rlcl.errors import EnvironmentApiError, RlclError
from rlcl.evaluation.episodes import run_episodes


def workers(env: Any, count: int = 2, **settings: Any) -> WorkerVectorEnv:
    vector = Environment(env, vectorization="async", name="mine", **settings).make_vector(count)
    assert isinstance(vector, WorkerVectorEnv)
    return vector


def alive(vector: WorkerVectorEnv) -> list[bool]:
    return [process.is_alive() for process in vector.processes]


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_steps_equal_those_of_environments_one_after_the_other(name: str) -> None:
    source = Environment(name, kwargs={"max_episode_steps": 30}, name=name)
    vectors = [source.make_vector(3), workers(name, 3, kwargs={"max_episode_steps": 30})]
    first, second = (vector.reset(seed=4)[0] for vector in vectors)
    assert np.array_equal(first, second)
    vectors[0].action_space.seed(0)
    ended = 0
    for _ in range(70):
        actions = vectors[0].action_space.sample()
        expected, actual = (vector.step(actions) for vector in vectors)
        for a, b in zip(expected[:4], actual[:4], strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)
        for i in np.flatnonzero(expected[2] | expected[3]):
            assert np.array_equal(expected[4]["final_obs"][i], actual[4]["final_obs"][i])
            ended += 1
    assert ended >= 6
    for vector in vectors:
        vector.close()
    assert [False] * 3 == alive(vectors[1])  # type: ignore[arg-type]


@pytest.mark.parametrize("said", ["info", "method"])
def test_masks_equal_those_of_environments_one_after_the_other(said: str) -> None:
    vectors = [
        Environment(Forbidding, kwargs={"said": said}).make_vector(2),
        workers(Forbidding, kwargs={"said": said}),
    ]
    resets = [vector.reset(seed=0)[1] for vector in vectors]
    expected, actual = (action_masks(vector, info) for vector, info in zip(vectors, resets, strict=True))
    assert np.array_equal(expected, actual)  # type: ignore[arg-type]
    for action in (1, 2, 0, 1):  # the third step ends the episode
        infos = [vector.step(np.full(2, action))[4] for vector in vectors]
        expected, actual = (action_masks(vector, info) for vector, info in zip(vectors, infos, strict=True))
        assert np.array_equal(expected, actual)  # type: ignore[arg-type]
    vectors[1].close()


def test_attributes_and_frames_are_each_environments_own() -> None:
    vector = workers("Pendulum-v1", attributes={"g": 3.0}, frames=2)
    assert (3.0, 3.0) == vector.get_attr("g")
    assert (2, 2, 3) == vector.reset(seed=0)[0].shape
    vector.close()


def test_evaluation_gives_the_same_returns() -> None:
    class Right:
        measures = ("return",)

        def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
            return (x[:, 2] > 0).astype(np.int64), None

    expected, actual = (
        run_episodes(Right(), Environment("CartPole-v1", vectorization=v, seed=5), 4, 500, None).returns  # type: ignore[arg-type]
        for v in ("sync", "async")
    )
    assert expected.tolist() == actual.tolist()


class Fragile(Probe):
    """Raises, or sleeps, in the third step of one of two environments."""

    def __init__(self, sleeps: bool = False) -> None:
        super().__init__(length=100)
        self.sleeps, self.seed = sleeps, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.seed = seed or 0
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        if self.at == 2 and self.seed == 1:
            if self.sleeps:
                time.sleep(60)
            raise KeyError("speed")
        return super().step(action)


def test_an_error_in_a_process_is_told_as_one_error_and_all_processes_end() -> None:
    vector = workers(Fragile)
    vector.reset(seed=0)
    for _ in range(2):
        vector.step(np.zeros(2, np.int64))
    with pytest.raises(RlclError, match=rf"{re.escape(__file__)}:\d+: step raised KeyError: 'speed'; fix it"):
        vector.step(np.zeros(2, np.int64))
    vector.close()
    assert [False, False] == alive(vector)


class Aloud(gym.Wrapper):  # type: ignore[type-arg]
    """Raises an error of rlcl's own."""

    def step(self, action: Any) -> Any:
        raise EnvironmentApiError("nothing is allowed")


def test_an_error_of_our_own_stays_what_it_is() -> None:
    vector = workers(lambda: Aloud(Probe()))
    vector.reset(seed=0)
    with pytest.raises(EnvironmentApiError, match=r"^nothing is allowed$"):
        vector.step(np.zeros(2, np.int64))
    vector.close()


def test_a_process_that_was_killed_is_a_clear_error() -> None:
    vector = workers(Probe, kwargs={"length": 9})
    vector.reset(seed=0)
    killed = vector.processes[1]
    killed.kill()
    killed.join()
    with pytest.raises(EnvironmentApiError, match=r"a process of environment mine .* ended unexpectedly.* sync"):
        vector.step(np.zeros(2, np.int64))
    vector.close()
    assert [False, False] == alive(vector)


def test_an_interrupt_within_a_step_leaves_no_process() -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # as a run has it, which its workers must not inherit
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    vector = workers(Fragile, kwargs={"sleeps": True})
    vector.reset(seed=0)
    for _ in range(2):
        vector.step(np.zeros(2, np.int64))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        vector.step(np.zeros(2, np.int64))
    signal.signal(signal.SIGTERM, before)
    signal.signal(signal.SIGINT, interrupt)
    vector.close()  # one environment has answered, and the other one sleeps
    assert [False, False] == alive(vector)
    assert time.monotonic() - started < 30


def test_processes_let_their_owner_decide_about_an_interrupt() -> None:
    vector = workers(Probe, kwargs={"length": 9})
    vector.reset(seed=0)
    for process in vector.processes:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
    assert [1.0, 1.0] == vector.step(np.zeros(2, np.int64))[1].tolist()
    vector.close()
