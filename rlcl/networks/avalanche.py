"""Models of Avalanche, which some of its strategies require: heads by task, heads that grow."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from torch import nn

from rlcl.config import option
from rlcl.data.avalanche_import import check_options, construct, construct_option, import_avalanche, look_up
from rlcl.types import Network

__all__ = ["AvalancheNetwork"]

OUTPUTS = ("num_classes", "n_classes", "nclasses")  # parameter names of the number of outputs
FEATURES = ("input_size", "in_features")  # parameter names of the size of flat inputs


@frozen(kw_only=True)
class AvalancheNetwork(Network):
    """A model of ``avalanche.models``. Only the learner ``avalanche`` supports heads that grow (``MTSimpleMLP``).

    Args:
        model: name of a class of ``avalanche.models``, for example ``SimpleMLP``, ``MTSimpleMLP``,
            ``IncrementalClassifier``, ``PNN``.
        options: keyword arguments of the model, checked by name. Sizes of inputs and outputs are set by default.
            ``{type: NAME, ...}`` constructs a module as an argument.

    Source: Carta et al. 2023, Avalanche: a PyTorch library for deep continual learning.
    """

    model: str = option()
    options: Mapping[str, Any] = option(factory=dict)

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        models = import_avalanche().models
        names = {**vars(models.packnet), **vars(models)}
        known = {name: m for name, m in names.items() if inspect.isclass(m) and issubclass(m, nn.Module)}
        cls = look_up(self.model, known, "model", "learner.network.model")
        sizes = {**dict.fromkeys(OUTPUTS, outputs), **dict.fromkeys(FEATURES, math.prod(shape))}
        parameters = inspect.signature(cls).parameters
        options = {k: construct_option(v, f"learner.network.options.{k}", sizes) for k, v in self.options.items()}
        arguments = {**{key: size for key, size in sizes.items() if key in parameters}, **options}
        check_options(cls, self.model, arguments, {}, "learner.network.options")
        network: nn.Module = construct(cls, self.model, arguments)
        return network
