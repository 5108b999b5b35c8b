"""Features of a frozen network: which, how often they are computed, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import classifier, digit_stream, save_weights
from safetensors.torch import save_file
from torch import Tensor, nn

from rlcl.encoders.backbone import Backbone
from rlcl.encoders.compose import Compose
from rlcl.encoders.scale import Scale
from rlcl.errors import CheckpointError, DataError, Problem, UnsupportedError
from rlcl.networks.torchvision import torchvision_model
from rlcl.training.trainer import Trainer

MODEL = "shufflenet_v2_x0_5"  # the smallest; 1,024 features
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    save_weights(MODEL, path)
    return path


def backbone(weights: Path, **settings: Any) -> Backbone:
    return Backbone(model=MODEL, weights=str(weights), **settings)


def penultimate(weights: Path, images: Tensor) -> Tensor:
    """What the whole model gives its last layer."""
    model: Any = torchvision_model(MODEL, "")()
    model.load_state_dict(torch.load(weights, weights_only=True))
    seen: list[Tensor] = []
    model.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.eval()(images)
    return seen[0]


def counting(encoder: Backbone) -> list[int]:
    """The sizes of the batches that the network is given from now on."""
    seen: list[int] = []
    encoder.network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    return seen


def images(rows: int = 3, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (rows, channels, 8, 8), dtype=torch.uint8, generator=generator)


def test_features_are_what_the_model_gives_its_last_layer(weights: Path) -> None:
    x, encoder = images(4), backbone(weights, batch_size=4)
    expected = torch.stack([(x[:, i] / 255 - MEAN[i]) / STD[i] for i in range(3)], 1)
    assert (1024,) == encoder.shape((3, 8, 8))
    torch.testing.assert_close(penultimate(weights, expected), encoder.encode(x), rtol=1e-5, atol=1e-6)


def test_grey_images_have_three_equal_channels(weights: Path) -> None:
    x, encoder = images(4, channels=1), backbone(weights)
    assert torch.equal(encoder.encode(x.expand(-1, 3, -1, -1)), encoder.encode(x))


def test_numbers_that_are_no_bytes_lie_in_0_to_1_already(weights: Path) -> None:
    x, encoder = images(4), backbone(weights)
    assert torch.equal(encoder.encode(x), encoder.encode(x / 255))


def test_images_are_resized(weights: Path) -> None:
    seen: list[Tensor] = []
    encoder = backbone(weights, resize=16, mean=(0, 0, 0), std=(1, 1, 1))
    encoder.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder.encode(torch.full((1, 1, 8, 8), 0.25))
    assert (16, 3, 16, 16) == tuple(seen[0].shape)
    torch.testing.assert_close(torch.full((1, 3, 16, 16), 0.25), seen[0][:1])


def test_features_do_not_depend_on_what_else_is_encoded(weights: Path) -> None:
    x = images(9)
    expected = backbone(weights, batch_size=4).encode(x)
    other = backbone(weights, batch_size=4)
    other.encode(x[[1, 7]])
    assert torch.equal(expected, other.encode(x))


def test_what_was_encoded_is_not_computed_again(weights: Path) -> None:
    encoder = backbone(weights, batch_size=4)
    passes = counting(encoder)
    first = encoder.encode(images(6))
    assert [4, 4] == passes  # the second filled up
    assert torch.equal(first, encoder.encode(images(6)))
    assert torch.equal(first[2:5], encoder.encode(images(6)[2:5]))
    assert [4, 4] == passes


@pytest.mark.parametrize(("remember", "passes"), [(1000, 1 + 2 + 2 * 2), (0, 1 + 3 * 2 + 2 * 2)])
def test_a_run_computes_the_features_of_its_test_sets_once(weights: Path, remember: int, passes: int) -> None:
    # One pass to learn the shape; 2 test sets of 10 images, evaluated 3 times; 2 training sets of 26, in 16s.
    encoder = backbone(weights, remember=remember)
    seen = counting(encoder)
    Trainer(classifier(), digit_stream(), encoder=Compose((Scale(maximum=16.0), encoder))).fit()
    assert passes == len(seen)


def test_it_is_frozen_and_in_evaluation_mode(weights: Path) -> None:
    network = backbone(weights).network
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert not backbone(weights).encode(images()).requires_grad


def test_loading_it_draws_nothing(weights: Path) -> None:
    before = torch.get_rng_state()
    backbone(weights).encode(images())
    assert torch.equal(before, torch.get_rng_state())


def test_the_last_layer_may_be_missing_or_of_any_size(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    expected = backbone(weights).encode(images())
    state["fc.weight"], state["fc.bias"] = torch.zeros(7, 1024), torch.zeros(7)
    torch.save(state, tmp_path / "seven.pth")
    assert torch.equal(expected, backbone(tmp_path / "seven.pth").encode(images()))
    del state["fc.weight"], state["fc.bias"]
    save_file(state, tmp_path / "none.safetensors")
    assert torch.equal(expected, backbone(tmp_path / "none.safetensors").encode(images()))


def test_another_file_is_refused_when_a_run_goes_on(weights: Path, tmp_path: Path) -> None:
    state = backbone(weights).state_dict()
    backbone(weights).load_state_dict(state)
    save_weights(MODEL, tmp_path / "other.pth", seed=1)
    with pytest.raises(CheckpointError, match=r"other.pth differs from the file at the start of this run"):
        backbone(tmp_path / "other.pth").load_state_dict(state)


class Code:
    """Would run code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.putenv, ("RLCL_TEST_WAS_HERE", "1")


