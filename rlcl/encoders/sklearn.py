"""Transformers of scikit-learn."""

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
from rlcl.types import Encoder, Stream

__all__ = ["Sklearn"]

PLACES = (
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
# What multiplies and adds alone, each feature by itself or all together, and can be written as a graph therefore.
SCALERS = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")
PROJECTIONS = ("PCA", "IncrementalPCA", "TruncatedSVD", "FastICA", "FactorAnalysis", "GaussianRandomProjection")
# Under which name each keeps where its inputs lie.
CENTRES = {
    "StandardScaler": "mean_",
    "MinMaxScaler": "data_min_",
    "RobustScaler": "center_",
    **dict.fromkeys(("PCA", "IncrementalPCA", "FastICA", "FactorAnalysis"), "mean_"),
}
TRIED_ROWS = 1024  # of random inputs, on which it is tried before anything is trained

Array = np.ndarray[Any, Any]


@define(kw_only=True, eq=False)
class Sklearn(Encoder):
    """Any transformer of scikit-learn that can be fitted on inputs alone and whose state is numbers and texts.

    It is fitted on the first inputs that it is given, flat and as float64, and is then that transformer. What it has
    learned is kept as plain numbers, never as a pickle; a transformer that keeps objects of its own is refused.

    Args:
        transformer: a class of scikit-learn, for example ``QuantileTransformer``.
        options: its own keyword arguments; lists become tuples, and ``random_state`` is 0 where it has one.
        features: how many numbers it makes of one input, where that depends on the data; found by a trial by default.
    """

    transformer: str = option()
    options: Mapping[str, Any] = option(factory=dict)
    features: int | None = option(None, ge=1)
    _state: dict[str, Any] | None = field(init=False, default=None)
    _fitted: Any = field(init=False, default=None)
    _width: int = field(init=False, default=0)

    def adapt(self, stream: Stream) -> Stream:
        """The stream as it is; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: a stream of environments: their first observations come before any fitting.
        """
        if stream.spec.kind == "environment":
            raise UnsupportedError("encoder sklearn: it is fitted on arrays; over environments use running_norm")
        return stream

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        trial = np.random.default_rng(0).uniform(0.1, 1, (TRIED_ROWS, math.prod(observation_shape)))
        fitted = self._fit(trial)
        self._width = self.features or _transform(fitted, trial[:1], self.transformer).shape[1]
        return (self._width,)

    def fit(self, x: Tensor) -> None:
        if self._state is not None:
            return
        rows = _rows(x)
        self._fitted, self._state = self._restored(state := _state(self._fit(rows), self.transformer)), state
        width = _transform(self._fitted, rows[:1], self.transformer).shape[1]
        if self._width and width != self._width:
            raise UnsupportedError(
                f"encoder sklearn: {self.transformer} makes {width} numbers of an input of these data, and "
                f"{self._width} were said; set features: {width}"
            )

    def encode(self, x: Tensor) -> Tensor:
        if self._fitted is None:
            raise UnsupportedError(f"encoder sklearn: {self.transformer} encodes nothing before it is fitted")
        if torch.onnx.is_in_onnx_export():
            return self._traced(x)
        found = _transform(self._fitted, _rows(x), self.transformer)
        return torch.from_numpy(np.ascontiguousarray(found, np.float32)).to(x.device)

    def _traced(self, x: Tensor) -> Tensor:
        """The same by torch, of what multiplies and adds alone: its answers near the inputs' centre say by what.

        About 0 instead, all digits of features would be lost whose mean is far larger than their deviation.

        Raises:
            UnsupportedError: it does something else.
        """
        if self.transformer not in (*SCALERS, *PROJECTIONS) or self.options.get("clip"):
            raise UnsupportedError(
                f"encoder sklearn: scikit-learn computes {self.transformer} outside of torch, so that no bundle can "
                f"hold it; {', '.join((*SCALERS, *PROJECTIONS))} without clip can be exported, and rlcl's own impute, "
                "robust, quantile, standardize and pca"
            )
        centre, scales = self._centre(), self.transformer in SCALERS
        step = np.maximum(1.0, np.abs(centre) / 1000)  # centre + step keeps the digits of a step
        origin = _transform(self._fitted, centre[None], self.transformer)
        moved = centre + (step[None] if scales else np.diag(step))
        factors = (_transform(self._fitted, moved, self.transformer) - origin) / (
            step[None] if scales else step[:, None]
        )
        values = x.flatten(1).double() - torch.from_numpy(centre)
        product = values * torch.from_numpy(factors) if scales else values @ torch.from_numpy(factors)
        return (product + torch.from_numpy(origin)).to(torch.float32)

    def _centre(self) -> Array:
        """(features,) float64 where inputs lie; 0 where the transformer does not know."""
        found = vars(self._fitted).get(CENTRES.get(self.transformer, ""))
        if found is None:
            return np.zeros(self._fitted.n_features_in_)
        return np.nan_to_num(np.asarray(found, np.float64))

    def _fit(self, rows: Array) -> Any:
        made = self._made()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the trial's random inputs, and of iterations that did not converge
                made.fit(rows)
        except (TypeError, ValueError) as error:
            told = f"{self.transformer} cannot be fitted on these inputs: {str(error).strip().splitlines()[0]}"
            raise UnsupportedError(f"encoder sklearn: {told}{_remedy(rows)}") from error
        _state(made, self.transformer)
        return made

    def _made(self) -> Any:
        cls = _found(self.transformer)
        check_options(cls, self.transformer, self.options, {}, "encoder.options")
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in self.options.items()}
        if "random_state" in inspect.signature(cls).parameters:
            options = {"random_state": 0, **options}
        return cls(**options)

    def _restored(self, state: Mapping[str, Any]) -> Any:
        """A transformer with that state, so that one that was saved and loaded has nothing more and nothing less."""
        made = self._made()
        for name, value in state["learned"].items():
            setattr(made, name, value)
        return made

    def state_dict(self) -> dict[str, Any]:
        return {"state": self._state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Raises:
            CheckpointError: it was fitted by another version of scikit-learn.
        """
        self._state, self._fitted = state["state"], None
        if self._state is not None:
            if self._state["version"] != _version():
                raise CheckpointError(
                    f"encoder sklearn: {self.transformer} was fitted by scikit-learn {self._state['version']}, this "
                    f"is {_version()}; install the former, or fit anew"
                )
            self._fitted = self._restored(self._state)


def _found(name: str) -> Any:
    known: dict[str, Any] = {}
    for place in PLACES:
        module = importlib.import_module(f"sklearn.{place}")
        known |= {key: value for key, value in vars(module).items() if inspect.isclass(value)}
        if name in known and hasattr(known[name], "transform"):
            return known[name]
    transformers = [key for key, value in known.items() if hasattr(value, "transform")]
    near = did_you_mean(name, transformers)
    raise UnsupportedError(f"encoder.transformer: scikit-learn has no transformer {name!r}{near}")


def _state(fitted: Any, name: str) -> dict[str, Any]:
    """What fitting has added: plain values and arrays, those in C order, as they come back from a file."""
    given = fitted.get_params(deep=False)
    learned = {key: _plain(value, key, name) for key, value in vars(fitted).items() if key not in given}
    return {"version": _version(), "learned": learned}


def _plain(value: Any, path: str, name: str) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "biuf":
            return np.array(value, order="C")
        raise _unkept(f"{path}, an array of {value.dtype}", name)
    if isinstance(value, np.generic):
        return _plain(value.item(), path, name)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return type(value)(_plain(item, f"{path}[{i}]", name) for i, item in enumerate(value))
    if isinstance(value, dict) and all(isinstance(key, str | int) for key in value):
        return {key: _plain(item, f"{path}[{key!r}]", name) for key, item in value.items()}
    raise _unkept(f"{path}, a {type(value).__name__}", name)


def _unkept(what: str, name: str) -> UnsupportedError:
    return UnsupportedError(
        f"encoder sklearn: {name} learns {what}, which cannot be saved without a pickle; use a transformer whose "
        "state is numbers, or write an encoder (docs/how-to/add-an-encoder.md)"
    )


def _rows(x: Tensor) -> Array:
    found: Array = x.flatten(1).double().cpu().numpy()
    return found


def _transform(fitted: Any, rows: Array, name: str) -> Array:
    try:
        found = fitted.transform(rows)
    except ValueError as error:
        told = f"{name} refuses inputs: {str(error).strip().splitlines()[0]}"
        raise DataError(f"encoder sklearn: {told}{_remedy(rows)}") from error
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found)


def _remedy(rows: Array) -> str:
    return "; put impute before it" if np.isnan(rows).any() else ""


def _version() -> str:
    import sklearn

    return ".".join(sklearn.__version__.split(".")[:2])
