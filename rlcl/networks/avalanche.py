"""Avalanche's own models, for its strategies that want one: heads by task, heads that grow."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from torch import nn

from rlcl.config import option
from rlcl.data.avalanche_import import check_options, import_avalanche, make, make_object, named
from rlcl.types import Network

__all__ = ["AvalancheNetwork"]

OUTPUTS = ("num_classes", "n_classes", "nclasses")  # what its models call their number of outputs
FEATURES = ("input_size", "in_features")  # and the size of their flat inputs


@frozen(kw_only=True)
class AvalancheNetwork(Network):
    """A model of ``avalanche.models``; one whose heads grow (``MTSimpleMLP``) serves the learner ``avalanche`` alone.

    Args:
        model: of ``avalanche.models`` by name, for example ``SimpleMLP``, ``MTSimpleMLP``,
            ``IncrementalClassifier``, ``PNN``.
        options: its own keyword arguments, checked by name; sizes of inputs and outputs are filled in
            where they are not said. ``{type: NAME, ...}`` makes a module within a model.

    Source: Carta et al. 2023, Avalanche: a PyTorch library for deep continual learning.
    """

    model: str = option()
    options: Mapping[str, Any] = option(factory=dict)

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        models = import_avalanche().models
        places = {**vars(models.packnet), **vars(models)}
        known = {name: m for name, m in places.items() if inspect.isclass(m) and issubclass(m, nn.Module)}
        cls = named(self.model, known, "model", "learner.network.model")
        sizes = {**dict.fromkeys(OUTPUTS, outputs), **dict.fromkeys(FEATURES, math.prod(shape))}
        parameters = inspect.signature(cls).parameters
        said = {k: make_object(v, f"learner.network.options.{k}", sizes) for k, v in self.options.items()}
        arguments = {**{key: size for key, size in sizes.items() if key in parameters}, **said}
        check_options(cls, self.model, arguments, {}, "learner.network.options")
        network: nn.Module = make(cls, self.model, arguments)
        return network
