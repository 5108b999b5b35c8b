"""Images whose channels stand where a convolution does not read them."""

from __future__ import annotations

import pytest
import torch

from rlcl.deploy.exporting.onnx_export import onnx_graph
from rlcl.encoders.channels_first import ChannelsFirst
from rlcl.errors import UnsupportedError
from rlcl.networks.check_images import check_images
from rlcl.networks.cnn import Cnn
from rlcl.networks.torchvision import ResNet18


@pytest.mark.parametrize(
    "shape", [(7, 7, 3), (10, 10, 4), (210, 160, 3), (10, 10, 6), (28, 28, 1), (3, 3, 20), (64, 48, 3)]
)
def test_channels_that_come_last_are_refused_with_the_remedy(shape: tuple[int, ...]) -> None:
    for network in (Cnn(channels=(4,), hidden=(8,)), ResNet18()):
        with pytest.raises(UnsupportedError, match=r"add the encoder channels_first"):
            network.build(shape, 2, 1)


@pytest.mark.parametrize(
    "shape", [(3, 7, 7), (4, 10, 10), (3, 210, 160), (1, 28, 28), (1, 1, 28), (64, 4, 4), (10, 10, 10), (3, 32, 8)]
)
def test_channels_that_come_first_are_read(shape: tuple[int, ...]) -> None:
    check_images("cnn", shape)


def test_the_encoder_moves_the_channels_and_nothing_else() -> None:
    x = torch.arange(2 * 2 * 4 * 3, dtype=torch.uint8).reshape(2, 2, 4, 3)
    encoder = ChannelsFirst()
    found = encoder.encode(x)
    assert (3, 2, 4) == encoder.shape((2, 4, 3)) == tuple(found.shape[1:])
    assert torch.equal(found, torch.stack([x[..., c] for c in range(3)], 1).float())
    with pytest.raises(UnsupportedError, match=r"expected images of shape \(height, width, channels\), got \(5,\)"):
        encoder.shape((5,))


def test_the_encoder_is_written_as_a_graph() -> None:
    import onnxruntime

    class Encoded(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (ChannelsFirst().encode(x),)

    x = torch.arange(3 * 2 * 4 * 3, dtype=torch.uint8).reshape(3, 2, 4, 3)
    graph = onnx_graph(Encoded(), [x], ["x"], ["y"])
    (found,) = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"x": x[:2].numpy()})
    assert torch.equal(ChannelsFirst().encode(x[:2]), torch.from_numpy(found))
