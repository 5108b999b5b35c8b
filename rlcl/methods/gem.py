"""Gradient episodic memory (GEM)."""

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
from rlcl.methods.parts.flat_gradients import flat_gradient, flat_gradient_of, write_flat_gradient
from rlcl.methods.parts.parameters import device_of, named_parameters
from rlcl.types import Experience, Host, Method

__all__ = ["Gem", "cone_weights"]

Array = np.ndarray[Any, Any]


@define(kw_only=True, eq=False)
class Gem(Method):
    """Projection of each gradient that would increase the loss on the memory of a past experience.

    The projected gradient is the nearest one that increases none of these losses. It is the current gradient plus a
    weighted sum of the gradients on the memories. The weights solve a quadratic program with one variable per
    past experience. Each update computes a gradient on the memory of every past experience.

    Args:
        per_experience: examples stored of each experience, sampled at its end; 0 disables the method.
        margin: minimum weight of each memory's gradient in a projection (gamma); a positive value favours past
            experiences.
        stored: format of the stored inputs. ``encoded``: inputs are encoded before they are stored. ``raw``: inputs are
            stored in the dtype of the data set and encoded each time they are sampled.

    Source: Lopez-Paz & Ranzato 2017, Gradient episodic memory for continual learning, eqs. 9 to 12. Their code, and
    Avalanche's, add 0.001 to the diagonal of the program's matrix; this implementation does not.
    """

    per_experience: int = option(256, ge=0)
    margin: float = option(0.5, ge=0)
    stored: Stored = option("encoded")
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _memories: list[Examples] = field(init=False, factory=list)
    _projections: int = field(init=False, default=0)

    requires = frozenset({"loss", "boundaries"})
    phase = "project"
    stores_at_end = True
    null: ClassVar[Mapping[str, Any] | None] = {"per_experience": 0}

    def refuses(self, host: Host) -> str | None:
        return raw_refusal(self.stored, host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng, self._memories, self._projections = host, rng, [], 0
        host.optimizers[host.primary].register_step_pre_hook(self._project)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        if self.per_experience:
            self._memories.append(self._new_memory())
            self._memories[-1].insert(self._host.sample(self.per_experience, self._rng))

    def _new_memory(self) -> Examples:
        return Examples(self._host, WholeMemory(None, self._rng), self.stored)

    def _project(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        host = self._host
        if not self._memories or host.loss is None:
            return
        parameters = named_parameters(host, host.primary)
        references = torch.stack([flat_gradient_of(host.loss(m.contents()), parameters) for m in self._memories])
        gradient = flat_gradient(parameters)
        products = references @ gradient
        if bool((products < 0).any()):
            self._projections += 1
            gram = (references @ references.T).double().cpu().numpy()
            weights = cone_weights(gram, products.double().cpu().numpy(), self.margin)
            write_flat_gradient(parameters, gradient + torch.from_numpy(weights).to(references) @ references)

    def forget(self) -> None:
        self._memories = []

    def quantities(self) -> Mapping[str, float]:
        """See :class:`rlcl.types.Method`; projections are counted since the first update."""
        return {"memory_examples": sum(map(len, self._memories)), "projections": self._projections}

    def state_dict(self) -> dict[str, Any]:
        return {
            "rng": self._rng.bit_generator.state,
            "memories": [m.memory.contents() for m in self._memories],
            "projections": self._projections,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        device = device_of(self._host)
        self._rng.bit_generator.state = state["rng"]
        self._projections = state.get("projections", 0)  # absent from older checkpoints
        self._memories = [self._new_memory() for _ in state["memories"]]
        for examples, columns in zip(self._memories, state["memories"], strict=True):
            examples.memory.insert(**{name: column.to(device) for name, column in columns.items()})


def cone_weights(gram: Array, products: Array, margin: float) -> Array:
    """Compute the weights v (T,) of reference gradients G (T, P) that project a gradient g to g + v G.

    The projected gradient is the nearest to g inside the cone of gradients that increase no loss on a memory.
    The weights minimize ``v G G' v / 2 + v G g`` subject to v >= margin. With v = margin + w and G G' = A' A, this is
    a non-negative least-squares problem in w.

    Args:
        gram: G G' (T, T).
        products: G g (T,).
        margin: minimum weight, at least 0.

    Returns:
        v (T,).

    Source: Lopez-Paz & Ranzato 2017, eq. 11.
    """
    from scipy.optimize import nnls

    values, vectors = np.linalg.eigh(gram)
    nonzero = values > values[-1] * len(gram) * np.finfo(np.float32).eps  # the products are sums in float32
    roots = np.sqrt(values[nonzero])
    linear = products + margin * gram.sum(1)
    weights: Array = nnls(roots[:, None] * vectors[:, nonzero].T, -(vectors[:, nonzero].T @ linear) / roots)[0]
    return margin + weights
