"""Encoders of tables: the arithmetic of each, and that none of them sees more than training data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import frozen
from harness import classifier, differences
from sklearn.preprocessing import QuantileTransformer, RobustScaler

from rlcl.data.sources import Data
from rlcl.deploy.exporting.onnx_export import onnx_graph
from rlcl.deploy.exporting.parity import run_graph
from rlcl.encoders.columns import Columns
from rlcl.encoders.compose import Compose
from rlcl.encoders.impute import Impute
from rlcl.encoders.one_hot import OneHot
from rlcl.encoders.ordinal import Ordinal
from rlcl.encoders.quantile import Quantile, normal_quantile
from rlcl.encoders.robust import Robust
from rlcl.encoders.sklearn import Sklearn
from rlcl.encoders.sorted_values import SortedValues
from rlcl.encoders.standardize import Standardize
from rlcl.errors import CheckpointError, DataError, Problem, UnsupportedError
from rlcl.seeding import Seeds
from rlcl.state import clone_state
from rlcl.streams.data_incremental import DataIncremental
from rlcl.streams.permuted import Permuted
from rlcl.streams.single import Single
from rlcl.training import checkpoint
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, DataSet, Encoder, TableColumn

NAN = float("nan")


def fitted(encoder: Any, rows: list[list[float]]) -> Any:
    encoder.fit(torch.tensor(rows))
    return encoder


# Impute.


@pytest.mark.parametrize(
    ("strategy", "expected"), [("mean", 4.0), ("median", 3.0), ("most_frequent", 2.0), ("constant", -1.0)]
)
def test_what_is_put_in_by_hand(strategy: Any, expected: float) -> None:
    # Of 2, 2, 4, 8: mean 4, middle (2 + 4) / 2 = 3, most often 2.
    encoder = fitted(Impute(strategy=strategy, value=-1.0), [[2.0], [8.0], [NAN], [4.0], [2.0]])
    assert [[expected], [7.0]] == encoder.encode(torch.tensor([[NAN], [7.0]])).tolist()


def test_of_values_that_are_as_frequent_the_least_is_put_in() -> None:
    assert [[1.0]] == fitted(Impute(strategy="most_frequent"), [[3.0], [1.0]]).encode(torch.tensor([[NAN]])).tolist()


def test_a_feature_that_is_always_missing_is_filled_with_the_value_given() -> None:
    encoder = fitted(Impute(value=9.0), [[NAN, 1.0], [NAN, 3.0]])
    assert [[9.0, 2.0]] == encoder.encode(torch.tensor([[NAN, NAN]])).tolist()


def test_an_indicator_marks_what_was_missing() -> None:
    encoder = fitted(Impute(indicator=True), [[1.0, 5.0], [3.0, 5.0]])
    assert (4,) == encoder.shape((2,))
    assert [[2.0, 4.0, 1.0, 0.0]] == encoder.encode(torch.tensor([[NAN, 4.0]])).tolist()


# Ordinal and one hot.


def test_values_become_their_places_and_what_is_new_or_missing_becomes_0() -> None:
    encoder = fitted(Ordinal(), [[10.0, 1.0], [-5.0, 1.0], [10.0, NAN]])
    assert [[2.0, 1.0], [1.0, 0.0], [0.0, 0.0]] == encoder.encode(
        torch.tensor([[10.0, 1.0], [-5.0, NAN], [0.0, 2.0]])
    ).tolist()


def test_what_is_missing_becomes_zeros_in_one_hot() -> None:
    encoder = fitted(OneHot(classes=2), [[0.0, NAN], [1.0, 1.0]])
    assert [[0, 1, 0, 0]] == encoder.encode(torch.tensor([[1.0, NAN]])).tolist()


# Robust and quantile.


def test_median_and_distance_of_the_quarters_by_hand() -> None:
    # Of 0, 1, 2, 3, 100: median 2, quarters 1 and 3. The outlier moves nothing.
    encoder = fitted(Robust(), [[0.0], [100.0], [2.0], [1.0], [3.0]])
    assert [[-1.0], [49.0], [2.5]] == encoder.encode(torch.tensor([[0.0], [100.0], [7.0]])).tolist()


def test_a_constant_feature_is_divided_by_one() -> None:
    assert [[0.0], [2.0]] == fitted(Robust(), [[5.0], [5.0]]).encode(torch.tensor([[5.0], [7.0]])).tolist()


def test_the_quantiles_of_robust_must_be_in_order() -> None:
    with pytest.raises(Problem, match=r"high: expected more than low, 0\.75, got 0\.5"):
        Robust(low=0.75, high=0.5)


def test_shares_by_hand() -> None:
    # Quantiles 0, 1, 1, 3 stand for 0, 1/3, 2/3, 1: 1 lies in the middle of its two places, 2 between 2/3 and 1.
    encoder = fitted(Quantile(), [[0.0], [1.0], [3.0], [1.0]])
    encoded = encoder.encode(torch.tensor([[-1.0], [0.0], [0.5], [1.0], [2.0], [3.0], [9.0], [NAN]])).flatten()
    assert pytest.approx([0, 0, 1 / 6, 1 / 2, 5 / 6, 1, 1, NAN], abs=1e-6, nan_ok=True) == encoded.tolist()


def sample(rows: int = 200, missing: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn((rows, 4), generator=generator).double()
    x[:, 1] = x[:, 1].round()  # with many that are the same
    x[:, 2] = 7.0
    x[:, 3] = x[:, 3].exp() * 100
    if missing:
        x[torch.rand(x.shape, generator=generator) < 0.2] = NAN
    return x


@pytest.mark.parametrize("missing", [False, True])
def test_robust_equals_scikit_learn(missing: bool) -> None:
    x = sample(missing=missing)
    encoder = Robust()
    encoder.fit(x)
    expected = RobustScaler().fit(x.numpy()).transform(x.numpy())
    np.testing.assert_allclose(encoder.encode(x).numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("output", ["uniform", "normal"])
@pytest.mark.parametrize("missing", [False, True])
def test_quantile_equals_scikit_learn(output: Any, missing: bool) -> None:
    x, new = sample(missing=missing), sample(400, missing=missing)
    encoder = Quantile(output=output, quantiles=50)
    encoder.fit(x)
    theirs = QuantileTransformer(n_quantiles=50, output_distribution=output, subsample=None).fit(x.numpy())
    np.testing.assert_allclose(encoder.encode(new).numpy(), theirs.transform(new.numpy()), rtol=1e-5, atol=1e-5)


def test_places_are_those_of_searchsorted() -> None:
    x = sample(missing=True)
    known = tuple(column[~column.isnan()][: 7 * place].unique() for place, column in enumerate(x.T))  # 0 of the first
    for equal in (False, True):
        found = SortedValues(known).count_below(x, equal=equal)
        for column, values, actual in zip(x.T, known, found.T, strict=True):
            there = ~column.isnan()
            expected = torch.searchsorted(values, column[there].contiguous(), right=equal)
            assert expected.tolist() == actual[there].tolist()
            assert {0} >= set(actual[~there].tolist())


def test_the_normal_quantile_is_torchs() -> None:
    ends = torch.logspace(-13, -0.4, 500, dtype=torch.float64)
    shares = torch.cat([ends, torch.linspace(0.01, 0.99, 501, dtype=torch.float64), 1 - ends, torch.tensor([NAN])])
    torch.testing.assert_close(
        torch.special.ndtri(shares), normal_quantile(shares), rtol=1e-14, atol=1e-15, equal_nan=True
    )


# In a bundle.


@pytest.mark.parametrize(
    "encoder",
    [
        Impute(strategy="median"),
        Impute(indicator=True),
        Ordinal(),
        Robust(),
        Quantile(),
        Quantile(output="normal", quantiles=9),
        Compose((Quantile(output="normal"), Impute(), Standardize())),
    ],
    ids=str,
)
def test_a_graph_encodes_what_is_missing_as_the_encoder_does(encoder: Any) -> None:
    x = sample(missing=True).float()
    x[0] = NAN
    encoder.fit(x)
    assert in_a_graph(encoder, x) < 1e-6


def in_a_graph(encoder: Any, x: torch.Tensor) -> float:
    """The greatest difference between an encoder's encoding and its graph's, on batches of one and of many."""

    class Encoding(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            encoded: torch.Tensor = encoder.encode(x)
            return encoded

    encoded = run_graph(onnx_graph(Encoding(), [x[:3]], ["input"], ["encoded"]), {"input": x.numpy()})["encoded"]
    expected = encoder.encode(x).numpy()
    assert np.array_equal(np.isnan(expected), np.isnan(encoded))
    return float(np.nanmax(np.abs(encoded - expected) / np.maximum(np.abs(expected), 1)))


# Columns.

TABLE = (
    TableColumn("age"),
    TableColumn("city", ("Oslo", "Rome")),
    TableColumn("pay"),
    TableColumn("kind", ("a", "b", "c")),
)


@frozen
class People(DataSet):
    """Two columns of numbers and two of texts, of which some are missing."""

    columns: tuple[TableColumn, ...] = TABLE
    test_age: float = 5.0

    def load(self) -> Data:
        x = torch.tensor([[1.0, 0, 10, 0], [NAN, 1, 20, 2], [3, NAN, 30, 1], [2, 1, 40, 0]])
        test = torch.tensor([[self.test_age, 1.0, NAN, 2]])
        return Data(
            x, torch.tensor([0, 1, 0, 1]), test, torch.tensor([1]), "people", (), False, self.columns, None, True
        )


def test_columns_of_numbers_and_of_texts_are_encoded_apart() -> None:
    stream = Single(data=People()).make(Seeds(0), Budget(epochs=1))
    encoder = Columns(numeric=Impute(), categorical=OneHot())
    encoder.adapt(stream)
    assert (2 + 2 + 3,) == encoder.shape((4,))
    encoder.fit(stream[0].train.read()[0])  # type: ignore[union-attr]
    # The mean age of 1, 3, 2 is 2; the missing city has neither of its two places.
    assert [[2, 20, 0, 1, 0, 0, 1], [3, 30, 0, 0, 0, 1, 0]] == encoder.encode(
        stream[0].train.read()[0][1:3]  # type: ignore[union-attr]
    ).tolist()


@pytest.mark.parametrize("texts", [OneHot(), Ordinal()], ids=str)
def test_columns_of_numbers_and_of_texts_are_encoded_apart_in_a_graph(texts: Any) -> None:
    stream = Single(data=People()).make(Seeds(0), Budget(epochs=1))
    encoder, x = Columns(numeric=Compose((Quantile(), Impute())), categorical=texts), stream[0].train.read()[0]  # type: ignore[union-attr]
    encoder.adapt(stream)
    encoder.fit(x)
    assert in_a_graph(encoder, torch.cat([x, x[1:2] + 1, torch.full((1, 4), NAN)])) < 1e-6


def test_columns_travel_with_their_state(tmp_path: Path) -> None:
    stream = Single(data=People()).make(Seeds(0), Budget(epochs=1))
    encoder, x = Compose((Columns(numeric=Impute(), categorical=OneHot()),)), stream[0].train.read()[0]  # type: ignore[union-attr]
    encoder.adapt(stream)
    encoder.fit(x)
    other = Compose((Columns(numeric=Impute(), categorical=OneHot()),))
    other.load_state_dict(checkpoint.load(checkpoint.save(tmp_path, 0, encoder.state_dict())))
    assert torch.equal(encoder.encode(x), other.encode(x))


def test_columns_need_a_table_whose_columns_stay_in_their_places() -> None:
    with pytest.raises(UnsupportedError, match="no table with named columns"):
        Columns().adapt(Permuted(data=People(), experiences=2).make(Seeds(0), Budget(epochs=1)))
    with pytest.raises(UnsupportedError, match=r"one_hot: set classes.* known for categorical columns only"):
        OneHot().adapt(Single(data=People()).make(Seeds(0), Budget(epochs=1)))


# What is missing must be filled in.


def test_values_that_stay_missing_are_told_before_training() -> None:
    stream = Single(data=People()).make(Seeds(0), Budget(epochs=1))
    with pytest.raises(UnsupportedError, match=r"the train set of people has missing values.*add impute"):
        Trainer(classifier(), stream, encoder=Standardize())
    encoder = Compose((Impute(), Standardize()))
    trainer = Trainer(classifier(), stream, encoder=encoder)
    assert [None, 0.0] == [encoder.state_dict()["encoders"][0]["fill"], encoder.state_dict()["encoders"][1]["count"]]
    assert 1 == len(trainer.fit().R)


# Leakage.


@frozen
class Measured(DataSet):
    """Random rows; what the test rows hold is given."""

    poison: float

    def load(self) -> Data:
        x = torch.rand((40, 3), generator=torch.Generator().manual_seed(0))
        y = torch.arange(40) % 2
        return Data(x, y, torch.full((4, 3), self.poison), torch.tensor([0, 1, 0, 1]), name="measured")


FITTED: dict[str, Any] = {
    "impute": Impute,
    "ordinal": Ordinal,
    "robust": Robust,
    "quantile": Quantile,
    "columns": lambda: Compose((Standardize(),)),
    "sklearn": lambda: Sklearn(transformer="QuantileTransformer", options={"n_quantiles": 5}),
    "pca": lambda: Sklearn(transformer="PCA", options={"n_components": 2}),
    "running": lambda: Standardize(fit_on="running"),
}


def state_after(encoder: Encoder, poison: float, experiences: int = 1) -> Any:
    stream = DataIncremental(data=Measured(poison), experiences=2).make(Seeds(0), Budget(epochs=1))[:experiences]
    Trainer(classifier(), stream, encoder=encoder).fit()
    return clone_state(encoder.state_dict())


@pytest.mark.parametrize("name", FITTED)
def test_what_test_rows_hold_changes_no_encoder(name: str) -> None:
    assert [] == differences(state_after(FITTED[name](), 0.5, 2), state_after(FITTED[name](), 1e6, 2))


@pytest.mark.parametrize("name", [name for name in FITTED if name != "running"])
def test_later_experiences_change_no_encoder_that_is_fitted_on_the_first(name: str) -> None:
    assert [] == differences(state_after(FITTED[name](), 0.5, 1), state_after(FITTED[name](), 0.5, 2))


def test_the_test_of_leakage_finds_what_is_fitted_on_more() -> None:
    running = FITTED["running"]
    assert differences(state_after(running(), 0.5, 1), state_after(running(), 0.5, 2))


# scikit-learn.


@pytest.mark.parametrize(
    ("name", "options", "width"),
    [
        ("PCA", {"n_components": 3, "whiten": True}, 3),
        ("PowerTransformer", {"standardize": False}, 5),
        ("MinMaxScaler", {"feature_range": [-1, 1]}, 5),
        ("PolynomialFeatures", {"degree": 2}, 21),
        ("Nystroem", {"n_components": 7}, 7),
        ("RBFSampler", {"n_components": 9}, 9),
        ("GaussianRandomProjection", {"n_components": 2}, 2),
        ("KNNImputer", {}, 5),
        ("FastICA", {"n_components": 2}, 2),
    ],
)
def test_a_transformer_is_that_transformer_and_its_state_travels(
    name: str, options: dict[str, Any], width: int, tmp_path: Path
) -> None:
    x = torch.rand((60, 5), generator=torch.Generator().manual_seed(1))
    encoder = Sklearn(transformer=name, options=options)
    assert (width,) == encoder.shape((5,))
    encoder.fit(x)
    theirs = encoder._new_transformer().fit(x.double().numpy())
    np.testing.assert_allclose(encoder.encode(x).numpy(), theirs.transform(x.double().numpy()), rtol=1e-4, atol=1e-5)
    other = Sklearn(transformer=name, options=options)
    other.load_state_dict(checkpoint.load(checkpoint.save(tmp_path, 0, encoder.state_dict())))
    assert torch.equal(encoder.encode(x), other.encode(x))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("StandardScaler", {"with_mean": False}),
        ("StandardScaler", {}),
        ("MinMaxScaler", {"feature_range": [-1, 1]}),
        ("MaxAbsScaler", {}),
        ("RobustScaler", {"quantile_range": [10, 90]}),
        ("PCA", {"n_components": 3, "whiten": True}),
        ("IncrementalPCA", {"n_components": 2}),
        ("TruncatedSVD", {"n_components": 2}),
        ("FastICA", {"n_components": 2}),
        ("FactorAnalysis", {"n_components": 2}),
        ("GaussianRandomProjection", {"n_components": 2}),
    ],
)
def test_a_transformer_that_multiplies_and_adds_is_written_as_a_graph(name: str, options: dict[str, Any]) -> None:
    rows = torch.rand((60, 5), generator=torch.Generator().manual_seed(1)) * 1000 + 5000
    encoder = Sklearn(transformer=name, options=options)
    encoder.fit(rows)
    assert in_a_graph(encoder, torch.cat([rows[:5] * 1.5, -rows[5:9], torch.zeros(1, 5)])) < 1e-5


def test_a_scaler_leaves_what_is_missing_in_a_graph_too() -> None:
    encoder = Sklearn(transformer="StandardScaler")
    encoder.fit(sample(missing=True))
    assert in_a_graph(encoder, sample(9, missing=True).float()) < 1e-6


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("QuantileTransfomer", {}, "no transformer 'QuantileTransfomer'; did you mean QuantileTransformer"),
        (
            "PCA",
            {"n_component": 2},
            "encoder.options.n_component: PCA has no option 'n_component'; did you mean n_comp",
        ),
        ("PCA", {"n_components": "many"}, "PCA cannot be fitted on these inputs: The 'n_components' parameter"),
        ("SelectKBest", {}, "SelectKBest cannot be fitted on these inputs"),
        ("SplineTransformer", {}, r"learns bsplines_\[0\], a BSpline, which cannot be saved without a pickle"),
        ("PowerTransformer", {}, "learns _scaler, a StandardScaler, which cannot be saved without a pickle"),
        ("KBinsDiscretizer", {"quantile_method": "averaged_inverted_cdf"}, "cannot be saved without a pickle"),
    ],
)
def test_what_scikit_learn_cannot_do_here_is_refused_before_training(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((UnsupportedError, Problem), match=message):
        Sklearn(transformer=name, options=options).shape((4,))


def test_a_width_that_depends_on_the_data_is_asked_for() -> None:
    x = torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.0, 4.0]])
    encoder = Sklearn(transformer="VarianceThreshold")
    assert (2,) == encoder.shape((2,))
    with pytest.raises(
        UnsupportedError, match=r"expected 2 output features of VarianceThreshold, got 1 .* set features: 1"
    ):
        encoder.fit(x)
    encoder = Sklearn(transformer="VarianceThreshold", features=1)
    encoder.shape((2,))
    encoder.fit(x)
    assert [[1.0], [2.0], [4.0]] == encoder.encode(x).tolist()


def test_missing_values_are_told_with_the_remedy() -> None:
    encoder = Sklearn(transformer="PCA")
    with pytest.raises(UnsupportedError, match=r"PCA cannot be fitted .*NaN.*; put impute before it"):
        encoder.fit(torch.tensor([[NAN, 1.0], [1.0, 2.0]]))
    encoder.fit(torch.rand(9, 2))
    with pytest.raises(DataError, match=r"PCA does not support these inputs: .*NaN.*; put impute before it"):
        encoder.encode(torch.tensor([[NAN, 1.0]]))


def test_another_version_of_scikit_learn_is_told() -> None:
    encoder = Sklearn(transformer="PCA")
    encoder.fit(torch.rand(9, 2))
    state = encoder.state_dict()
    state["state"]["version"] = "0.9"
    with pytest.raises(CheckpointError, match=r"PCA was fitted by scikit-learn 0\.9, this is"):
        Sklearn(transformer="PCA").load_state_dict(state)
