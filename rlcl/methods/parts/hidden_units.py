"""Hidden units of a network, with their incoming and outgoing layers, and their reinitialization."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.networks.mlp import CRelu, fresh_weights
from rlcl.types import Host

__all__ = ["HiddenLayer", "hidden_layers", "record_layer_inputs", "refusal"]

Weighted = nn.Linear | nn.Conv2d


@frozen(eq=False)
class HiddenLayer:
    """Hidden units (channels of a convolution) between an incoming and an outgoing layer.

    Args:
        name: name of the incoming layer within the module.
        incoming: layer that computes the U units.
        norm: layer norm over the units between the two layers, or None.
        outgoing: layer whose inputs are the units.
        copies: C, occurrences of each unit in the inputs of the outgoing layer: 2 after ``crelu``, else 1.
    """

    name: str
    incoming: Weighted
    norm: nn.LayerNorm | None
    outgoing: Weighted
    copies: int

    @property
    def units(self) -> int:
        return len(self.incoming.weight)

    @property
    def weights(self) -> Tensor:
        """A view (O, C, U, K) of the outgoing weights, where K counts positions of an image or of a kernel."""
        return self.outgoing.weight.data.view(len(self.outgoing.weight), self.copies, self.units, -1)

    def activations(self, x: Tensor) -> Tensor:
        """Reshape inputs (B, ...) of the outgoing layer to (N, C, U, K).

        For a convolution, each position is an example, and K is 1.
        """
        x = x.float().reshape(len(x), self.copies, self.units, -1)
        return x if isinstance(self.outgoing, nn.Linear) else x.movedim(3, 1).reshape(-1, self.copies, self.units, 1)

    @torch.no_grad()
    def replace(self, units: Tensor, optimizer: Optimizer, generator: torch.Generator) -> None:
        """Reinitialize incoming weights, and set outgoing weights and the optimizer's moments of both to zero.

        Adam's step count for bias correction belongs to a whole parameter and does not change
        (:mod:`rlcl.methods.parts.weight_steps` counts steps of single weights).

        Args:
            units: (R,) int64, indices of the units.
            optimizer: optimizer of the layers.
            generator: samples weights for the whole layer, of which those of the units are used.
        """
        fresh = fresh_weights(self.incoming, generator)
        for name, parameter in self.incoming.named_parameters():
            parameter[units] = fresh[name].to(parameter)[units]
            for moment in moments(optimizer, parameter):
                moment[units] = 0
        for name, parameter in () if self.norm is None else self.norm.named_parameters():
            parameter[units] = 1.0 if name == "weight" else 0.0
            for moment in moments(optimizer, parameter):
                moment[units] = 0
        self.weights[:, :, units] = 0
        for moment in moments(optimizer, self.outgoing.weight):
            moment.view(self.weights.shape)[:, :, units] = 0

    def replaced(self, units: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each parameter that :meth:`replace` changes, with a mask of the changed entries in its shape."""
        for module in (self.incoming, self.norm):
            for parameter in () if module is None else module.parameters():
                mask = torch.zeros_like(parameter, dtype=torch.bool)
                mask[units] = True
                yield parameter, mask
        mask = torch.zeros_like(self.outgoing.weight, dtype=torch.bool)
        mask.view(self.weights.shape)[:, :, units] = True
        yield self.outgoing.weight, mask


def moments(optimizer: Optimizer, parameter: Tensor) -> Iterator[Tensor]:
    """Yield the tensors of an optimizer's state that have the shape of a parameter."""
    for value in optimizer.state.get(parameter, {}).values():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            yield value


def hidden_layers(module: nn.Module) -> list[HiddenLayer]:
    """Return the hidden layers of the sequential chains in a module, in order.

    Raises:
        ValueError: a layer with weights is not part of a chain of linear layers, convolutions and layer norms.
    """
    names = {layer: name for name, layer in module.named_modules()}
    hidden: list[HiddenLayer] = []
    # Parameters of the parent of a chain use no units of the chain, for example the log std of a policy's actions.
    parents = {m for m in names if any(isinstance(child, nn.Sequential) for child in m.children())}
    unsupported = {m for m in names if any(True for _ in m.parameters(recurse=False))} - parents
    for chain in chains(module):
        start, norm, copies = None, None, 1
        for layer in chain:
            if (
                isinstance(layer, nn.LayerNorm)
                and isinstance(start, nn.Linear)
                and layer.normalized_shape == (start.out_features,)
            ):
                norm = layer
                unsupported.discard(layer)
            elif isinstance(layer, CRelu):
                copies = 2
            elif isinstance(layer, Weighted) and (isinstance(layer, nn.Linear) or layer.groups == 1):
                unsupported.discard(layer)
                if start is not None:
                    hidden.append(HiddenLayer(names[start], start, norm, layer, copies))
                start, norm, copies = layer, None, 1
    for layer in unsupported:
        name = f" ({names[layer]})" if names[layer] else ""
        raise ValueError(
            f"it replaces units between two layers of a sequential chain, and {type(layer).__name__}{name} "
            "is not part of such a chain; use network mlp or cnn"
        )
    return hidden


def chains(module: nn.Module) -> Iterator[list[nn.Module]]:
    """Yield the layers of each outermost nn.Sequential, in the order of their execution."""
    if isinstance(module, nn.Sequential):
        yield list(leaves(module))
    else:
        for child in module.children():
            yield from chains(child)


def leaves(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of nested nn.Sequentials."""
    if not isinstance(module, nn.Sequential):
        yield module
    else:
        for child in module:
            yield from leaves(child)


def refusal(host: Host) -> str | None:
    """Return the reason why the units of a host cannot be replaced, or None if they can."""
    module = host.modules[host.primary]
    try:
        layers = hidden_layers(module)
    except ValueError as error:
        return str(error)
    if not layers:
        return "it replaces hidden units, and the network has none"
    if any(m._compiled_call_impl is not None for m in module.modules()):
        return "it records the inputs of layers, which compiled layers do not support; set learner.compile: false"
    return None


def record_layer_inputs(layers: list[HiddenLayer], due: Callable[[], bool]) -> dict[str, list[Tensor]]:
    """Record the inputs of outgoing layers in training mode, from forward passes whose gradients are computed.

    A pass without a backward pass (a minibatch that PPO's ``target_kl`` leaves out) belongs to no update.

    Args:
        layers: hidden layers to record.
        due: whether the current pass is recorded.

    Returns:
        Inputs of the passes by the hidden layer's name. The network fills it, and the caller removes what it has read.
    """
    inputs: dict[str, list[Tensor]] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        # A closure instead of a bound method: a copy of the module (learner.ema) would copy the learner of a method.
        def record(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if layer.training and output.requires_grad and due():
                x = args[0].detach()
                output.register_hook(lambda _: inputs.setdefault(name, []).append(x))  # type: ignore[no-untyped-call]

        return record

    for layer in layers:
        layer.outgoing.register_forward_hook(hook(layer.name))
    return inputs
