"""Activity of a network for probes: activations of its hidden units, weights and last gradients."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import zip_longest
from typing import Any

import torch
from attrs import define, field, frozen
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from rlcl.errors import UnsupportedError
from rlcl.types import Batch, Host, Hosted

__all__ = ["NetworkActivity", "host_of"]

ROWS_AT_ONCE = 512
WeightLayer = nn.Linear | _ConvNd


def host_of(learner: Any) -> Host:
    """Return the host of a learner.

    Raises:
        UnsupportedError: the learner has no host with a network.
    """
    host = learner.host if isinstance(learner, Hosted) else learner
    if not isinstance(host, Host) or not host.modules:
        raise UnsupportedError(
            "evaluation.probes need access to a network, but this learner provides none; remove them, or use a learner "
            "that supports methods"
        )
    return host


@frozen(eq=False, slots=False)
class NetworkActivity:
    """Activity of a host's primary network on a sample. The network is run when activations are first accessed.

    A hidden layer is the input of a linear layer or convolution, unless it is the input of the network. Its units are
    the features of a linear layer's input, or the channels of a convolution's input. If a linear layer reads flattened
    channels, its units are the channels. After ``crelu``, the two halves of a unit count as two units.

    Args:
        host: host of the network.
        batch: encoded inputs (N, *encoded) and, if the host has task ids, the task ids of the inputs.
    """

    host: Host
    batch: Batch

    @property
    def weights(self) -> list[Tensor]:
        """The trainable parameters, including biases."""
        return [p.detach() for p in self.host.modules[self.host.primary].parameters() if p.requires_grad]

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients after the last update, with changes by methods and after clipping; empty before any update."""
        return [p.grad for p in self.host.modules[self.host.primary].parameters() if p.grad is not None]

    @property
    def magnitudes(self) -> list[Tensor]:
        """Mean of abs(h) over inputs and positions, (U,) for each hidden layer in the order of the forward pass."""
        return self._activations[0]

    @property
    def features(self) -> Tensor:
        """Activations (N, U) of the last hidden layer, flattened, which are the input of the network's last layer."""
        return self._activations[1]

    @cached_property
    def _activations(self) -> tuple[list[Tensor], Tensor]:
        """The values of :attr:`magnitudes` and :attr:`features`."""
        host, module = self.host, self.host.modules[self.host.primary]
        totals: list[Tensor] = []
        features: list[Tensor] = []
        with _evaluation_mode(module):
            for rows in _rows_by_task(self.batch):
                ids = None if self.batch.task_ids is None else self.batch.task_ids[rows]
                with _recorded_forward(module, self.batch.inputs[rows]) as record:
                    host.outputs(record.inputs, ids)
                if not record.magnitudes:
                    raise UnsupportedError(
                        f"evaluation.probes: the network of learner {host.name} has no hidden units; remove the probes "
                        "that need them, or use a network with a hidden layer"
                    )
                sums = [m * len(rows) for m in record.magnitudes]
                # The rows of a later task may go through further layers, as in a progressive network.
                totals = [a + b for a, b in zip_longest(totals, sums, fillvalue=torch.zeros(()).to(sums[0]))]
                features.append(record.features)
        return [total / len(self.batch.inputs) for total in totals], torch.cat(features)


def _rows_by_task(batch: Batch) -> Iterator[Tensor]:
    """Yield row indices (B,) int64 of a single task, a bounded number at a time.

    With several tasks in a batch, each of several heads would get only a part of the rows of the last hidden layer.
    """
    count, ids = len(batch.inputs), batch.task_ids
    groups = [torch.arange(count)] if ids is None else [(ids == i).nonzero().flatten().cpu() for i in torch.unique(ids)]
    for group in groups:
        yield from torch.split(group, ROWS_AT_ONCE)


@define(eq=False)
class _ForwardRecord:
    """Record of the inputs of layers with weights in one forward pass.

    Args:
        inputs: (B, *encoded) inputs of the pass. They are no hidden layer, and neither is the first layer's input.
    """

    inputs: Tensor
    magnitudes: list[Tensor] = field(init=False, factory=list)
    features: Tensor = field(init=False, default=None)
    _layer_inputs: list[weakref.ref[Tensor]] = field(init=False, factory=list)
    _channels: int | None = field(init=False, default=None)  # channels of the last 4-d output, until a linear layer ran

    def before(self, layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Record the input of a layer; a forward pre-hook of layers with weights."""
        x = args[0]
        is_first, is_repeated = not self._layer_inputs, any(other() is x for other in self._layer_inputs)
        self._layer_inputs.append(weakref.ref(x))
        if is_first or is_repeated or x.data_ptr() == self.inputs.data_ptr():
            return
        h = x.detach().float().abs()
        if isinstance(layer, _ConvNd):
            units = h.flatten(2).mean((0, 2))
        elif h.ndim == 2 and self._channels and h.shape[1] % self._channels == 0:
            units = h.view(len(h), self._channels, -1).mean((0, 2))
        else:
            units = h.flatten(0, -2).mean(0)
        self.magnitudes.append(units)
        self.features = x.detach().float().flatten(1)

    def after(self, layer: nn.Module, args: Any, output: Any) -> None:
        """Record the number of channels of an output; a forward hook of all layers."""
        if isinstance(output, Tensor) and output.ndim == 4:
            self._channels = output.shape[1]
        elif isinstance(layer, WeightLayer):
            self._channels = None


@contextmanager
def _recorded_forward(module: nn.Module, inputs: Tensor) -> Iterator[_ForwardRecord]:
    """Record a forward pass of a module within the context."""
    record = _ForwardRecord(inputs)
    leaves = [m for m in module.modules() if not any(True for _ in m.children())]
    handles = [m.register_forward_hook(record.after) for m in leaves]
    handles += [m.register_forward_pre_hook(record.before) for m in leaves if isinstance(m, WeightLayer)]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Set evaluation mode, without gradients and compilation, and restore the mode of each submodule afterwards."""
    modes = [(submodule, submodule.training) for submodule in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            if any(submodule._compiled_call_impl is not None for submodule, _ in modes):  # it would not call hooks
                with torch.compiler.set_stance("force_eager"):
                    yield
            else:
                yield
    finally:
        for submodule, training in modes:
            submodule.training = training
