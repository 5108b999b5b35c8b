"""Addition of the gradients of replayed examples to those of a minibatch whose loss is not accessible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch.optim import Optimizer

from rlcl.errors import UnsupportedError
from rlcl.methods.parts.parameters import add_gradients_of, named_parameters
from rlcl.registry import name_of
from rlcl.types import Batch, Experience, Host, Method, MixingMethod

__all__ = ["ReplayGradients"]


@define(eq=False)
class ReplayGradients(Method):
    """The gradient of the loss that contains the examples of mixing methods, computed from that of the minibatch.

    The learners of rlcl compute a loss on the joined examples. Here the minibatch's gradient g is known only. The mean
    over n examples of the minibatch and m of a memory has the gradient n / (n + m) g + m / (n + m) g_memory; with
    shares it is a g + b g_memory.
    """

    mixing: Sequence[MixingMethod] = field(init=False, default=())
    _host: Host = field(init=False, default=None)

    requires = frozenset[str]()
    phase = "mix"
    reopens = True
    null: ClassVar[Mapping[str, Any] | None] = None

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = host
        host.optimizers[host.primary].register_step_pre_hook(self._add)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        pass

    def _add(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        batch = self._host.batch
        if batch is None or self._host.loss is None or not self.mixing:
            return
        parameters = named_parameters(self._host, self._host.primary)
        rows = len(batch.inputs)
        for method in self.mixing:
            replayed = method.extra(batch)
            if replayed is None:
                continue
            _check(method, replayed)
            shares = method.shares
            if shares is None:
                added = len(replayed.inputs)
                shares = rows / (rows + added), added / (rows + added)
                rows += added
            if gradients := [p.grad for p in parameters.values() if p.grad is not None]:
                torch._foreach_mul_(gradients, shares[0])
            with torch.enable_grad():
                add_gradients_of(shares[1] * self._host.loss(replayed), parameters)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def _check(method: MixingMethod, replayed: Batch) -> None:
    """Check that the loss function suffices for replayed examples.

    Raises:
        UnsupportedError: they have weights.
    """
    if replayed.weights is not None or replayed.distillation_weights is not None:
        name = name_of("method", method)
        raise UnsupportedError(f"methods: {name} weights single examples, which the loss of a protected model does not")
