"""Gradient episodic memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.memories.examples import Examples, Stored, raw_refusal
from rlcl.methods.memories.memory import WholeMemory
from rlcl.methods.parts.flat import flat_gradient, flat_gradient_of, write_flat_gradient
from rlcl.methods.parts.parameters import device_of, named_parameters
from rlcl.types import Experience, Host, Method

__all__ = ["Gem", "cone_weights"]

Array = np.ndarray[Any, Any]


@define(kw_only=True, eq=False)
class Gem(Method):
    """Projects a gradient that would raise the loss on the memory of any past experience, so that it raises none.

    The nearest such gradient is the present one plus a sum of the memories' own, whose weights are a
    quadratic program with one number an experience. Each update takes a gradient over every past
    experience's memory.

    Args:
        per_experience: examples kept of each experience, drawn at its end; 0 equals no method.
        margin: least weight of each memory's gradient where there is a projection (gamma): it
            moves the weights towards old experiences.
        stored: inputs as they were ``encoded`` when met, or ``raw``, of the source's dtype and encoded when drawn.

    Source: Lopez-Paz & Ranzato 2017, Gradient episodic memory for continual learning, eqs. 9 to 12. Their code, and
    Avalanche's, add 0.001 to the diagonal of the program's matrix; here it is solved as it is.
    """

    per_experience: int = option(256, ge=0)
    margin: float = option(0.5, ge=0)
    stored: Stored = option("encoded")
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _memories: list[Examples] = field(init=False, factory=list)

    requires = frozenset({"loss", "boundaries"})
    phase = "project"
    null: ClassVar[Mapping[str, Any] | None] = {"per_experience": 0}

    def refuses(self, host: Host) -> str | None:
        return raw_refusal(self.stored, host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng, self._memories = host, rng, []
        host.optimizers[host.primary].register_step_pre_hook(self._project)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        if self.per_experience:
            self._memories.append(self._empty())
            self._memories[-1].insert(self._host.sample(self.per_experience, self._rng))

    def _empty(self) -> Examples:
        return Examples(self._host, WholeMemory(None, self._rng), self.stored)

    def _project(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        host = self._host
        if not self._memories or host.loss is None:
            return
        parameters = named_parameters(host, host.primary)
        references = torch.stack([flat_gradient_of(host.loss(each.held()), parameters) for each in self._memories])
        gradient = flat_gradient(parameters)
        products = references @ gradient
        if bool((products < 0).any()):
            gram = (references @ references.T).double().cpu().numpy()
            weights = cone_weights(gram, products.double().cpu().numpy(), self.margin)
            write_flat_gradient(parameters, gradient + torch.from_numpy(weights).to(references) @ references)

    def forget(self) -> None:
        self._memories = []

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state, "memories": [each.memory.held() for each in self._memories]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        device = device_of(self._host)
        self._rng.bit_generator.state = state["rng"]
        self._memories = [self._empty() for _ in state["memories"]]
        for each, columns in zip(self._memories, state["memories"], strict=True):
            each.memory.insert(**{name: column.to(device) for name, column in columns.items()})


def cone_weights(gram: Array, products: Array, margin: float) -> Array:
    """The weights v (T,) of reference gradients G (T, P) for which g + v G is nearest to g and inside their cone.

    They minimise ``v G G' v / 2 + v G g`` over v of at least the margin. With v = margin + w this is a least-squares
    problem in w of at least 0, once G G' is written as A' A.

    Args:
        gram: G G' (T, T).
        products: G g (T,).
        margin: least weight, at least 0.

    Source: Lopez-Paz & Ranzato 2017, eq. 11.
    """
    from scipy.optimize import nnls

    values, vectors = np.linalg.eigh(gram)
    kept = values > values[-1] * len(gram) * np.finfo(np.float32).eps  # the products are sums in float32
    roots = np.sqrt(values[kept])
    linear = products + margin * gram.sum(1)
    weights: Array = nnls(roots[:, None] * vectors[:, kept].T, -(vectors[:, kept].T @ linear) / roots)[0]
    return margin + weights
