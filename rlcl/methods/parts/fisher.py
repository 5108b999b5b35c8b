"""Diagonal of the Fisher information of a network's outputs, and its common approximations.

For outputs that parametrize a distribution p(y | x; theta), the diagonal is the expectation of the squared
gradient of log p(y | x; theta), over inputs x and over y sampled from the model. The empirical
kinds take y from the data instead.

All kinds except ``batch`` are computed from *factors*: scalar functions of the outputs of one example. The sum of
their squared gradients is the diagonal of that example.

Source: Kirkpatrick et al. 2017, eq. 3; Kunstner et al. 2019; van de Ven 2025, On the computation of
the Fisher information in continual learning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from rlcl.methods.parts.per_example_gradients import mean_magnitudes

__all__ = ["LABELLED", "FisherKind", "diagonal_fisher", "factors", "squared_batch_gradients"]

FisherKind = Literal["exact", "sampled", "empirical", "weighted", "batch"]
LABELLED = frozenset({"empirical", "weighted", "batch"})  # the kinds that need the true labels


def factors(
    outputs: Tensor,
    kind: str,
    fisher: FisherKind,
    generator: torch.Generator,
    targets: Tensor | None = None,
    choices: Sequence[int] = (),
) -> Iterator[Tensor]:
    """Yield scalars of each example whose squared gradients sum to the Fisher diagonal, in expectation.

    Args:
        outputs: (B, K), see ``rlcl.types.Host.kind``.
        kind: ``categorical``, ``multi_categorical``, ``gaussian``, ``values`` or ``reconstruction``; the last two are
            means of Gaussians of unit variance.
        fisher: ``exact``: expectation over the distribution, computed as a sum over all labels (or output dimensions).
            ``sampled``: one sample of the distribution. Only for categorical outputs: ``empirical``: true label;
            ``weighted``: true label, with the squared gradient multiplied by the probability of this label.
        generator: for ``sampled``, on the CPU.
        targets: (B,) int64, the true labels, for ``empirical`` and ``weighted``.
        choices: number of logits of each choice, for ``multi_categorical``. Choices are independent: their Fisher
            information is the sum over choices.

    Yields:
        (B,) differentiable tensors.
    """
    if kind == "categorical":
        yield from _categorical(outputs, fisher, generator, targets)
    elif kind == "multi_categorical":
        parts = [_categorical(logits, fisher, generator, None) for logits in torch.split(outputs, list(choices), 1)]
        if fisher == "sampled":  # one sample of all choices
            yield torch.stack([next(part) for part in parts]).sum(0)
        else:
            yield from chain.from_iterable(parts)
    elif kind == "gaussian":
        mean, log_std = outputs.chunk(2, 1)
        # Fisher of N(mean, std): 1 / std^2 for the mean, 2 for log std; the off-diagonal elements are 0.
        scaled = torch.cat((mean / log_std.detach().exp(), log_std * 2**0.5), 1)
        yield from _unit_gaussian(scaled, fisher, generator)
    else:
        yield from _unit_gaussian(outputs, fisher, generator)


def _categorical(
    logits: Tensor, fisher: FisherKind, generator: torch.Generator, targets: Tensor | None
) -> Iterator[Tensor]:
    log_p = logits.log_softmax(1)
    p = log_p.detach().exp()
    if fisher == "exact":
        for k in range(logits.shape[1]):
            if bool((p[:, k] > 0).any()):
                yield log_p[:, k] * p[:, k].sqrt()
        return
    if fisher == "sampled":
        label = torch.multinomial(p.cpu(), 1, generator=generator).to(p.device)
    else:
        assert targets is not None
        label = targets[:, None]
    log_likelihood = log_p.gather(1, label).squeeze(1)
    yield log_likelihood * p.gather(1, label).squeeze(1).sqrt() if fisher == "weighted" else log_likelihood


def _unit_gaussian(mean: Tensor, fisher: FisherKind, generator: torch.Generator) -> Iterator[Tensor]:
    if fisher == "sampled":
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        yield (mean * noise).sum(1)
        return
    for k in range(mean.shape[1]):
        yield mean[:, k]


def diagonal_fisher(
    outputs: Callable[[Tensor, Tensor | None], Tensor],
    parameters: Mapping[str, nn.Parameter],
    module: nn.Module,
    inputs: Tensor,
    task_ids: Tensor | None,
    kind: str,
    fisher: FisherKind,
    generator: torch.Generator,
    targets: Tensor | None = None,
    choices: Sequence[int] = (),
) -> dict[str, Tensor]:
    """Compute the mean of the Fisher diagonal over inputs.

    Args:
        outputs: maps encoded inputs and task ids to outputs (B, K).
        parameters: of ``module``, by name.
        module: the module that ``outputs`` evaluates.
        inputs: (B, *encoded) float32.
        task_ids: (B,) int64 or None.
        kind, fisher, generator: see :func:`factors`.
        targets: (B,) int64, see :func:`factors`.
        choices: see :func:`factors`.

    Returns:
        Tensors by parameter name, in the parameters' shapes.
    """

    def scalars(y: Tensor, rows: slice) -> Iterator[Tensor]:
        return factors(y, kind, fisher, generator, None if targets is None else targets[rows], choices)

    return mean_magnitudes(outputs, parameters, module, inputs, task_ids, scalars, torch.square)


def squared_batch_gradients(
    outputs: Callable[[Tensor, Tensor | None], Tensor],
    parameters: Mapping[str, nn.Parameter],
    inputs: Tensor,
    task_ids: Tensor | None,
    targets: Tensor,
    batch_size: int,
) -> dict[str, Tensor]:
    """Compute the mean over minibatches of the squared gradient of the minibatch's mean cross-entropy.

    This is no Fisher information. For B independent examples it is smaller than the empirical Fisher by about
    the factor B, and it emphasizes the common direction of the examples' gradients. A smaller last minibatch
    has the same weight as the others.

    Args:
        outputs: maps encoded inputs and task ids to logits (B, K).
        parameters: by name.
        inputs: (B, *encoded) float32.
        task_ids: (B,) int64 or None.
        targets: (B,) int64.
        batch_size: of a minibatch, at least 1.

    Returns:
        Tensors by parameter name, in the parameters' shapes.

    Source: the importances of Avalanche's EWC.
    """
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    starts = range(0, len(inputs), batch_size)
    for start in starts:
        rows = slice(start, start + batch_size)
        y = outputs(inputs[rows], None if task_ids is None else task_ids[rows])
        loss = F.cross_entropy(y, targets[rows])
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        reached = [(t, g) for t, g in zip(total.values(), gradients, strict=True) if g is not None]
        torch._foreach_addcmul_([t for t, _ in reached], [g for _, g in reached], [g for _, g in reached])
    return {name: summed / len(starts) for name, summed in total.items()}
