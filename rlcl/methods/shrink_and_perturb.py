"""Shrink and perturb: decay of the weights towards zero, plus noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from attrs import define, field
from torch import nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.parts.parameters import named_parameters
from rlcl.types import Experience, Host, Method

__all__ = ["ShrinkAndPerturb", "shrink_and_perturb"]


@define(kw_only=True, eq=False)
class ShrinkAndPerturb(Method):
    """Replacement of every weight theta by ``(1 - decay) theta + noise * e``, e being standard normal.

    Both factors apply to one replacement and do not depend on the learning rate. Biases and the
    parameters of normalization layers are included. The optimizer's moments do not change.

    Args:
        decay: share by which each weight shrinks.
        noise: standard deviation of the noise.
        every: time of the replacement: after each ``update``, or at each ``boundary``, before training on the next
            experience.

    Source: Ash & Adams 2020, On warm-starting neural network training, section 4 (lambda = 1 - decay, sigma =
    noise, at boundaries); after each update in Dohare et al. 2024, Loss of plasticity in deep continual learning.
    """

    decay: float = option(1e-3, ge=0, le=1)
    noise: float = option(1e-3, ge=0)
    every: Literal["update", "boundary"] = option("update")
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _parameters: dict[str, list[nn.Parameter]] = field(init=False, factory=dict)

    phase = "edit"
    reopens = True
    null: ClassVar[Mapping[str, Any] | None] = {"decay": 0.0, "noise": 0.0}

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"boundaries"} if self.every == "boundary" else ())

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = host, rng
        self._bind()
        if self.every == "update" and (self.decay or self.noise):
            for name, optimizer in host.optimizers.items():
                optimizer.register_step_post_hook(self._post_hook(name))

    def _bind(self) -> None:
        self._parameters = {name: list(named_parameters(self._host, name).values()) for name in self._host.optimizers}

    def _post_hook(self, name: str) -> Any:
        def apply(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            shrink_and_perturb(self._parameters[name], self.decay, self.noise, self._rng)

        return apply

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._bind()
        if self.every == "boundary" and experience.index > 0:
            for parameters in self._parameters.values():
                shrink_and_perturb(parameters, self.decay, self.noise, self._rng)

    def end(self, experience: Experience) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._bind()


@torch.no_grad()
def shrink_and_perturb(parameters: list[nn.Parameter], decay: float, noise: float, rng: np.random.Generator) -> None:
    """Shrink and perturb parameters in place, with one sample of noise for all of them.

    Args:
        parameters: of any shapes, on one device.
        decay: in [0, 1].
        noise: standard deviation, at least 0.
        rng: samples one standard normal number per weight, in order; not used if ``noise`` is 0.
    """
    weights = [p.data for p in parameters]
    if decay:
        torch._foreach_mul_(weights, 1 - decay)
    if noise:
        sizes = [w.numel() for w in weights]
        samples = torch.from_numpy(rng.standard_normal(sum(sizes), dtype=np.float32)).to(weights[0])
        pieces = [e.view_as(w) for e, w in zip(torch.split(samples, sizes), weights, strict=True)]
        torch._foreach_add_(weights, pieces, alpha=noise)
