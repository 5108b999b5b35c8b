"""Frames in their order, and what an environment gives of them at the ends of its episodes."""

from __future__ import annotations

from typing import Any

import attrs
import gymnasium as gym
import numpy as np
import pytest
import torch
from harness import cartpoles, classifier, digit_stream

from rlcl.config import build, component
from rlcl.data.sources import Environment
from rlcl.encoders.compose import Compose
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.frame_stack import FrameStack
from rlcl.encoders.grey_scale import GreyScale
from rlcl.encoders.scale import Scale
from rlcl.encoders.standardize import Standardize
from rlcl.errors import ConfigError, DataError, UnsupportedError
from rlcl.training.trainer import Trainer


class Count(gym.Env[Any, Any]):
    """Observes 10, 11, 12, 13, and is truncated there."""

    observation_space = gym.spaces.Box(0, 99, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 10
        return np.array([self.count], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        return np.array([self.count], np.float32), 1.0, False, self.count == 13, {}


def test_frames_are_joined_along_the_last_axis_the_oldest_first() -> None:
    frames = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])  # two frames of two features
    assert [[1.0, 2.0, 3.0, 4.0]] == FrameStack(frames=2).encode(frames).tolist()
    images = torch.arange(8).view(1, 2, 2, 1, 2)  # two frames, (2, 1) pixels, two channels
    assert (2, 1, 4) == FrameStack(frames=2).shape((2, 2, 1, 2))
    assert [[[[0, 1, 4, 5]], [[2, 3, 6, 7]]]] == FrameStack(frames=2).encode(images).tolist()


def test_frames_are_joined_along_the_first_axis_where_channels_are_first() -> None:
    images = torch.arange(8).view(1, 2, 2, 1, 2)  # two frames, two channels, (1, 2) pixels
    stack = FrameStack(frames=2, channels="first")
    assert (4, 1, 2) == stack.shape((2, 2, 1, 2))
    assert [[[[0, 1]], [[2, 3]], [[4, 5]], [[6, 7]]]] == stack.encode(images).tolist()


def test_what_stands_before_a_stack_is_applied_to_each_frame() -> None:
    images = torch.randint(0, 256, (5, 2, 4, 6, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    encoder = Compose((GreyScale(), FrameStack(frames=2), Scale(maximum=255.0), Flatten()))
    assert (48,) == encoder.shape((2, 4, 6, 3))
    expected = torch.cat([GreyScale().encode(images[:, i]) for i in range(2)], -1) / 255
    assert torch.equal(expected.flatten(1), encoder.encode(images))


def test_what_stands_before_a_stack_is_fitted_on_the_newest_frame() -> None:
    # A frame is in as many observations as are stacked: fitted on all, it would count that often.
    frames = torch.tensor([[[0.0], [1.0]], [[1.0], [3.0]]])
    encoder = Compose((Standardize(clip=None), FrameStack(frames=2)))
    encoder.fit(frames)
    assert [pytest.approx([-1.0, 1.0]), pytest.approx([3.0, 5.0])] == encoder.encode(
        torch.tensor([[[1.0], [3.0]], [[5.0], [7.0]]])
    ).tolist()


def test_images_of_bytes_stay_images_of_bytes() -> None:
    raw = gym.spaces.Box(0, 255, (4, 8, 6, 3), np.uint8)
    space = Compose((GreyScale(), FrameStack())).space(raw)
    assert gym.spaces.Box(0, 255, (8, 6, 4), np.uint8) == space


def test_an_environment_gives_its_last_observations_and_starts_anew_with_each_episode() -> None:
    env = Environment(Count, frames=3).make()
    first, _ = env.reset()
    assert [10.0, 10.0, 10.0] == first.flatten().tolist()
    assert [10.0, 10.0, 11.0] == env.step(0)[0].flatten().tolist()
    assert [10.0, 11.0, 12.0] == env.step(0)[0].flatten().tolist()
    assert [10.0, 10.0, 10.0] == env.reset()[0].flatten().tolist()


def test_side_by_side_the_last_observation_of_an_episode_is_the_last_stack() -> None:
    vector = Environment(Count, frames=3).make_vector(2)
    vector.reset(seed=0)
    vector.step(np.zeros(2, np.int64))
    vector.step(np.zeros(2, np.int64))
    observations, _, _, truncated, info = vector.step(np.zeros(2, np.int64))
    assert truncated.all()
    assert [[11.0, 12.0, 13.0]] * 2 == [last.flatten().tolist() for last in info["final_obs"]]
    assert [[10.0, 10.0, 10.0]] * 2 == observations.reshape(2, 3).tolist()
    vector.close()


def test_every_environment_of_a_stream_stacks() -> None:
    stream = FrameStack(frames=3).adapt(cartpoles(32, boundaries="hidden"))
    assert (3, 4) == stream.spec.observation_shape
    stacked = [source.frames for e in stream for source in (e.train, e.test)]  # type: ignore[union-attr]
    assert [3, 3, 3, 3] == stacked
    assert (3, 4) == stream[0].train.spaces()[0].shape  # type: ignore[union-attr]


def test_segments_and_validation_environments_stack_too() -> None:
    stream = cartpoles(32)
    whole = attrs.evolve(stream[0], validation=stream[0].train, segments=stream.experiences)
    (found,) = FrameStack(frames=2).adapt(attrs.evolve(stream, experiences=(whole,)))
    assert 2 == found.validation.frames  # type: ignore[union-attr]
    assert [2, 2] == [part.train.frames for part in found.segments]  # type: ignore[union-attr]


def test_arrays_have_no_frames() -> None:
    with pytest.raises(UnsupportedError, match="frame_stack joins successive observations of an environment, and this"):
        Trainer(classifier(), digit_stream(), encoder=Compose((Scale(), FrameStack())))


def test_native_environments_do_not_stack() -> None:
    source = Environment("rlcl_envs/CartPole-v1", vectorization="native", frames=2, name="cartpole")
    with pytest.raises(DataError, match=r"vectorization: native does not support stacked frames; use sync"):
        source.make_vector(2)


def test_two_stacks_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected at most one frame_stack, got 2"):
        build(component("encoder", ["frame_stack", "scale", "frame_stack"]))


def test_the_number_of_frames_must_be_the_stacks() -> None:
    with pytest.raises(UnsupportedError, match=r"expected 4 frames in an observation, got inputs of shape \(2, 3\)"):
        FrameStack().shape((2, 3))
