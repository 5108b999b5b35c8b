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


@frozen(kw_only=True)
class ResNet18(Network):
    """A residual network of 18 layers.

    Args:
        small_images: whether the first convolution is 3 x 3 without stride and without subsequent pooling,
            as is usual for images of 32 x 32.

    Source: He et al. 2016, Deep residual learning for image recognition, section 4.2 for the small stem.
    """

    small_images: bool = option(True)

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        check_images("resnet18", shape)
        network: nn.Module = import_torchvision().models.resnet18(num_classes=outputs)
        if self.small_images:
            network.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
            network.maxpool = nn.Identity()
        elif shape[0] != 3:
            network.conv1 = nn.Conv2d(shape[0], 64, 7, stride=2, padding=3, bias=False)
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
