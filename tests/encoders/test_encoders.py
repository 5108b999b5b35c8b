"""What holds for every encoder, and the arithmetic of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from harness import autoencoder_run, digit_stream, save_weights
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from rlcl.deploy.exporting.onnx_export import onnx_graph
from rlcl.deploy.exporting.parity import run_graph
from rlcl.encoders.compose import Compose
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.identity import Identity
from rlcl.encoders.one_hot import OneHot
from rlcl.encoders.pca import Pca
from rlcl.encoders.random_fourier import RandomFourier
from rlcl.encoders.running_norm import RunningMoments, RunningNorm
from rlcl.encoders.scale import Scale
from rlcl.encoders.sklearn import Sklearn
from rlcl.encoders.standardize import Standardize, merge_moments
from rlcl.encoders.task_one_hot import TaskOneHot
from rlcl.errors import DataError, UnsupportedError
from rlcl.registry import entries, find
from rlcl.training import checkpoint

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "identity": [{}],
    "flatten": [{}],
    "scale": [{}, {"maximum": 3.0}],
    "standardize": [{}, {"fit_on": "running"}, {"clip": None}, {"clip": 0.5, "epsilon": 0.1}],
    "one_hot": [{"classes": 601}],
    "impute": [{}, {"strategy": "median"}, {"strategy": "most_frequent", "indicator": True}, {"strategy": "constant"}],
    "ordinal": [{}],
    "robust": [{}, {"low": 0.1, "high": 0.9, "clip": 0.5}],
    "quantile": [{}, {"output": "normal", "quantiles": 4}],
    "columns": [{}],
    "sklearn": [
        {"transformer": "RobustScaler"},
        {"transformer": "PCA", "options": {"n_components": 3, "whiten": True}},
        {"transformer": "MinMaxScaler", "options": {"clip": True}},
        {"transformer": "QuantileTransformer", "options": {"n_quantiles": 5, "output_distribution": "normal"}},
        {"transformer": "PolynomialFeatures", "options": {"degree": 2, "include_bias": False}},
    ],
    "pca": [{"components": 5}, {"components": 3, "whiten": True}],
    "random_fourier": [{"features": 6}, {"features": 4, "width": 50.0, "seed": 3}],
    "channels_first": [{}],
    "grey_scale": [{}, {"channels": "first"}, {"resize": 2}],
    "frame_stack": [{"frames": 2}, {"frames": 2, "channels": "first"}],
    "running_norm": [{}, {"clip": 0.5}, {"observations": False}],
    "backbone": [{"model": "shufflenet_v2_x0_5", "weights": "weights.pth", "batch_size": 4, "remember": 5}],
    "trained": [{"run": "runs"}],
    "task_one_hot": [{}],
    "compose": [{"encoders": ()}, {"encoders": ("scale", "standardize", "flatten")}],
}
SHAPES: dict[str, tuple[int, ...]] = {
    "grey_scale": (3, 4, 5),
    "channels_first": (4, 5, 3),
    "backbone": (1, 8, 8),
    "columns": (5,),
    "task_one_hot": (5,),
}


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Weights for the backbone and a run of an autoencoder, in the working directory."""
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        save_weights("shufflenet_v2_x0_5", folder / "weights.pth")
        autoencoder_run(folder, shape=(2, 3, 4))
        yield


def build(name: str, settings: dict[str, Any]) -> Any:
    if "encoders" in settings:
        settings = {"encoders": tuple(find("encoder", part)() for part in settings["encoders"])}
    encoder = find("encoder", name)(**settings)
    if name == "task_one_hot":
        encoder.adapt(digit_stream(task_ids=True))
    return encoder


def inputs(dtype: torch.dtype, seed: int = 0, rows: int = 7, shape: tuple[int, ...] = (2, 3, 4)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand((rows, *shape), generator=generator) * 200).round().to(dtype)


def inputs_for(name: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return inputs(dtype, seed, shape=SHAPES.get(name, (2, 3, 4)))


every = pytest.mark.parametrize(
    ("name", "settings"), [(name, settings) for name in sorted(entries("encoder")) for settings in SETTINGS[name]]
)
of_every_type = pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32, torch.float64], ids=str)


@every
@of_every_type
def test_encodings_have_the_shape_that_is_said_and_are_float32(name: str, settings: Any, dtype: torch.dtype) -> None:
    encoder, x = build(name, settings), inputs_for(name, dtype)
    encoder.fit(x)
    encoded = encoder.encode(x, 1)
    # Encoders that compose nothing give back what they got.
    assert (torch.float32 if settings != {"encoders": ()} else dtype) == encoded.dtype
    assert (7, *encoder.shape(tuple(x.shape[1:]))) == tuple(encoded.shape)


