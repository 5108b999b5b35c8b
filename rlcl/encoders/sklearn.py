"""Encoder by a transformer of scikit-learn."""

from __future__ import annotations

import importlib
import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.data.avalanche_import import check_options
from rlcl.errors import CheckpointError, DataError, UnsupportedError, did_you_mean
from rlcl.types import Encoder, Stream, TaskIds

__all__ = ["Sklearn"]

MODULES = (
    "preprocessing",
    "decomposition",
    "impute",
    "kernel_approximation",
    "random_projection",
    "feature_selection",
    "cluster",
    "manifold",
    "neural_network",
)
# Transformers that are affine, per feature or jointly, and can therefore be exported as a graph.
SCALERS = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")
PROJECTIONS = ("PCA", "IncrementalPCA", "TruncatedSVD", "FastICA", "FactorAnalysis", "GaussianRandomProjection")
# Names of the attributes with the location of the inputs.
CENTRE_ATTRIBUTES = {
    "StandardScaler": "mean_",
    "MinMaxScaler": "data_min_",
    "RobustScaler": "center_",
    **dict.fromkeys(("PCA", "IncrementalPCA", "FastICA", "FactorAnalysis"), "mean_"),
}
TRIAL_ROWS = 1024  # random inputs of the trial fit before training

Array = np.ndarray[Any, Any]


