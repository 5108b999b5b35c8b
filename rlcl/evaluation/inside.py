"""What a network shows of itself: the activity of its hidden units, its weights, its last gradients."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from attrs import define, field, frozen
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from rlcl.errors import UnsupportedError
from rlcl.types import Batch, Host, Hosted

__all__ = ["Inside", "host_of"]

ROWS_AT_ONCE = 512
Weighted = nn.Linear | _ConvNd


def host_of(learner: Any) -> Host:
    """The learner as methods see it.

    Raises:
        UnsupportedError: it has no network to show.
    """
    host = learner.host if isinstance(learner, Hosted) else learner
    if not isinstance(host, Host) or not host.modules:
        raise UnsupportedError(
            "evaluation.probes look into a network, and this learner shows none; leave them out, or use a learner "
            "that methods attach to"
        )
    return host


@frozen(eq=False, slots=False)
class Inside:
    """A host's primary network, looked at on a sample; nothing is run before an activation is asked for.

    A hidden layer is what a linear layer or a convolution reads that others have fed. Its units are the
    features of the one, the channels of the other; where a linear layer reads flattened channels, its units
    are the channels. After ``crelu`` the two halves of a unit are two.

    Args:
        host: whose network it is.
        batch: encoded inputs (N, *encoded) and, where the host has task ids, theirs.
    """

    host: Host
    batch: Batch

    @property
    def weights(self) -> list[Tensor]:
        """The trainable parameters, biases among them."""
        return [p.detach() for p in self.host.modules[self.host.primary].parameters() if p.requires_grad]

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients as the last update left them: with what methods added, after clipping; none before it."""
        return [p.grad for p in self.host.modules[self.host.primary].parameters() if p.grad is not None]

    @property
    def magnitudes(self) -> list[Tensor]:
        """(U,) of each hidden layer in the order in which they run: mean over inputs and places of abs(h)."""
        return self._seen[0]

    @property
    def features(self) -> Tensor:
        """(N, U): the last hidden layer, flattened, which the network's last layer reads."""
        return self._seen[1]

    @cached_property
    def _seen(self) -> tuple[list[Tensor], Tensor]:
        host, module = self.host, self.host.modules[self.host.primary]
        totals: list[Tensor] = []
        features: list[Tensor] = []
        with _evaluating(module):
            for rows in _alike(self.batch):
                ids = None if self.batch.task_ids is None else self.batch.task_ids[rows]
                with _listening(module, self.batch.inputs[rows]) as heard:
                    host.outputs(heard.inputs, ids)
                if not heard.magnitudes:
                    raise UnsupportedError(
                        f"evaluation.probes: the network of learner {host.name} has no hidden units to look at; leave "
                        "out those that do, or use a network with a hidden layer"
                    )
                weighed = [m * len(rows) for m in heard.magnitudes]
                totals = weighed if not totals else [a + b for a, b in zip(totals, weighed, strict=True)]
                features.append(heard.features)
        return [total / len(self.batch.inputs) for total in totals], torch.cat(features)


def _alike(batch: Batch) -> Iterator[Tensor]:
    """Rows (B,) int64 of one task each, for several heads would read one layer in parts; a bounded number at a time."""
    count, ids = len(batch.inputs), batch.task_ids
    groups = [torch.arange(count)] if ids is None else [(ids == i).nonzero().flatten().cpu() for i in torch.unique(ids)]
    for group in groups:
        yield from torch.split(group, ROWS_AT_ONCE)


@define(eq=False)
class _Heard:
    """What layers with weights read in one pass.

    Args:
        inputs: (B, *encoded) of the pass; the first layer's input is no hidden layer, nor are these.
    """

    inputs: Tensor
    magnitudes: list[Tensor] = field(init=False, factory=list)
    features: Tensor = field(init=False, default=None)
    _read: list[weakref.ref[Tensor]] = field(init=False, factory=list)
    _channels: int | None = field(init=False, default=None)  # of the last picture, until a linear layer has run

    def before(self, layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        x = args[0]
        first, again = not self._read, any(seen() is x for seen in self._read)
        self._read.append(weakref.ref(x))
        if first or again or x.data_ptr() == self.inputs.data_ptr():
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
        if isinstance(output, Tensor) and output.ndim == 4:
            self._channels = output.shape[1]
        elif isinstance(layer, Weighted):
            self._channels = None


@contextmanager
def _listening(module: nn.Module, inputs: Tensor) -> Iterator[_Heard]:
    heard = _Heard(inputs)
    leaves = [m for m in module.modules() if not any(True for _ in m.children())]
    handles = [m.register_forward_hook(heard.after) for m in leaves]
    handles += [m.register_forward_pre_hook(heard.before) for m in leaves if isinstance(m, Weighted)]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """The module as it predicts, without gradient and uncompiled; then each part in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            if any(part._compiled_call_impl is not None for part, _ in modes):  # compiled, layers tell nothing
                with torch.compiler.set_stance("force_eager"):
                    yield
            else:
                yield
    finally:
        for part, training in modes:
            part.training = training