@every
@of_every_type
def test_the_input_stays_as_it_was(name: str, settings: Any, dtype: torch.dtype) -> None:
    encoder, x = build(name, settings), inputs_for(name, dtype)
    before = x.clone()
    encoder.fit(x)
    encoder.encode(x, 1)
    assert torch.equal(before, x)


@every
def test_a_fitted_state_travels_through_a_checkpoint(name: str, settings: Any, tmp_path: Any) -> None:
    encoder, x = build(name, settings), inputs_for(name)
    encoder.fit(x)
    encoder.fit(inputs_for(name, seed=1) * 3)
    state = checkpoint.load(checkpoint.save(tmp_path, 0, encoder.state_dict()))
    other = build(name, settings)
    other.load_state_dict(state)
    assert torch.equal(encoder.encode(x, 1), other.encode(x, 1))
    for fitted in (encoder, other):  # and goes on from there alike
        fitted.fit(inputs_for(name, seed=2))
    assert torch.equal(encoder.encode(x, 1), other.encode(x, 1))


@every
def test_rows_are_encoded_each_by_itself(name: str, settings: Any) -> None:
    encoder, x = build(name, settings), inputs_for(name)
    encoder.fit(x)
    assert torch.equal(encoder.encode(x, 1)[2:5], encoder.encode(x[2:5], 1))