@define(kw_only=True, eq=False)
class Sklearn(Encoder):
    """A transformer of scikit-learn that is fitted on inputs only and whose state consists of numbers and strings.

    The transformer is fitted on the first inputs, flat and as float64. Its state is saved as plain numbers, never as
    a pickle; a transformer whose state contains other objects is not supported.

    Args:
        transformer: a class of scikit-learn, for example ``QuantileTransformer``.
        options: keyword arguments of the transformer; lists become tuples, and ``random_state`` defaults to 0.
        features: number of output features, if it depends on the data; null for the number in a trial fit.
    """

    transformer: str = option()
    options: Mapping[str, Any] = option(factory=dict)
    features: int | None = option(None, ge=1)
    _state: dict[str, Any] | None = field(init=False, default=None)
    _fitted: Any = field(init=False, default=None)
    _width: int = field(init=False, default=0)

    def adapt(self, stream: Stream) -> Stream:
        """Return the stream unchanged; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: the stream has environments, whose first observations precede any fit.
        """
        if stream.spec.kind == "environment":
            raise UnsupportedError("encoder sklearn: it is fitted on arrays; for environments use running_norm")
        return stream

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        trial = np.random.default_rng(0).uniform(0.1, 1, (TRIAL_ROWS, math.prod(observation_shape)))
        fitted = self._fit(trial)
        self._width = self.features or _transform(fitted, trial[:1], self.transformer).shape[1]
        return (self._width,)

    def fit(self, x: Tensor) -> None:
        if self._state is not None:
            return
        rows = _rows(x)
        state = _state(self._fit(rows), self.transformer)
        self._fitted, self._state = self._restore(state), state
        width = _transform(self._fitted, rows[:1], self.transformer).shape[1]
        if self._width and width != self._width:
            raise UnsupportedError(
                f"encoder sklearn: expected {self._width} output features of {self.transformer}, got {width} for these "
                f"data; set features: {width}"
            )

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        if self._fitted is None:
            raise UnsupportedError(f"encoder sklearn: {self.transformer} cannot encode before it is fitted")
        if torch.onnx.is_in_onnx_export():
            return self._encode_affine(x)
        encoded = _transform(self._fitted, _rows(x), self.transformer)
        return torch.from_numpy(np.ascontiguousarray(encoded, np.float32)).to(x.device)

    def _encode_affine(self, x: Tensor) -> Tensor:
        """Encode by an affine map in torch, whose coefficients are computed from outputs near the inputs' centre.

        Coefficients from outputs near 0 would lose the digits of features with a mean far above their deviation.

        Raises:
            UnsupportedError: the transformer is not affine.
        """
        if self.transformer not in (*SCALERS, *PROJECTIONS) or self.options.get("clip"):
            raise UnsupportedError(
                f"encoder sklearn: scikit-learn computes {self.transformer} outside of torch, so that it cannot be "
                f"exported; use {', '.join((*SCALERS, *PROJECTIONS))} without clip, or the encoders impute, robust, "
                "quantile, standardize or pca"
            )
        centre, per_feature = self._centre(), self.transformer in SCALERS
        step = np.maximum(1.0, np.abs(centre) / 1000)  # large enough that centre + step keeps the digits of the step
        origin = _transform(self._fitted, centre[None], self.transformer)
        shifted = centre + (step[None] if per_feature else np.diag(step))
        factors = (_transform(self._fitted, shifted, self.transformer) - origin) / (
            step[None] if per_feature else step[:, None]
        )
        values = x.flatten(1).double() - torch.from_numpy(centre)
        product = values * torch.from_numpy(factors) if per_feature else values @ torch.from_numpy(factors)
        return (product + torch.from_numpy(origin)).to(torch.float32)

    def _centre(self) -> Array:
        """Return the location (features,) float64 of the inputs; 0 if the transformer does not store it."""
        centre = vars(self._fitted).get(CENTRE_ATTRIBUTES.get(self.transformer, ""))
        if centre is None:
            return np.zeros(self._fitted.n_features_in_)
        return np.nan_to_num(np.asarray(centre, np.float64))

    def _fit(self, rows: Array) -> Any:
        transformer = self._new_transformer()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the random inputs of the trial, and about convergence
                transformer.fit(rows)
        except (TypeError, ValueError) as error:
            reason = f"{self.transformer} cannot be fitted on these inputs: {str(error).strip().splitlines()[0]}"
            raise UnsupportedError(f"encoder sklearn: {reason}{_remedy(rows)}") from error
        _state(transformer, self.transformer)  # raises if it cannot be saved
        return transformer

    def _new_transformer(self) -> Any:
        cls = _find_transformer(self.transformer)
        check_options(cls, self.transformer, self.options, {}, "encoder.options")
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in self.options.items()}
        if "random_state" in inspect.signature(cls).parameters:
            options = {"random_state": 0, **options}
        return cls(**options)

    def _restore(self, state: Mapping[str, Any]) -> Any:
        """Return a transformer with exactly this state."""
        transformer = self._new_transformer()
        for name, value in state["learned"].items():
            setattr(transformer, name, value)
        return transformer

    def state_dict(self) -> dict[str, Any]:
        return {"state": self._state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`.

        Raises:
            CheckpointError: the transformer was fitted by another version of scikit-learn.
        """
        self._state, self._fitted = state["state"], None
        if self._state is not None:
            if self._state["version"] != _version():
                raise CheckpointError(
                    f"encoder sklearn: {self.transformer} was fitted by scikit-learn {self._state['version']}, this "
                    f"is {_version()}; install the former, or fit it again"
                )
            self._fitted = self._restore(self._state)


def _find_transformer(name: str) -> Any:
    known: dict[str, Any] = {}
    for module_name in MODULES:
        module = importlib.import_module(f"sklearn.{module_name}")
        known |= {key: value for key, value in vars(module).items() if inspect.isclass(value)}
        if name in known and hasattr(known[name], "transform"):
            return known[name]
    transformers = [key for key, value in known.items() if hasattr(value, "transform")]
    suggestion = did_you_mean(name, transformers)
    raise UnsupportedError(f"encoder.transformer: scikit-learn has no transformer {name!r}{suggestion}")


def _state(fitted: Any, name: str) -> dict[str, Any]:
    """Return the attributes set by the fit as plain values and arrays, in C order as after loading."""
    parameters = fitted.get_params(deep=False)
    learned = {key: _plain(value, key, name) for key, value in vars(fitted).items() if key not in parameters}
    return {"version": _version(), "learned": learned}


def _plain(value: Any, path: str, name: str) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "biuf":
            return np.array(value, order="C")
        raise _unsupported_state(f"{path}, an array of {value.dtype}", name)
    if isinstance(value, np.generic):
        return _plain(value.item(), path, name)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return type(value)(_plain(item, f"{path}[{i}]", name) for i, item in enumerate(value))
    if isinstance(value, dict) and all(isinstance(key, str | int) for key in value):
        return {key: _plain(item, f"{path}[{key!r}]", name) for key, item in value.items()}
    raise _unsupported_state(f"{path}, a {type(value).__name__}", name)


def _unsupported_state(attribute: str, name: str) -> UnsupportedError:
    return UnsupportedError(
        f"encoder sklearn: {name} learns {attribute}, which cannot be saved without a pickle; use a transformer whose "
        "state is numbers, or write an encoder (docs/how-to/add-an-encoder.md)"
    )


def _rows(x: Tensor) -> Array:
    rows: Array = x.flatten(1).double().cpu().numpy()
    return rows


def _transform(fitted: Any, rows: Array, name: str) -> Array:
    try:
        encoded = fitted.transform(rows)
    except ValueError as error:
        reason = f"{name} does not support these inputs: {str(error).strip().splitlines()[0]}"
        raise DataError(f"encoder sklearn: {reason}{_remedy(rows)}") from error
    return np.asarray(encoded.toarray() if hasattr(encoded, "toarray") else encoded)


def _remedy(rows: Array) -> str:
    return "; put impute before it" if np.isnan(rows).any() else ""


def _version() -> str:
    import sklearn

    return ".".join(sklearn.__version__.split(".")[:2])
