"""Means over examples of the magnitudes of per-example gradients.

Linear and convolutional layers have a closed form: with activations a and output gradients d, the
squared gradient of a linear layer's weights is the product of d^2 and a^2. Networks with other
trainable layers, and networks that use a layer twice, over a sequence, or its weights outside its call, are evaluated
one example at a time. This is slower and equally exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rlcl.seeding import reproducible_backward

__all__ = ["Magnitude", "mean_magnitudes"]

MAX_ROWS = 1024  # maximum number of inputs in one forward pass
MAX_VALUES = 2**25  # maximum number of float32 values of a convolution's patches and gradients, 128 MiB
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
    """Compute the mean over inputs of the sum over scalars of magnitude(gradient).

    Args:
        outputs: maps encoded inputs and task ids to outputs (B, K).
        parameters: of ``module``, by name.
        module: the module that ``outputs`` evaluates.
        inputs: (B, *encoded) float32.
        task_ids: (B,) int64 or None.
        scalars: maps outputs (b, K) and the rows of their inputs to scalars, (b,) each.
        magnitude: elementwise and multiplicative: the square, or the absolute value.

    Returns:
        Tensors by parameter name, in the parameters' shapes.
    """
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    owners = _owners(module, parameters)

    def forward(rows: slice) -> Tensor:
        return outputs(inputs[rows], None if task_ids is None else task_ids[rows])

    rows = _rows_at_once(module, inputs)
    for start in range(0, len(inputs), rows):
        chunk = slice(start, min(start + rows, len(inputs)))
        if owners is not None:
            with reproducible_backward(chunk.stop - chunk.start):
                added = _add_in_closed_form(total, parameters, owners, forward, chunk, scalars, magnitude)
            if added:
                continue
        for row in range(chunk.start, chunk.stop):
            single = slice(row, row + 1)
            with reproducible_backward(1):
                for scalar in scalars(forward(single), single):
                    _add_gradient(total, parameters, scalar, magnitude)
    return {name: value / max(len(inputs), 1) for name, value in total.items()}


def _rows_at_once(module: nn.Module, inputs: Tensor) -> int:
    """Return the number of inputs in one forward pass, limited by the memory of the convolutions."""
    positions = inputs.shape[2:].numel()
    sizes = [
        layer.weight.numel() + layer.weight[0].numel() * positions
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    return min(MAX_ROWS, max(MAX_VALUES // max(sizes, default=1), 1))


def _add_gradient(
    total: dict[str, Tensor], parameters: Mapping[str, nn.Parameter], scalar: Tensor, magnitude: Magnitude
) -> None:
    gradients = torch.autograd.grad(scalar.sum(), list(parameters.values()), retain_graph=True, allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            total[name] += magnitude(gradient)


def _add_in_closed_form(
    total: dict[str, Tensor],
    parameters: Mapping[str, nn.Parameter],
    owners: Owners,
    forward: Callable[[slice], Tensor],
    rows: slice,
    scalars: Scalars,
    magnitude: Magnitude,
) -> bool:
    """Add the sums over rows in closed form. Return False, and add nothing, if the closed form does not hold."""
    with _recorded(owners) as calls:
        y = forward(rows)
    if not all(_closed_form_holds(layer, layer_calls) for layer, layer_calls in calls.items()):
        return False
    if not _accounts_for_gradients(y, parameters, owners, calls):
        return False
    for scalar in scalars(y, rows):
        _add_scalar(total, owners, calls, scalar, magnitude)
    return True


def _owners(module: nn.Module, parameters: Mapping[str, nn.Parameter]) -> Owners | None:
    """Map each layer to its parameters' local ("weight") and full names; None if a parameter is in no known layer."""
    full_name = {id(p): name for name, p in parameters.items()}
    owners: Owners = {}
    for layer in module.modules():
        own = {n: full_name[id(p)] for n, p in layer.named_parameters(recurse=False) if id(p) in full_name}
        if not own:
            continue
        if type(layer) is not nn.Linear and not _is_simple(layer):  # a subclass may compute something else
            return None
        owners[layer] = own
    # A weight shared by two layers occurs twice here, and a weight of no layer does not occur.
    named = [name for own in owners.values() for name in own.values()]
    return owners if sorted(named) == sorted(parameters) else None


