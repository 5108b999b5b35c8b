"""Features of a pretrained network that stays as it is."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define, field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rlcl.config import option
from rlcl.data.root import find_data
from rlcl.encoders.remembered import Remembered
from rlcl.errors import CheckpointError, DataError, UnsupportedError
from rlcl.networks.torchvision import torchvision_model
from rlcl.types import Encoder

__all__ = ["Backbone"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@define(kw_only=True, eq=False)
class Backbone(Encoder):
    """What a pretrained classification model of torchvision computes before its last layer.

    Images are (channels, height, width) with one channel, which is repeated, or three; bytes are
    scaled to [0, 1], and other numbers are taken to lie there. The weights stay in their file: the state
    is its checksum, and going on with another file is refused.

    Args:
        model: a classification model of ``torchvision.models``.
        weights: its state dict, a ``.pth`` or ``.safetensors`` file, from the working directory or the data
            root. The last layer's may be of any number of classes, or missing.
        resize: height and width that images are scaled to, in pixels; as they are by default.
        mean, std: of each channel of the images that it was trained on; ImageNet's by default.
        batch_size: images in a forward pass. The last one is filled up, so that an image's features do
            not depend on its neighbours; small where few come at a time, as from environments.
        remember: images whose features are kept in memory, so that what is evaluated again is not computed
            again; those not asked for longest leave first. 0 keeps none.
    """

    model: str = option("resnet18")
    weights: str = option()
    resize: int | None = option(None, ge=1)
    mean: tuple[float, float, float] = option(IMAGENET_MEAN, converter=tuple)
    std: tuple[float, float, float] = option(IMAGENET_STD, gt=0, converter=tuple)
    batch_size: int = option(16, ge=1)
    remember: int = option(50_000, ge=0)
    _network: nn.Module | None = field(init=False, default=None)
    _checksum: str = field(init=False, default="")
    _features: Remembered = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._features = Remembered(self.remember)

    @property
    def network(self) -> nn.Module:
        """The model without its last layer, loaded when it is first asked for."""
        if self._network is None:
            make = torchvision_model(self.model, "encoder.model")
            place = find_data(self.weights, "file of weights")
            self._network = _frozen(self.model, make, place)
            self._checksum = _checksum(place)
        return self._network

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(observation_shape) != 3 or observation_shape[0] not in (1, 3):
            last = len(observation_shape) == 3 and observation_shape[2] in (1, 3)
            remedy = "put channels_first before it" if last else "leave out what flattens them"
            raise UnsupportedError(
                f"encoder backbone: expected images of shape (1 or 3, height, width), got {observation_shape}; {remedy}"
            )
        network = self.network
        try:
            features = self._forward(network, torch.zeros(1, *observation_shape))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise UnsupportedError(
                f"encoder backbone: {self.model} refuses images of {observation_shape[1:]} pixels "
                f"({str(error).splitlines()[0]}); set resize, for example to 224"
            ) from error
        return tuple(features.shape[1:])

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor) -> Tensor:
        network = self.network.to(x.device)
        if torch.onnx.is_in_onnx_export():  # for a graph of ONNX, which remembers nothing
            return self._forward(network, x)

        def compute(rows: Tensor) -> Tensor:
            return torch.cat([self._filled(network, part) for part in torch.split(rows, self.batch_size)])

        return self._features(x, compute)

    def _filled(self, network: nn.Module, x: Tensor) -> Tensor:
        """Features of at most a batch, computed in a whole one: its size may change the last bit."""
        whole = torch.cat((x, x.new_zeros(self.batch_size - len(x), *x.shape[1:])))
        return self._forward(network, whole)[: len(x)]

    @torch.no_grad()
    def _forward(self, network: nn.Module, x: Tensor) -> Tensor:
        images = x.to(torch.float32) / 255 if x.dtype == torch.uint8 else x.to(torch.float32)
        if self.resize is not None:
            size = (self.resize, self.resize)
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        mean, std = (torch.tensor(v, device=x.device).view(-1, 1, 1) for v in (self.mean, self.std))
        features: Tensor = network((images.expand(-1, 3, -1, -1) - mean) / std)
        return features.flatten(1)

    def state_dict(self) -> dict[str, Any]:
        _ = self.network
        return {"weights": self._checksum}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Raises:
            CheckpointError: the file of weights is another.
        """
        if state != self.state_dict():
            raise CheckpointError(
                f"encoder backbone: {self.weights} is another file than the one that this run began with; restore it, "
                "or remove the run with rlcl runs rm to start it anew"
            )


def _frozen(model: str, make: Callable[[], nn.Module], place: Path) -> nn.Module:
    weights = _state_dict(place)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # two old models announce another initialisation
        network = make()
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UnsupportedError(f"encoder backbone: {model} ends in no linear layer whose inputs could be features")
    last = linear[-1]
    network.set_submodule(last, nn.Identity())
    kept = {name: value for name, value in weights.items() if not name.startswith(f"{last}.")}
    faults = _faults(network.state_dict(), kept)
    if faults:
        raise DataError(f"weights {place} are no state dict of {model}: {'; '.join(faults)}")
    network.load_state_dict(kept)
    return network.eval().requires_grad_(False)


def _faults(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """The first names that are missing, that are too many and whose shapes differ."""
    missing = [f"{name} is missing" for name in expected if name not in found]
    unknown = [f"{name} is not in the model" for name in found if name not in expected]
    shapes = [
        f"{name} has the shape {tuple(found[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in found and found[name].shape != value.shape
    ]
    return [*missing[:2], *unknown[:2], *shapes[:2]]


def _state_dict(place: Path) -> Mapping[str, Tensor]:
    """
    Raises:
        DataError: the file holds no names with tensors.
    """
    try:
        found = load_file(place) if place.suffix == ".safetensors" else torch.load(place, "cpu", weights_only=True)
    except (OSError, EOFError, ValueError, RuntimeError, KeyError, pickle.UnpicklingError, SafetensorError) as error:
        # What torch says of a pickle advises to run its code.
        reason = (
            "something else than tensors" if isinstance(error, pickle.UnpicklingError) else str(error).splitlines()[0]
        )
        raise DataError(
            f"weights {place} cannot be read: {reason}; expected a state dict saved by torch.save or safetensors"
        ) from error
    if not isinstance(found, Mapping):
        raise DataError(f"weights {place}: expected names with tensors, got {type(found).__name__}")
    others = [name for name, value in found.items() if not isinstance(value, Tensor)]
    if others:
        raise DataError(
            f"weights {place}: expected names with tensors, and {others[0]} is none; save model.state_dict() alone"
        )
    return found


def _checksum(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
