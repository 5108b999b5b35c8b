"""Elastic weight consolidation (EWC)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.methods.parts.divergence import choices_of
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.methods.parts.fisher import LABELLED, FisherKind, diagonal_fisher, squared_batch_gradients
from rlcl.methods.parts.networks import (
    Networks,
    critics_refusal,
    kind_of,
    network_keys,
    outputs_of,
    sample_inputs,
)
from rlcl.methods.parts.parameters import named_parameters
from rlcl.methods.parts.quadratic_penalty import Anchor
from rlcl.types import Experience, Host, Method

__all__ = ["Ewc"]

KINDS = ("categorical", "multi_categorical", "gaussian", "values", "reconstruction")


@define(kw_only=True, eq=False)
class Ewc(Method):
    """Quadratic penalty ``strength / 2 * sum_t sum_i F_t,i (theta_i - theta_t,i)^2`` over past experiences t.

    F_t is the diagonal of the Fisher information matrix after experience t. The sum of the quadratic penalties equals
    one quadratic penalty. Its curvature is the sum of all F_t, and its anchor is the mean of the parameters theta_t,
    weighted by F_t. This takes two tensors per parameter, for any number of experiences. Values of ``strength`` are not
    comparable between different settings of ``fisher``, or with values from papers that define the penalty without the
    factor 1/2.

    Args:
        strength: weight of the penalty; 0 disables the method.
        fisher: estimate of F, a mean of squared gradients of log likelihoods. For all kinds of outputs: ``exact``
            (expectation over the output distribution of the model; for classes, the sum over all labels, weighted by
            their probabilities: van de Ven et al. 2022) or ``sampled`` (one sample of this distribution per example).
            Only for categorical outputs: ``empirical`` (true label: Chaudhry et al. 2018), ``weighted`` (true label,
            with the squared gradient multiplied by the probability of this label: Buzzega et al. 2020) or ``batch``
            (squared gradient of the mean loss of a minibatch: Avalanche; this is no Fisher information).
        samples: examples of the experience that has just ended, on which F is estimated; null for all examples.
        batch_size: samples in a minibatch of ``fisher: batch``.
        online: whether to use a single penalty around the latest parameters, with the accumulated Fisher information
            (online EWC), instead of the sum of one penalty per experience.
        decay: number by which the accumulated Fisher information is multiplied at each boundary; used only if
            ``online`` is set.
        networks: networks with a penalty: ``primary``, the network that predicts or acts, or ``all``, critics too. The
            outputs of critics are means of Gaussians of unit variance.

    Source: Kirkpatrick et al. 2017, eq. 3; the online form is Schwarz et al. 2018, eq. 9. Wołczyk et al. 2021,
    Continual World, penalize the actor only, with ``strength: 2e4``.
    """

    strength: float = option(100.0, ge=0)
    fisher: FisherKind = option("exact")
    samples: int | None = option(1000, ge=1)
    batch_size: int = option(32, ge=1)
    online: bool = option(False)
    decay: float = option(1.0, ge=0, le=1)
    networks: Networks = option("primary")
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _anchors: dict[str, Anchor] = field(init=False, factory=dict)  # by the key of the network

    phase = "add"
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"boundaries", "targets"} if self.fisher in LABELLED else {"boundaries"})

    @property
    def kinds(self) -> frozenset[str]:
        """The supported kinds of outputs; the true labels have a likelihood only if the outputs are classes."""
        return frozenset({"categorical"} if self.fisher in LABELLED else KINDS)

    def refuses(self, host: Host) -> str | None:
        return critics_refusal(self.networks, host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = host, rng
        self._anchors = {key: Anchor() for key in network_keys(host, self.networks)}
        for key, anchor in self._anchors.items():
            host.optimizers[key].register_step_pre_hook(anchor)

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._bind()

    def end(self, experience: Experience) -> None:
        if not self.strength:
            return
        for key, anchor in self._anchors.items():
            weights = named_parameters(self._host, key)
            for name, fisher in self._estimate_fisher(key).items():
                self._consolidate(anchor, name, self.strength * fisher, weights[name].detach().clone())
        self._bind()

    def _consolidate(self, anchor: Anchor, name: str, curvature: Tensor, weights: Tensor) -> None:
        curvatures, anchors = anchor.curvature, anchor.anchor
        previous = curvatures.get(name)
        if previous is None or previous.shape != curvature.shape:  # new, or a head that grew: drop its old penalty
            curvatures[name], anchors[name] = curvature, weights
        elif self.online:
            curvatures[name], anchors[name] = self.decay * previous.to(curvature.device) + curvature, weights
        else:
            previous = previous.to(curvature.device)
            total = previous + curvature
            # The weighted mean as a step from the previous anchor loses no digits if curvatures are large.
            share = torch.where(total > 0, curvature / total, torch.zeros_like(curvature))
            curvatures[name], anchors[name] = total, torch.lerp(anchors[name].to(weights.device), weights, share)

    def _estimate_fisher(self, key: str) -> dict[str, Tensor]:
        host = self._host
        module, parameters, outputs = host.modules[key], named_parameters(host, key), outputs_of(host, key)
        # The generator advances even if all samples are used, so that ``samples`` has no other effect.
        batch = sample_inputs(host, key, self.samples, self._rng)
        generator = torch.Generator().manual_seed(int(self._rng.integers(2**31)))
        x, targets, ids = batch[:3]
        if self.fisher in LABELLED and targets is not None:
            visible = targets >= 0  # a hidden label is -1
            x, targets, ids = x[visible], targets[visible], None if ids is None else ids[visible]
        with evaluation_mode(module, gradients=True):
            if self.fisher == "batch" and targets is not None:
                return squared_batch_gradients(outputs, parameters, x, ids, targets, self.batch_size)
            return diagonal_fisher(
                outputs,
                parameters,
                module,
                x,
                ids,
                kind_of(host, key),
                self.fisher,
                generator,
                targets,
                choices_of(host),
            )

    def _bind(self) -> None:
        for key, anchor in self._anchors.items():
            anchor.bind(named_parameters(self._host, key))

    def quantities(self) -> Mapping[str, float]:
        """See :class:`rlcl.types.Method`."""
        return {"penalty": sum(anchor.penalty() for anchor in self._anchors.values())}

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state, "anchors": {k: a.state_dict() for k, a in self._anchors.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        anchors = state["anchors"] if "anchors" in state else {self._host.primary: state["anchor"]}  # an older version
        for key, anchor in self._anchors.items():
            anchor.load_state_dict(anchors[key])
        self._bind()
