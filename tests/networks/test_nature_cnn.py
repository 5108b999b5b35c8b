"""The network of deep Q-learning by its published sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rlcl.errors import UnsupportedError
from rlcl.networks.nature_cnn import NatureCnn


def test_its_layers_are_those_of_the_paper() -> None:
    module = NatureCnn().build((4, 84, 84), 6, 1)
    layers = [tuple(m.weight.shape) for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    # 84 -> (84 - 8) / 4 + 1 = 20 -> (20 - 4) / 2 + 1 = 9 -> 9 - 3 + 1 = 7: 64 * 7 * 7 = 3136 features.
    assert [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136), (6, 512)] == layers
    # 8224 + 32832 + 36928 + 1606144 + 3078.
    assert 1_687_206 == sum(p.numel() for p in module.parameters())


def test_channels_may_come_last() -> None:
    first, last = NatureCnn().build((3, 40, 48), 2, 1), NatureCnn(channels="last").build((40, 48, 3), 2, 1)
    for ours, theirs in zip(last.parameters(), first.parameters(), strict=True):
        ours.data.copy_(theirs.data)
    x = torch.rand(2, 3, 40, 48)
    assert torch.equal(first(x), last(x.permute(0, 2, 3, 1)))


@pytest.mark.parametrize("shape", [(3, 35, 84), (84, 84, 3), (16,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedError, match=r"nature_cnn needs inputs of shape .* at least 36 x 36 pixels, got"):
        NatureCnn().build(shape, 2, 1)
