"""Elastic weight consolidation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.methods.parts.fisher import LABELLED, FisherKind, diagonal_fisher, squared_batch_gradients
from rlcl.methods.parts.modes import evaluating
from rlcl.methods.parts.parameters import named_parameters
from rlcl.methods.parts.quadratic_penalty import Anchor
from rlcl.types import Experience, Host, Method

__all__ = ["Ewc"]

KINDS = ("categorical", "gaussian", "values", "reconstruction")


@define(kw_only=True, eq=False)
class Ewc(Method):
    """Adds ``strength / 2 * sum_t sum_i F_t,i (theta_i - theta_t,i)^2`` over past experiences t.

    The sum of quadratic penalties is one quadratic penalty, with the sum of the Fishers as its
    pull and their weighted mean of the weights as its anchor: two tensors a parameter, however
    many experiences there are. Strengths do not transfer between kinds of Fisher, nor to papers
    that leave out the half.

    Args:
        strength: of the penalty; 0 equals no method.
        fisher: ``exact`` (all labels, weighted by their probability: van de Ven et al. 2022) or
            ``sampled`` (one label drawn from the model), of any outputs. Of classes also ``empirical``
            (the true label: Chaudhry et al. 2018), ``weighted`` (the true label, times its probability:
            Buzzega et al. 2020), or ``batch`` (the square of the gradient of a minibatch's mean loss:
            Avalanche, and no Fisher information).
        samples: of the experience just learned, that the Fisher is estimated on; null for all.
        batch_size: samples in a minibatch of ``fisher: batch``.
        online: one penalty towards the latest weights, with all Fishers accumulated.
        decay: what an older Fisher is multiplied by at each boundary, in ``online``.

    Source: Kirkpatrick et al. 2017, eq. 3; the online form is Schwarz et al. 2018, eq. 9.
    """

    strength: float = option(100.0, ge=0)
    fisher: FisherKind = option("exact")
    samples: int | None = option(1000, ge=1)
    batch_size: int = option(32, ge=1)
    online: bool = option(False)
    decay: float = option(1.0, ge=0, le=1)
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _anchor: Anchor = field(init=False, factory=Anchor)

    phase = "add"
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"boundaries", "targets"} if self.fisher in LABELLED else {"boundaries"})

    @property
    def kinds(self) -> frozenset[str]:
        """What the host's outputs may mean; a label has a likelihood where they are classes."""
        return frozenset({"categorical"} if self.fisher in LABELLED else KINDS)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = host, rng
        self._anchor = Anchor()
        host.optimizers[host.primary].register_step_pre_hook(self._anchor)

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._bind()

    def end(self, experience: Experience) -> None:
        if not self.strength:
            return
        weights = named_parameters(self._host, self._host.primary)
        for name, fisher in self._estimate().items():
            self._consolidate(name, self.strength * fisher, weights[name].detach().clone())
        self._bind()

    def _consolidate(self, name: str, pull: Tensor, weights: Tensor) -> None:
        pulls, anchors = self._anchor.pull, self._anchor.anchor
        old = pulls.get(name)
        if old is None or old.shape != pull.shape:  # new, or a head that grew: its old penalty is given up
            pulls[name], anchors[name] = pull, weights
        elif self.online:
            pulls[name], anchors[name] = self.decay * old.to(pull.device) + pull, weights
        else:
            old = old.to(pull.device)
            together = old + pull
            # A weighted mean as a step from the old anchor, which loses no digits where pulls are large.
            share = torch.where(together > 0, pull / together, torch.zeros_like(pull))
            pulls[name], anchors[name] = together, torch.lerp(anchors[name].to(weights.device), weights, share)

    def _estimate(self) -> dict[str, Tensor]:
        host = self._host
        module = host.modules[host.primary]
        parameters = named_parameters(host, host.primary)
        # The generator is spent even where all samples are used, so that ``samples`` changes nothing else.
        batch = host.sample(self.samples, self._rng)
        generator = torch.Generator().manual_seed(int(self._rng.integers(2**31)))
        x, targets, ids = batch[:3]
        if self.fisher in LABELLED and targets is not None:
            shown = targets >= 0  # -1 where a label is hidden
            x, targets, ids = x[shown], targets[shown], None if ids is None else ids[shown]
        with evaluating(module, gradients=True):
            if self.fisher == "batch" and targets is not None:
                return squared_batch_gradients(host.outputs, parameters, x, ids, targets, self.batch_size)
            return diagonal_fisher(host.outputs, parameters, module, x, ids, host.kind, self.fisher, generator, targets)

    def _bind(self) -> None:
        self._anchor.bind(named_parameters(self._host, self._host.primary))

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state, "anchor": self._anchor.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._anchor.load_state_dict(state["anchor"])
        self._bind()