def _is_simple(layer: nn.Module) -> bool:
    if type(layer) is not nn.Conv2d:
        return False
    return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _closed_form_holds(layer: nn.Module, calls: list[tuple[Tensor, Tensor]]) -> bool:
    """Return whether a layer processed each example once; several calls or positions would sum gradients."""
    return len(calls) <= 1 and all(a.dim() == (4 if isinstance(layer, nn.Conv2d) else 2) for a, _ in calls)


def _accounts_for_gradients(y: Tensor, parameters: Mapping[str, nn.Parameter], owners: Owners, calls: Calls) -> bool:
    """Return whether the recorded calls account for the whole gradient of the outputs' sum.

    They do not if a weight is also used outside its layer's call, as in a tied decoder.
    """
    layers = [layer for layer in owners if layer in calls]
    sources = [*(calls[layer][0][1] for layer in layers), *parameters.values()]
    gradients = torch.autograd.grad(y.sum(), sources, retain_graph=True, allow_unused=True)
    full = dict(zip(parameters, gradients[len(layers) :], strict=True))
    deltas = dict(zip(layers, gradients, strict=False))
    for layer, own in owners.items():
        delta, gradient = deltas.get(layer), full[own["weight"]] if "weight" in own else None
        if gradient is None:
            continue
        if delta is None:
            return False
        a = calls[layer][0][0]
        if isinstance(layer, nn.Conv2d):
            expected = torch.einsum("bkl,bpl->kp", delta.flatten(2), _patches(layer, a)).view_as(gradient)
        else:
            expected = delta.T @ a
        if not torch.allclose(expected, gradient, rtol=1e-2, atol=1e-3 * float(gradient.abs().max())):
            return False
    return True


@contextmanager
def _recorded(layers: Owners) -> Iterator[Calls]:
    """Record (input, output) of each layer's calls; the outputs keep their graph."""
    calls: Calls = {}

    def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        calls.setdefault(layer, []).append((args[0].detach(), output))
        return output.clone()  # an in-place activation would change the recorded output

    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _add_scalar(total: dict[str, Tensor], owners: Owners, calls: Calls, scalar: Tensor, magnitude: Magnitude) -> None:
    layers = [layer for layer in owners if layer in calls]
    deltas = torch.autograd.grad(
        scalar.sum(), [calls[layer][0][1] for layer in layers], retain_graph=True, allow_unused=True
    )
    for layer, delta in zip(layers, deltas, strict=True):
        if delta is None:  # allow_unused: the scalar does not depend on this layer
            continue  # type: ignore[unreachable]
        activation = calls[layer][0][0]
        sums = _conv_sums if isinstance(layer, nn.Conv2d) else _linear_sums
        weight, bias = sums(layer, activation, delta, magnitude)
        for own, name in owners[layer].items():
            total[name] += (weight if own == "weight" else bias).view_as(total[name])


def _linear_sums(layer: nn.Module, a: Tensor, d: Tensor, magnitude: Magnitude) -> tuple[Tensor, Tensor]:
    """Sum the magnitudes of the gradients of weight and bias over examples, from a (B, in) and d (B, out)."""
    return magnitude(d).T @ magnitude(a), magnitude(d).sum(0)


def _conv_sums(layer: nn.Module, a: Tensor, d: Tensor, magnitude: Magnitude) -> tuple[Tensor, Tensor]:
    """Sum as :func:`_linear_sums`, from a (B, C, H, W) and d (B, K, H', W').

    The gradients are summed over positions before their magnitudes are taken.
    """
    assert isinstance(layer, nn.Conv2d)
    d = d.flatten(2)
    weight = magnitude(torch.einsum("bkl,bpl->bkp", d, _patches(layer, a))).sum(0)
    return weight, magnitude(d.sum(2)).sum(0)


def _patches(layer: nn.Conv2d, a: Tensor) -> Tensor:
    """Return the patch of inputs for each position of the output, (B, C * kernel, positions)."""
    return nn.functional.unfold(a, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
