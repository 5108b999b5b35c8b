"""Hidden units: what feeds them, what they feed, and how they are replaced by fresh ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.networks.mlp import CRelu, redrawn
from rlcl.types import Host

__all__ = ["HiddenLayer", "hidden_layers", "listen", "refusal"]

Weighted = nn.Linear | nn.Conv2d


@frozen(eq=False)
class HiddenLayer:
    """Units (of a convolution: channels) that one layer feeds and that one layer reads.

    Args:
        name: of the layer that feeds them, within the module.
        incoming: feeds them; U units.
        norm: between the two, over the units; None without.
        outgoing: reads them.
        copies: C, how often each unit stands in what is read: 2 after ``crelu``, else 1.
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
        """A view (O, C, U, K) of the outgoing weights: K places of a picture, or of a kernel."""
        return self.outgoing.weight.data.view(len(self.outgoing.weight), self.copies, self.units, -1)

    def activations(self, x: Tensor) -> Tensor:
        """(N, C, U, K) of what the outgoing layer read, (B, ...); for a convolution each place is an example, K = 1."""
        x = x.float().reshape(len(x), self.copies, self.units, -1)
        return x if isinstance(self.outgoing, nn.Linear) else x.movedim(3, 1).reshape(-1, self.copies, self.units, 1)

    @torch.no_grad()
    def replace(self, units: Tensor, optimizer: Optimizer, generator: torch.Generator) -> None:
        """Draws incoming weights anew, sets outgoing ones to zero, and forgets the optimizer's moments of both.

        The step count that Adam corrects its moments by belongs to a whole parameter, and stays
        (:mod:`rlcl.methods.parts.weight_steps` counts for each weight).

        Args:
            units: (R,) int64, which.
            optimizer: steps over all of them.
            generator: draws a whole layer's weights, of which the units' are taken.
        """
        fresh = redrawn(self.incoming, generator)
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
        """Each parameter that :meth:`replace` changes, and a mask of its shape of what it changes."""
        for module in (self.incoming, self.norm):
            for parameter in () if module is None else module.parameters():
                mask = torch.zeros_like(parameter, dtype=torch.bool)
                mask[units] = True
                yield parameter, mask
        mask = torch.zeros_like(self.outgoing.weight, dtype=torch.bool)
        mask.view(self.weights.shape)[:, :, units] = True
        yield self.outgoing.weight, mask


def moments(optimizer: Optimizer, parameter: Tensor) -> Iterator[Tensor]:
    """What an optimizer keeps for each entry of a parameter."""
    for kept in optimizer.state.get(parameter, {}).values():
        if isinstance(kept, Tensor) and kept.shape == parameter.shape:
            yield kept


def hidden_layers(module: nn.Module) -> list[HiddenLayer]:
    """Every hidden layer of the chains in a module, in their order.

    Raises:
        ValueError: a layer with weights that stands in no chain of linear layers, convolutions and layer norms.
    """
    names = {layer: name for name, layer in module.named_modules()}
    found: list[HiddenLayer] = []
    # What a parent of whole chains has beside them reads no unit within one: the spread of a policy's actions.
    parents = {m for m in names if any(isinstance(child, nn.Sequential) for child in m.children())}
    unclear = {m for m in names if any(True for _ in m.parameters(recurse=False))} - parents
    for chain in chains(module):
        start, norm, copies = None, None, 1
        for layer in chain:
            if (
                isinstance(layer, nn.LayerNorm)
                and isinstance(start, nn.Linear)
                and layer.normalized_shape == (start.out_features,)
            ):
                norm = layer
                unclear.discard(layer)
            elif isinstance(layer, CRelu):
                copies = 2
            elif isinstance(layer, Weighted) and (isinstance(layer, nn.Linear) or layer.groups == 1):
                unclear.discard(layer)
                if start is not None:
                    found.append(HiddenLayer(names[start], start, norm, layer, copies))
                start, norm, copies = layer, None, 1
    for layer in unclear:
        where = f" ({names[layer]})" if names[layer] else ""
        raise ValueError(
            f"it replaces units that one layer feeds and one layer reads, and {type(layer).__name__}{where} "
            "is in no chain of such layers; use network mlp or cnn"
        )
    return found


def chains(module: nn.Module) -> Iterator[list[nn.Module]]:
    """The layers of each outermost nn.Sequential, in the order in which they run."""
    if isinstance(module, nn.Sequential):
        yield list(leaves(module))
    else:
        for child in module.children():
            yield from chains(child)


def leaves(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of nested nn.Sequentials."""
    if not isinstance(module, nn.Sequential):
        yield module
    else:
        for child in module:
            yield from leaves(child)


def refusal(host: Host) -> str | None:
    """Why a method that replaces units cannot serve a host, None where it can."""
    module = host.modules[host.primary]
    try:
        layers = hidden_layers(module)
    except ValueError as error:
        return str(error)
    if not layers:
        return "it replaces hidden units, and the network has none"
    if any(m._compiled_call_impl is not None for m in module.modules()):
        return "it listens to layers, which compiled ones do not allow; set learner.compile: false"
    return None


def listen(layers: list[HiddenLayer], due: Callable[[], bool]) -> dict[str, list[Tensor]]:
    """What each outgoing layer reads in passes with gradient in training, by the hidden layer's name.

    Args:
        layers: to listen to.
        due: whether it is wanted now.

    Returns:
        Filled as the network runs; whoever reads it empties it.
    """
    heard: dict[str, list[Tensor]] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        # A closure, not a bound method: copying the module (learner.ema) would copy a method's whole learner.
        def hear(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
            if layer.training and torch.is_grad_enabled() and due():
                heard.setdefault(name, []).append(args[0].detach())

        return hear

    for layer in layers:
        layer.outgoing.register_forward_pre_hook(hook(layer.name))
    return heard