class Encoding(torch.nn.Module):
    """An encoder alone, as a bundle's graph has it inside."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        encoded: torch.Tensor = self.encoder.encode(x, 1)
        return encoded


# Refused at export, with the reason.
NOT_IN_A_GRAPH = ("QuantileTransformer", "PolynomialFeatures", "MinMaxScaler")


@every
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_a_bundle_encodes_as_the_encoder_does(name: str, settings: Any, dtype: torch.dtype) -> None:
    encoder, x = build(name, settings), inputs_for(name, dtype)
    encoder.fit(x)
    if settings.get("transformer") in NOT_IN_A_GRAPH:
        with pytest.raises(UnsupportedError, match=f"computes {settings['transformer']} outside of torch"):
            onnx_graph(Encoding(encoder), [x[:3]], ["input"], ["encoded"])
        return
    graph = onnx_graph(Encoding(encoder), [x[:3]], ["input"], ["encoded"])
    for rows in (x, x[:1]):
        encoded = run_graph(graph, {"input": rows.numpy()})["encoded"]
        # The cosine of angles in the hundreds has few digits.
        np.testing.assert_allclose(encoder.encode(rows, 1).numpy(), encoded, rtol=1e-4, atol=2e-4)


def test_identity_changes_the_type_alone() -> None:
    assert [[1.0, 255.0]] == Identity().encode(torch.tensor([[1, 255]], dtype=torch.uint8), 1).tolist()


def test_flatten_keeps_the_order_of_features() -> None:
    assert [[0.0, 1.0, 2.0, 3.0]] == Flatten().encode(torch.arange(4).reshape(1, 2, 2), 1).tolist()


# Scale.


def test_bytes_are_scaled_to_exactly_x_over_255() -> None:
    x = torch.arange(256, dtype=torch.uint8).reshape(-1, 1)
    scale = Scale()
    scale.fit(x[:10])
    assert torch.equal(torch.arange(256).float().reshape(-1, 1) / 255, scale.encode(x, 1))


def test_numbers_are_scaled_by_the_largest_magnitude_of_the_first_data() -> None:
    scale = Scale()
    scale.fit(torch.tensor([[-8.0, 2.0]]))
    scale.fit(torch.tensor([[100.0, 2.0]]))
    assert [[-1.0, 0.25]] == scale.encode(torch.tensor([[-8.0, 2.0]]), 1).tolist()


def test_a_given_maximum_is_not_found_from_the_data() -> None:
    scale = Scale(maximum=2.0)
    scale.fit(torch.tensor([[100.0]]))
    assert [[50.0]] == scale.encode(torch.tensor([[100.0]]), 1).tolist()


def test_data_of_zeros_stays_zero() -> None:
    scale = Scale()
    scale.fit(torch.zeros(2, 2))
    assert [[0.0, 0.0]] == scale.encode(torch.zeros(1, 2), 1).tolist()


# Standardize.


def test_moments_of_two_samples_together() -> None:
    # (1, 3): mean 2, variance 1. (5, 5, 8): mean 6, variance 2. Together (1, 3, 5, 5, 8):
    # mean 22 / 5 = 4.4, variance (3.4^2 + 1.4^2 + 0.6^2 + 0.6^2 + 3.6^2) / 5 = 27.2 / 5 = 5.44.
    n, mean, variance = merge_moments(
        (2.0, torch.tensor(2.0), torch.tensor(1.0)), (3.0, torch.tensor(6.0), torch.tensor(2.0))
    )
    assert 5.0 == n
    assert pytest.approx(4.4) == float(mean)
    assert pytest.approx(5.44) == float(variance)


def test_standardized_features_by_hand() -> None:
    # Column 0: (1, 3), mean 2, standard deviation 1. Column 1: (0, 8), mean 4, standard deviation 4.
    encoder = Standardize()
    encoder.fit(torch.tensor([[1.0, 0.0], [3.0, 8.0]]))
    actual = encoder.encode(torch.tensor([[1.0, 0.0], [5.0, 6.0]]), 1)
    assert [pytest.approx([-1.0, -1.0], abs=1e-6), pytest.approx([3.0, 0.5], abs=1e-6)] == actual.tolist()


def test_fitting_on_the_first_experience_ignores_later_data() -> None:
    encoder, x = Standardize(), inputs(torch.float32)
    encoder.fit(x)
    expected = encoder.encode(x, 1)
    encoder.fit(inputs(torch.float32, seed=1) * 5 + 100)
    assert torch.equal(expected, encoder.encode(x, 1))


def test_running_moments_are_those_of_everything_seen() -> None:
    parts = [inputs(torch.float32, seed, rows) * (seed + 1) + seed for seed, rows in enumerate((1, 7, 30))]
    encoder = Standardize(fit_on="running", clip=None, epsilon=1e-12)
    for part in parts:
        encoder.fit(part)
    everything = torch.cat(parts).double().numpy()
    expected = (everything - everything.mean(0)) / everything.std(0)
    np.testing.assert_allclose(encoder.encode(torch.cat(parts), 1).numpy(), expected, atol=1e-4)


def test_encodings_are_clipped() -> None:
    encoder = Standardize(clip=2.0)
    encoder.fit(torch.tensor([[-1.0], [1.0]]))
    assert [[-2.0], [2.0]] == encoder.encode(torch.tensor([[-50.0], [50.0]]), 1).tolist()


def test_a_constant_feature_is_zero_and_is_not_blown_up() -> None:
    encoder = Standardize(clip=None)
    encoder.fit(torch.tensor([[0.1, 1.0], [0.1, 2.0]]).repeat(1000, 1))
    assert pytest.approx([0.0, -1.0], abs=1e-6) == encoder.encode(torch.tensor([[0.1, 1.0]]), 1)[0].tolist()


def test_an_encoder_that_saw_nothing_leaves_numbers_as_they_are() -> None:
    assert [[0.5, -3.0]] == Standardize().encode(torch.tensor([[0.5, -3.0]]), 1).tolist()


# Compose.


def test_each_encoder_is_fitted_on_what_those_before_it_make() -> None:
    x = torch.tensor([[1.0], [3.0]])
    encoder = Compose((Scale(maximum=0.5), Standardize(clip=None)))
    encoder.fit(x)
    # Scaled: (2, 6), mean 4, standard deviation 2.
    assert [4.0] == encoder.encoders[1].state_dict()["mean"].tolist()
    assert pytest.approx([-1.0, 1.0], abs=1e-6) == encoder.encode(x, 1).flatten().tolist()


def test_the_order_of_encoders_matters() -> None:
    x = torch.tensor([[1.0], [3.0]])
    encoder = Compose((Standardize(clip=None), Scale(maximum=0.5)))
    encoder.fit(x)
    assert pytest.approx([-2.0, 2.0], abs=1e-6) == encoder.encode(x, 1).flatten().tolist()


# Numbers by hand, or by another implementation.


def test_one_hot_marks_the_value_of_each_feature() -> None:
    encoded = OneHot(classes=3).encode(torch.tensor([[0, 2], [1, 1]]))
    assert [[1, 0, 0, 0, 0, 1], [0, 1, 0, 0, 1, 0]] == encoded.tolist()


@pytest.mark.parametrize("bad", [[[0.5]], [[-1.0]], [[3.0]]])
def test_one_hot_refuses_what_is_no_whole_number_in_its_range(bad: list[list[float]]) -> None:
    with pytest.raises(DataError, match=r"expected integers in 0..2"):
        OneHot(classes=3).fit(torch.tensor(bad))


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e-7])
@pytest.mark.parametrize("columns", [12, 300])  # more and fewer than rows
def test_principal_components_are_those_of_scikit_learn(whiten: bool, scale: float, columns: int) -> None:
    x = scale * torch.randn(50, columns, generator=torch.Generator().manual_seed(0)) * torch.arange(1, columns + 1)
    encoder = Pca(components=4, whiten=whiten)
    encoder.fit(x)
    theirs = PCA(n_components=4, whiten=whiten, svd_solver="full").fit(x.double().numpy())
    expected = torch.from_numpy(theirs.transform(x.double().numpy())).float()
    if whiten:  # they divide the variance by n - 1
        expected *= (50 / 49) ** 0.5
    ours = encoder.encode(x)
    signs = (ours * expected).sum(0).sign()
    torch.testing.assert_close(ours, expected * signs, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (20, 6), (1, 6)])
def test_principal_components_beyond_the_rank_are_0(whiten: bool, rows: int, columns: int) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 2, generator=rng) @ torch.randn(2, columns, generator=rng)  # of rank 2, and 0 of one row
    encoder = Pca(components=5, whiten=whiten)
    encoder.fit(x)
    rank = min(2, rows - 1)
    found = encoder.encode(x + torch.randn(rows, columns, generator=rng))
    assert found.isfinite().all()
    assert (rows, 5) == found.shape
    assert rank == int((found != 0).any(0).sum())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_principal_components_of_missing_values_are_refused(value: float) -> None:
    x = torch.randn(20, 5).index_fill(0, torch.tensor([3]), value)
    with pytest.raises(UnsupportedError, match=r"encoder pca: values are missing or infinite .*; put impute before it"):
        Pca(components=2).fit(x)


def test_random_features_approach_the_gaussian_kernel() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((6, 3), generator=generator)
    encoded = RandomFourier(features=20_000, width=1.5).encode(x)
    expected = (-torch.cdist(x, x).square() / (2 * 1.5**2)).exp()
    torch.testing.assert_close(encoded @ encoded.T, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1e-4), (0, 1e-12), (5, 1e-6), (1e6, 0.1), (0.1, 0), (1e8, 0)])
@pytest.mark.parametrize("fit_on", ["first", "running"])
def test_standardize_equals_scikit_learns_at_every_scale(mean: float, deviation: float, fit_on: Any) -> None:
    values = mean + deviation * np.random.default_rng(0).standard_normal((300, 2))
    encoder = Standardize(fit_on=fit_on, clip=None)
    encoder.fit(torch.from_numpy(values))
    expected = StandardScaler().fit_transform(values)
    actual = encoder.encode(torch.from_numpy(values))
    torch.testing.assert_close(torch.from_numpy(expected).float(), actual, rtol=1e-4, atol=1e-4)


def test_large_angles_keep_their_digits() -> None:
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 64))).to(torch.uint8)
    encoder = RandomFourier(features=32)
    encoder.fit(x)
    state = encoder.state_dict()
    angles = x.double() @ state["weights"].double() + state["phases"].double()
    torch.testing.assert_close((0.25 * angles.cos()).float(), encoder.encode(x), rtol=0, atol=1e-6)


def test_running_statistics_over_arrays_are_summed_in_float64() -> None:
    values = torch.from_numpy(1e4 + np.random.default_rng(0).standard_normal((200_000, 1))).float()
    encoder, expected = RunningNorm(rewards=False), RunningMoments()
    encoder.adapt(digit_stream())
    encoder.fit(values)
    expected.update(values.double().numpy())
    assert (expected.mean, expected.var) == (encoder.observed.mean, encoder.observed.var)


def test_the_graph_of_a_scaler_keeps_the_digits_of_features_far_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.from_numpy(1e6 + 1e-4 * np.random.default_rng(0).standard_normal((50, 2)))
    for transformer in ("StandardScaler", "RobustScaler", "PCA"):
        encoder = Sklearn(transformer=transformer)
        encoder.fit(x)
        expected = encoder.encode(x)
        with monkeypatch.context() as patch:
            patch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
            torch.testing.assert_close(expected, encoder.encode(x), rtol=1e-4, atol=1e-4)


def test_the_task_is_appended_as_one_hot() -> None:
    encoder = TaskOneHot()
    encoder.adapt(digit_stream(task_ids=True))
    x = torch.rand(3, 2)
    assert (4,) == encoder.shape((2,))
    assert torch.equal(torch.cat((x, torch.tensor([[0.0, 1.0]] * 3)), 1), encoder.encode(x, 1))
    mixed = encoder.encode(x, torch.tensor([1, 0, 1]))
    assert torch.equal(torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), mixed[:, 2:])
    with pytest.raises(UnsupportedError, match="appends to vectors, got inputs of shape"):
        encoder.shape((1, 8, 8))
    with pytest.raises(UnsupportedError, match=r"hides it .*; set stream\.visibility\.task_ids: visible"):
        encoder.adapt(digit_stream())
