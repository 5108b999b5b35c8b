"""Networks of torchvision, without pretrained weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from attrs import frozen
from torch import nn

from rlcl.config import option
from rlcl.data.torchvision_import import import_torchvision
from rlcl.errors import Problem, UnsupportedError, did_you_mean
from rlcl.networks.check_images import check_images
from rlcl.types import Network

__all__ = ["ResNet18", "TorchvisionNetwork", "torchvision_model"]

WIDTH = 64  # channels of the first stage


@frozen(kw_only=True)
class ResNet18(Network):
    """A residual network of 18 layers.

    Args:
        width: channels of the first stage; the stages have 1, 2, 4 and 8 times as many. The reduced ResNet-18 of many
            continual-learning papers has 20.
        small_images: whether the first convolution is 3 x 3 without stride and without subsequent pooling,
            as is usual for images of 32 x 32.

    Source: He et al. 2016, Deep residual learning for image recognition, section 4.2 for the small stem; Lopez-Paz &
    Ranzato 2017, Gradient episodic memory for continual learning, section 5.2 for the reduced network.
    """

    width: int = option(64, ge=1)
    small_images: bool = option(True)

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        check_images("resnet18", shape)
        network = _resnet18(self.width, outputs)
        if self.small_images:
            network.conv1 = nn.Conv2d(shape[0], self.width, 3, padding=1, bias=False)
            network.maxpool = nn.Identity()
        elif shape[0] != 3 or self.width != WIDTH:
            network.conv1 = nn.Conv2d(shape[0], self.width, 7, stride=2, padding=3, bias=False)
        return network


def _resnet18(width: int, outputs: int) -> nn.Module:
    """Return torchvision's network with ``width`` instead of 64 channels in the first stage, except for ``conv1``."""
    resnet: Any = import_torchvision().models.resnet
    make_layer = resnet.ResNet._make_layer

    class Resnet18(resnet.ResNet):  # type: ignore[misc]
        def _make_layer(self, block: Any, planes: int, *args: Any, **kwargs: Any) -> nn.Module:
            if planes == WIDTH:
                self.inplanes = width
            layer: nn.Module = make_layer(self, block, width * planes // WIDTH, *args, **kwargs)
            return layer

    network: nn.Module = Resnet18(resnet.BasicBlock, [2, 2, 2, 2], num_classes=outputs)
    if width != WIDTH:
        network.bn1, network.fc = nn.BatchNorm2d(width), nn.Linear(8 * width, outputs)
    return network


@frozen(kw_only=True)
class TorchvisionNetwork(Network):
    """Any classification model of ``torchvision.models``.

    Args:
        name: name of the model, for example ``mobilenet_v3_small``.
        options: keyword arguments of the model.
    """

    name: str = option()
    options: Mapping[str, Any] = option(factory=dict)

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        build_model = torchvision_model(self.name, "learner.network.name")
        check_images(self.name, shape)
        try:
            return build_model(num_classes=outputs, **self.options)
        except (TypeError, ValueError) as error:
            raise UnsupportedError(f"network {self.name} does not support its options: {error}") from error


def torchvision_model(name: str, where: str) -> Callable[..., nn.Module]:
    """Return a function that builds a classification model of ``torchvision.models`` without pretrained weights.

    Args:
        name: name of the model, for example ``resnet18``.
        where: key path of the name, for the message.

    Raises:
        Problem: no model has this name.
    """
    models = import_torchvision().models
    known = models.list_models(module=models)
    if name not in known:
        raise Problem(f"unknown model {name!r}{did_you_mean(name, known)}", where)
    return partial(models.get_model, name)
