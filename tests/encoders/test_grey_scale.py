"""Brightness by hand, on either axis."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlcl.encoders.grey_scale import GreyScale
from rlcl.errors import UnsupportedError


def test_brightness_is_the_weighted_sum_of_red_green_and_blue() -> None:
    # 0.299 * 1 + 0.587 * 0.5 + 0.114 * 0.25 = 0.621.
    pixel = torch.tensor([1.0, 0.5, 0.25])
    assert pytest.approx([0.621]) == GreyScale().encode(pixel.view(1, 3, 1, 1)).flatten().tolist()
    assert pytest.approx([0.621]) == GreyScale().encode(pixel.view(1, 1, 1, 3)).flatten().tolist()


def test_bytes_stay_whole_numbers() -> None:
    # 76.245 of pure red, 18.15 of (10, 20, 30), 255 of white.
    pixels = torch.tensor([[255, 0, 0], [10, 20, 30], [255, 255, 255]], dtype=torch.uint8)
    assert [76.0, 18.0, 255.0] == GreyScale().encode(pixels.view(1, 1, 3, 3).expand(1, 2, 3, 3))[
        0, 0
    ].flatten().tolist()


def test_channels_are_found_where_there_are_three() -> None:
    assert (1, 8, 6) == GreyScale().shape((3, 8, 6))
    assert (8, 6, 1) == GreyScale().shape((8, 6, 3))
    assert (1, 8, 3) == GreyScale(channels="first").shape((3, 8, 3))
    assert (3, 8, 1) == GreyScale(channels="last").shape((3, 8, 3))


@pytest.mark.parametrize("last", [False, True])
def test_a_smaller_image_is_the_mean_of_what_each_pixel_covers(last: bool) -> None:
    quarters = torch.tensor([[1.0, 3.0, 10.0, 10.0], [5.0, 7.0, 10.0, 10.0]]).repeat(2, 1)
    image = quarters.expand(1, 3, 4, 4)
    encoded = GreyScale(resize=2).encode(image.movedim(1, -1) if last else image)
    assert ((1, 2, 2, 1) if last else (1, 1, 2, 2)) == tuple(encoded.shape)
    assert pytest.approx([4.0, 10.0, 4.0, 10.0]) == encoded.flatten().tolist()


@pytest.mark.parametrize(
    ("shape", "channels", "message"),
    [
        ((3, 8, 3), None, "may have their channels first or last; set channels"),
        ((1, 8, 8), None, r"expected coloured images of shape \(3, height, width\) or \(\.\.\., 3\), got \(1, 8, 8\)"),
        ((3, 8, 8), "last", r"expected coloured images of shape \(height, width, 3\), got \(3, 8, 8\)"),
        ((3,), None, "expected coloured images"),
    ],
)
def test_what_is_no_coloured_image_is_refused(shape: tuple[int, ...], channels: str | None, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        GreyScale(channels=channels).shape(shape)  # type: ignore[arg-type]


def test_images_of_bytes_stay_images_of_bytes() -> None:
    space = GreyScale(resize=5).space(gym.spaces.Box(0, 255, (8, 6, 3), np.uint8))
    assert gym.spaces.Box(0, 255, (5, 5, 1), np.uint8) == space
    unbounded = GreyScale().space(gym.spaces.Box(0, 1, (3, 8, 6), np.float32))
    assert gym.spaces.Box(-np.inf, np.inf, (1, 8, 6), np.float32) == unbounded
