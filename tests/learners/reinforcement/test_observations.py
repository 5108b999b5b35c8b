"""Observations of several parts, and images, from the environment to the memory and the policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from attrs import frozen
from harness import (
    differences,
    dqn,
    environment_stream,
    learn_all,
    learning,
    ppo,
    prepared,
    restore,
    sac,
    snapshot,
    td3,
    weights,
    without_rates,
)

from rlcl.data.sources import Environment
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.scale import Scale
from rlcl.evaluation.episodes import run_episodes
from rlcl.learners.fast.twin_networks import SeparateTwins, StackedTwins
from rlcl.learners.reinforcement.twin_critics import ImageCritic, build_twin_critics
from rlcl.networks.cnn import Cnn
from rlcl.networks.mlp import Mlp
from rlcl.networks.nature_cnn import NatureCnn

LEARNERS: Mapping[str, tuple[Callable[..., Any], bool]] = {
    "ppo": (ppo, False),
    "ppo continuous": (ppo, True),
    "dqn": (dqn, False),
    "sac": (sac, True),
    "td3": (td3, True),
}


class Counting(gym.Env[Any, Any]):
    """Episodes of four steps; a concrete one shows how many have been made."""

    def __init__(self, continuous: bool = False) -> None:
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32) if continuous else gym.spaces.Discrete(2)
        self.at = 0

    def seen(self) -> Any:
        raise NotImplementedError

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return self.seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        return self.seen(), 1.0, False, self.at == 4, {}

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = int(state["at"])


class Parts(Counting):
    """A dictionary: where one is, and what one holds."""

    observation_space = gym.spaces.Dict(
        {"place": gym.spaces.Box(-5, 5, (2,), np.float32), "held": gym.spaces.Discrete(3)}
    )

    def seen(self) -> Any:
        return {"place": np.array([self.at, -self.at], np.float32), "held": np.int64(self.at % 3)}


class Screen(Counting):
    """Frames of bytes, one pixel brighter a step."""

    observation_space = gym.spaces.Box(0, 255, (2, 36, 36), np.uint8)

    def seen(self) -> Any:
        frame = np.full((2, 36, 36), 100, np.uint8)
        frame[0, self.at, 0] = 255
        return frame


@frozen
class Kind:
    """A kind of observations, with what they are learned from by."""

    env: Callable[..., Any]
    flat: bool
    settings: Mapping[str, Any]
    encoder: Callable[[], Any]
    kept: Any  # the dtype in the memory


KINDS = {
    "parts": Kind(Parts, True, {}, Flatten, np.float64),  # as Gymnasium joins numbers and choices
    "images": Kind(Screen, False, {"network": NatureCnn(hidden=8)}, Scale, np.uint8),
}
PAIRS = [(name, kind) for name in LEARNERS for kind in KINDS]


def made(name: str, kind: str, seed: int = 0) -> tuple[Any, Any]:
    make, continuous = LEARNERS[name]
    case = KINDS[kind]
    source = Environment(case.env, kwargs={"continuous": continuous}, num_envs=2, name=kind, flat=case.flat)
    stream = environment_stream(source, budget=32)
    return prepared(make(**case.settings), stream, encoder=case.encoder(), seed=seed, event_interval=8), stream


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_it_learns_from_them_is_evaluated_on_them_and_resumes_within_an_episode(name: str, kind: str) -> None:
    through, stream = made(name, kind)
    before = weights(through)
    steps = learning(through, stream)
    for _ in range(32 // through.steps_per_round // 2):
        next(steps)
    middle = snapshot(through)
    expected = [event for event in steps if event is not None]
    assert all(not torch.equal(before[key], value) for key, value in weights(through).items() if "weight" in key)
    fresh, _ = made(name, kind, seed=7)
    restore(fresh, middle)
    assert without_rates(expected) == without_rates(learn_all(fresh, stream))
    assert [] == differences(snapshot(through), snapshot(fresh))
    assert [4.0, 4.0] == run_episodes(through, stream[0].train, 2, 9, None).returns.tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["dqn", "sac", "td3"])
def test_the_memory_keeps_them_as_they_came(name: str, kind: str) -> None:
    learner, stream = made(name, kind)
    learn_all(learner, stream)
    case = KINDS[kind]
    part = learner.buffer.at(np.flatnonzero(learner.buffer.valid), 0.99)
    assert case.kept == part.observations.dtype
    env = case.env()
    if kind == "parts":
        env = gym.wrappers.FlattenObservation(env)
    first, _ = env.reset()
    shown = [first, *(env.step(0)[0] for _ in range(4))]
    for before, after in zip(part.observations, part.next_observations, strict=True):
        indices = [i for i in range(4) if np.array_equal(shown[i], before)]
        assert 1 == len(indices)
        assert np.array_equal(shown[indices[0] + 1], after)


def test_critics_of_images_look_before_they_read_the_action() -> None:
    seeing = build_twin_critics(Cnn(channels=(4,), hidden=(8,)), (3, 8, 8), 2, tasks=0)
    assert isinstance(seeing, SeparateTwins)
    assert all(isinstance(critic, ImageCritic) for critic in seeing.networks)
    x = torch.rand(5, 3 * 64 + 2)
    other = x.clone()
    other[:, -1] += 1.0  # the last number is the action's
    assert (2, 5) == seeing(x).shape
    assert not torch.isclose(seeing(x), seeing(other), atol=1e-7).any()
    # What the action changes depends on the image.
    assert len(np.unique((seeing(other) - seeing(x))[0].detach().numpy().round(6))) == 5
    assert isinstance(
        build_twin_critics(Mlp(hidden=(8,)), (4, 3), 2, tasks=0), StackedTwins
    )  # rows, as a perceptron reads them


def test_check_tells_the_bytes_of_the_memory_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rlcl.commands import main

    (tmp_path / "images.yaml").write_text(
        "name: images\n"
        f"stream: {{type: environments, env: '{__file__}:Screen', num_envs: 2}}\n"
        "encoder: {type: scale}\n"
        "learner: {type: dqn, network: {type: nature_cnn, hidden: 8}, capacity: 1000, train_every: 8}\n"
        "budget: {env_steps: 120}\n"
        "evaluation: {episodes: 1}\n"
    )
    with suppress(SystemExit):
        main(["check", str(tmp_path / "images.yaml")])
    # Images of bytes, an action of 8, a reward of 4 and three flags a row; a count of 8 an environment.
    expected = 1000 * (2 * 36 * 36 + 8 + 4 + 3) + 2 * 8
    assert f"{expected:,} bytes of the replay buffer" in capsys.readouterr().out