def spoiled(kind: str, weights: Path) -> Any:
    state = torch.load(weights, weights_only=True)
    if kind == "missing":
        del state["conv1.0.weight"]
    if kind == "unexpected":
        state["conv9.weight"] = torch.zeros(1)
    if kind == "shape":
        state["conv1.0.weight"] = torch.zeros(2, 2)
    return {"nested": {"epoch": 3, "model": state}, "tensor": torch.zeros(2), "code": {"a": Code()}}.get(kind, state)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", f"are no state dict of {MODEL}: conv1.0.weight is missing$"),
        ("unexpected", "conv9.weight is not in the model$"),
        ("shape", r"conv1.0.weight has the shape \(2, 2\) instead of \(24, 3, 3, 3\)"),
        ("nested", "expected a mapping of names to tensors, and epoch is no tensor; save model.state_dict"),
        ("tensor", "expected a mapping of names to tensors, got Tensor"),
        ("code", "cannot be read: it contains other objects than tensors; expected a state dict"),
    ],
)
def test_what_is_no_state_dict_of_the_model_is_refused(kind: str, message: str, weights: Path, tmp_path: Path) -> None:
    torch.save(spoiled(kind, weights), tmp_path / "spoiled.pth")
    with pytest.raises(DataError, match=message):
        backbone(tmp_path / "spoiled.pth").shape((3, 8, 8))


@pytest.mark.parametrize("name", ["noise.pth", "noise.safetensors"])
def test_a_file_of_something_else_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"not weights" * 10)
    with pytest.raises(DataError, match=r"cannot be read: .*; expected a state dict saved by"):
        backbone(tmp_path / name).shape((3, 8, 8))


def test_a_missing_file_is_named_with_the_places_looked_at(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file of weights at nowhere.pth; looked for "):
        backbone(Path("nowhere.pth")).shape((3, 8, 8))


@pytest.mark.parametrize("shape", [(64,), (2, 8, 8), (8, 8, 3)])
def test_what_is_no_image_is_refused(weights: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedError, match=r"expected images of shape \(1 or 3, height, width\), got"):
        backbone(weights).shape(shape)


def test_images_that_are_too_small_are_refused_with_a_remedy(weights: Path) -> None:
    encoder = backbone(weights)
    encoder._network = nn.Sequential(nn.MaxPool2d(16))
    with pytest.raises(UnsupportedError, match=r"does not support images of \(8, 8\) pixels .* set resize"):
        encoder.shape((3, 8, 8))


def test_an_unknown_model_gets_the_nearest(weights: Path) -> None:
    with pytest.raises(Problem, match="unknown model 'resnet81'; did you mean resnet18"):
        Backbone(model="resnet81", weights=str(weights)).shape((3, 8, 8))


def test_a_model_without_a_last_linear_layer_is_refused(tmp_path: Path) -> None:
    save_weights("squeezenet1_1", tmp_path / "w.pth")
    with pytest.raises(UnsupportedError, match="squeezenet1_1 has no linear layer"):
        Backbone(model="squeezenet1_1", weights=str(tmp_path / "w.pth")).shape((3, 32, 32))
