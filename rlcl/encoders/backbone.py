"""Features of a frozen, pretrained network."""

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
from rlcl.encoders.row_cache import RowCache
from rlcl.errors import CheckpointError, DataError, UnsupportedError
from rlcl.networks.torchvision import torchvision_model
from rlcl.types import Encoder, TaskIds

__all__ = ["Backbone"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@define(kw_only=True, eq=False)
class Backbone(Encoder):
    """Features of a pretrained classification model of torchvision: the inputs of its last layer.

    Images have the shape (channels, height, width) with three channels, or with one, which is repeated. 8-bit images
    are scaled to [0, 1]; other images must be in this range. The weights stay in their file. The encoder's state
    is the checksum of the file, and a run cannot be resumed with another file.

    Args:
        model: a classification model of ``torchvision.models``.
        weights: state dict of the model, a ``.pth`` or ``.safetensors`` file, relative to the working directory or the
            data root. The weights of the last layer may have any number of classes, or be missing.
        resize: height and width in pixels to which images are resized; null for no resizing.
        mean, std: channel means and standard deviations of the images of the pretraining; ImageNet's by default.
        batch_size: images per forward pass. The last batch is padded, so that the features of an image do
            not depend on its neighbours; use a small value for few images at a time, as in environments.
        remember: number of images whose features are cached in memory, so that repeated evaluations do not compute
            them again; the least recently used ones are removed first. 0 disables the cache.
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
    _cache: RowCache = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._cache = RowCache(self.remember)

    @property
    def network(self) -> nn.Module:
        """The model without its last layer, loaded on first access."""
        if self._network is None:
            build_model = torchvision_model(self.model, "encoder.model")
            path = find_data(self.weights, "file of weights")
            self._network = _load_frozen(self.model, build_model, path)
            self._checksum = _checksum(path)
        return self._network

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(observation_shape) != 3 or observation_shape[0] not in (1, 3):
            channels_last = len(observation_shape) == 3 and observation_shape[2] in (1, 3)
            remedy = "put channels_first before it" if channels_last else "remove encoders that flatten them"
            raise UnsupportedError(
                f"encoder backbone: expected images of shape (1 or 3, height, width), got {observation_shape}; {remedy}"
            )
        network = self.network
        try:
            features = self._forward(network, torch.zeros(1, *observation_shape))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise UnsupportedError(
                f"encoder backbone: {self.model} does not support images of {observation_shape[1:]} pixels "
                f"({str(error).splitlines()[0]}); set resize, for example to 224"
            ) from error
        return tuple(features.shape[1:])

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        network = self.network.to(x.device)
        if torch.onnx.is_in_onnx_export():  # an ONNX graph has no cache
            return self._forward(network, x)

        def compute(rows: Tensor) -> Tensor:
            return torch.cat([self._padded_forward(network, part) for part in torch.split(rows, self.batch_size)])

        return self._cache(x, compute)

    def _padded_forward(self, network: nn.Module, x: Tensor) -> Tensor:
        """Compute features in a batch of full size, because the batch size may change the last bit."""
        padded = torch.cat((x, x.new_zeros(self.batch_size - len(x), *x.shape[1:])))
        return self._forward(network, padded)[: len(x)]

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
        """Check that the file of weights is the same.

        Raises:
            CheckpointError: the file of weights differs.
        """
        if state != self.state_dict():
            raise CheckpointError(
                f"encoder backbone: {self.weights} differs from the file at the start of this run; restore it, or "
                "remove the run with rlcl runs rm and start it again"
            )


def _load_frozen(model: str, build_model: Callable[[], nn.Module], path: Path) -> nn.Module:
    weights = _state_dict(path)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # two old models announce a change of initialization
        network = build_model()
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UnsupportedError(f"encoder backbone: {model} has no linear layer whose inputs could be features")
    last = linear[-1]
    network.set_submodule(last, nn.Identity())
    weights = {name: value for name, value in weights.items() if not name.startswith(f"{last}.")}
    mismatches = _mismatches(network.state_dict(), weights)
    if mismatches:
        raise DataError(f"weights {path} are no state dict of {model}: {'; '.join(mismatches)}")
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def _mismatches(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """Return messages about the first weights that are missing, unknown or of another shape."""
    missing = [f"{name} is missing" for name in expected if name not in weights]
    unknown = [f"{name} is not in the model" for name in weights if name not in expected]
    shapes = [
        f"{name} has the shape {tuple(weights[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in weights and weights[name].shape != value.shape
    ]
    return [*missing[:2], *unknown[:2], *shapes[:2]]


def _state_dict(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict without executing code of the file.

    Raises:
        DataError: the file is not a mapping of names to tensors.
    """
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (OSError, EOFError, ValueError, RuntimeError, KeyError, pickle.UnpicklingError, SafetensorError) as error:
        # torch's message about a pickle recommends to execute its code.
        reason = "it contains other objects than tensors"
        if not isinstance(error, pickle.UnpicklingError):
            reason = str(error).splitlines()[0]
        raise DataError(
            f"weights {path} cannot be read: {reason}; expected a state dict saved by torch.save or safetensors"
        ) from error
    if not isinstance(state, Mapping):
        raise DataError(f"weights {path}: expected a mapping of names to tensors, got {type(state).__name__}")
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise DataError(
            f"weights {path}: expected a mapping of names to tensors, and {others[0]} is no tensor; save "
            "model.state_dict() only"
        )
    return state


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
