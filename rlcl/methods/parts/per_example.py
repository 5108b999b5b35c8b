"""Means over examples of the magnitudes of each example's own gradient.

In closed form for linear and convolutional layers: with activations a and output gradients d, the
squared gradient of a linear layer's weights is the product of d^2 and a^2. Networks with other
trainable layers, or that use a layer twice, over a sequence or past its call, are done example by
example: slower, and as exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Magnitude", "mean_magnitudes"]

CHUNK = 1024  # inputs in one forward pass, at most
VALUES = 2**25  # float32 that a convolution's patches and gradients may take, 128 MiB
Owners = dict[nn.Module, dict[str, str]]
Calls = dict[nn.Module, list[tuple[Tensor, Tensor]]]
Magnitude = Callable[[Tensor], Tensor]
Scalars = Callable[[Tensor, slice], Iterable[Tensor]]


def mean_magnitudes(
    outputs: Callable[[Tensor, Tensor | None], Tensor],
    parameters: Mapping[str, nn.Parameter],
    module: nn.Module,
    inputs: Tensor,
    task_ids: Tensor | None,
    scalars: Scalars,
    magnitude: Magnitude,
) -> dict[str, Tensor]:
    """Mean over inputs of the sum over scalars of magnitude(gradient), by parameter name, each in its shape.

    Args:
        outputs: from encoded inputs and task ids to (B, K).
        parameters: by name; those of ``module``.
        module: whose forward pass ``outputs`` runs.
        inputs: (B, *encoded) float32.
        task_ids: (B,) int64 or None.
        scalars: from outputs (b, K) and the rows of the inputs that they are of to scalars, (b,) each.
        magnitude: elementwise, and that of a product the product of magnitudes: the square, or the absolute.
    """
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    owners = _owners(module, parameters)

    def forward(rows: slice) -> Tensor:
        return outputs(inputs[rows], None if task_ids is None else task_ids[rows])

    rows = _rows_at_once(module, inputs)
    for start in range(0, len(inputs), rows):
        chunk = slice(start, min(start + rows, len(inputs)))
        if owners is not None and _add_at_once(total, parameters, owners, forward, chunk, scalars, magnitude):
            continue
        for row in range(chunk.start, chunk.stop):
            one = slice(row, row + 1)
            for scalar in scalars(forward(one), one):
                _add_gradient(total, parameters, scalar, magnitude)
    return {name: value / max(len(inputs), 1) for name, value in total.items()}


def _rows_at_once(module: nn.Module, inputs: Tensor) -> int:
    """Inputs in one forward pass, so few that a convolution's patches and gradients of each fit."""
    places = inputs.shape[2:].numel()
    sizes = [
        layer.weight.numel() + layer.weight[0].numel() * places
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    return min(CHUNK, max(VALUES // max(sizes, default=1), 1))


def _add_gradient(
    total: dict[str, Tensor], parameters: Mapping[str, nn.Parameter], scalar: Tensor, magnitude: Magnitude
) -> None:
    gradients = torch.autograd.grad(scalar.sum(), list(parameters.values()), retain_graph=True, allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            total[name] += magnitude(gradient)


def _add_at_once(
    total: dict[str, Tensor],
    parameters: Mapping[str, nn.Parameter],
    owners: Owners,
    forward: Callable[[slice], Tensor],
    rows: slice,
    scalars: Scalars,
    magnitude: Magnitude,
) -> bool:
    """Adds the sums over rows in closed form; False, and nothing added, where that does not hold."""
    with _recorded(owners) as calls:
        y = forward(rows)
    if not all(_closed_form_holds(layer, made) for layer, made in calls.items()):
        return False
    if not _accounts_for_gradients(y, parameters, owners, calls):
        return False
    for scalar in scalars(y, rows):
        _add_closed_form(total, owners, calls, scalar, magnitude)
    return True


def _owners(module: nn.Module, parameters: Mapping[str, nn.Parameter]) -> Owners | None:
    """By layer, its parameters' own names ("weight") to their full ones; None where one is not of a known layer."""
    full_name = {id(p): name for name, p in parameters.items()}
    owners: Owners = {}
    for layer in module.modules():
        own = {n: full_name[id(p)] for n, p in layer.named_parameters(recurse=False) if id(p) in full_name}
        if not own:
            continue
        if type(layer) is not nn.Linear and not _is_simple(layer):  # a subclass may compute something else
            return None
        owners[layer] = own
    # Weights that two layers share stand there twice, and those of no layer not at all.
    named = [name for own in owners.values() for name in own.values()]
    return owners if sorted(named) == sorted(parameters) else None


def _is_simple(layer: nn.Module) -> bool:
    if type(layer) is not nn.Conv2d:
        return False
    return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _closed_form_holds(layer: nn.Module, calls: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether a layer saw each example once: a second call, or a linear layer over places, adds up gradients."""
    return len(calls) <= 1 and all(a.dim() == (4 if isinstance(layer, nn.Conv2d) else 2) for a, _ in calls)


def _accounts_for_gradients(y: Tensor, parameters: Mapping[str, nn.Parameter], owners: Owners, calls: Calls) -> bool:
    """Whether the recorded calls make up the whole gradient of the outputs' sum.

    They do not where a weight is also used past its layer's call, as in a tied decoder.
    """
    layers = [layer for layer in owners if layer in calls]
    sources = [*(calls[layer][0][1] for layer in layers), *parameters.values()]
    gradients = torch.autograd.grad(y.sum(), sources, retain_graph=True, allow_unused=True)
    whole = dict(zip(parameters, gradients[len(layers) :], strict=True))
    deltas = dict(zip(layers, gradients, strict=False))
    for layer, own in owners.items():
        delta, found = deltas.get(layer), whole[own["weight"]] if "weight" in own else None
        if found is None:
            continue
        if delta is None:
            return False
        a = calls[layer][0][0]
        if isinstance(layer, nn.Conv2d):
            expected = torch.einsum("bkl,bpl->kp", delta.flatten(2), _patches(layer, a)).view_as(found)
        else:
            expected = delta.T @ a
        if not torch.allclose(expected, found, rtol=1e-2, atol=1e-3 * float(found.abs().max())):
            return False
    return True


@contextmanager
def _recorded(layers: Owners) -> Iterator[Calls]:
    """Records (input, output) of each layer's calls; the outputs keep their graph."""
    calls: Calls = {}

    def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        calls.setdefault(layer, []).append((args[0].detach(), output))
        return output.clone()  # an activation in place would turn the recorded output into its own

    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _add_closed_form(
    total: dict[str, Tensor], owners: Owners, calls: Calls, scalar: Tensor, magnitude: Magnitude
) -> None:
    layers = [layer for layer in owners if layer in calls]
    deltas = torch.autograd.grad(
        scalar.sum(), [calls[layer][0][1] for layer in layers], retain_graph=True, allow_unused=True
    )
    for layer, delta in zip(layers, deltas, strict=True):
        if delta is None:  # allow_unused: a layer that this scalar does not depend on
            continue  # type: ignore[unreachable]
        activation = calls[layer][0][0]
        sums = _conv_sums if isinstance(layer, nn.Conv2d) else _linear_sums
        weight, bias = sums(layer, activation, delta, magnitude)
        for own, name in owners[layer].items():
            total[name] += (weight if own == "weight" else bias).view_as(total[name])


def _linear_sums(layer: nn.Module, a: Tensor, d: Tensor, magnitude: Magnitude) -> tuple[Tensor, Tensor]:
    """Sums over examples of the magnitudes of the gradients of weight and bias, from a (B, in) and d (B, out)."""
    return magnitude(d).T @ magnitude(a), magnitude(d).sum(0)


def _conv_sums(layer: nn.Module, a: Tensor, d: Tensor, magnitude: Magnitude) -> tuple[Tensor, Tensor]:
    """The same for a convolution: a (B, C, H, W), d (B, K, H', W'); gradients sum over places first."""
    assert isinstance(layer, nn.Conv2d)
    d = d.flatten(2)
    weight = magnitude(torch.einsum("bkl,bpl->bkp", d, _patches(layer, a))).sum(0)
    return weight, magnitude(d.sum(2)).sum(0)


def _patches(layer: nn.Conv2d, a: Tensor) -> Tensor:
    """(B, C * kernel, places) of what each place of the output sees."""
    return nn.functional.unfold(a, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
