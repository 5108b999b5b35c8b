"""Gradients that torch computes wrongly, or differently from run to run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from rlcl.errors import UnsupportedError
from rlcl.learners.precision import check_precision
from rlcl.methods.parts.per_example_gradients import mean_magnitudes


def check(layer: nn.Module, shape: tuple[int, ...], precision: str = "bfloat16", device: str = "cpu") -> None:
    network = nn.Sequential(nn.Identity(), layer)
    check_precision(network, lambda: network(torch.zeros(1, *shape)), precision, device)


def test_a_stride_larger_than_the_input_is_refused_in_bfloat16() -> None:
    with pytest.raises(
        UnsupportedError, match=r"learner\.precision: bfloat16: .* layer 1, whose stride 2 .* 1 x 1 pixels; set float32"
    ):
        check(nn.Conv2d(4, 4, 3, stride=2, padding=1), (4, 1, 1))
    with pytest.raises(UnsupportedError, match="stride 3 is larger than its input of 2 pixels"):
        check(nn.Conv1d(4, 4, 3, stride=3, padding=1), (4, 2))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 4, 3, stride=2, padding=1), (4, 2, 2)),
        (nn.Conv2d(4, 4, 1, stride=2), (4, 1, 1)),
        (nn.Conv2d(4, 4, 3, padding="same"), (4, 1, 1)),
        (nn.Conv2d(4, 4, 3, padding=1), (4, 1, 1)),
    ],
)
def test_other_convolutions_have_the_gradient_of_float32(layer: nn.Conv2d, shape: tuple[int, ...]) -> None:
    check(layer, shape)
    x = torch.randn(2, *shape)
    layer(x).square().sum().backward()
    expected, layer.weight.grad = layer.weight.grad, None
    assert expected is not None
    spoiled = [torch.full_like(layer.weight, 1e30) for _ in range(16)]
    del spoiled  # memory that is allocated again, without being cleared
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.float().square().sum().backward()
    assert layer.weight.grad is not None
    assert float((layer.weight.grad - expected).abs().max()) < 0.05 * float(expected.abs().max())


def test_float32_and_other_devices_are_not_checked() -> None:
    layer = nn.Conv2d(4, 4, 3, stride=2, padding=1)
    check(layer, (4, 1, 1), "float32")
    check(layer, (4, 1, 1), "bfloat16", "cuda")


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def test_gradients_of_single_images_are_the_same_with_two_threads(two_threads: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(8, 256, 3, padding=1), nn.BatchNorm2d(256), nn.Conv2d(256, 256, 3, padding=1), nn.Flatten()
    ).eval()
    x = torch.randn(1, 8, 1, 1, generator=generator)

    def gradients() -> bytes:
        found = mean_magnitudes(
            lambda inputs, _: network(inputs),
            dict(network.named_parameters()),
            network,
            x,
            None,
            lambda y, rows: [y.sum(1)],
            torch.square,
        )
        return b"".join(value.detach().numpy().tobytes() for value in found.values())

    assert len({gradients() for _ in range(40)}) == 1
    assert torch.get_num_threads() == 2
